"""A chat for browsers, without a web framework: conversations of users, each reply in a log."""

from streamkit.web.chat.chat import Answer, Chat

__all__ = ["Answer", "Chat"]
