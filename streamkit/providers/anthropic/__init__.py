"""Anthropic's Messages API."""

from streamkit.providers.anthropic.provider import Anthropic as Anthropic
