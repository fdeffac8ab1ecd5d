"""Prompts and replies, where the configuration asks for them: ``ContentLog``."""

from __future__ import annotations

import json
import logging
import os
import time

from streamkit.gateway.app.exchange import Record
from streamkit.values.completion import Completion
from streamkit.web.formats.requests.request import WebRequest

__all__ = ["ContentLog"]

_log = logging.getLogger("streamkit.gateway")


class ContentLog:
    """Appends a line of JSON for each reply to a file of its own, that its user alone can read.

    Several processes may write to one file: each line is one write. It has no token and no key, but whatever stands in
    prompts and replies.

    Owner of the fields: they never change.

    Threads: any.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def write(self, record: Record, request: WebRequest, completion: Completion) -> None:
        """Write the line of a reply that has ended; a failure is logged, and harms no reply."""
        shape = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request": record.request_id,
            "token": record.token,
            "model": record.model,
            "messages": [message.to_dict() for message in request.messages],
            "text": completion.text,
            "reasoning": completion.reasoning,
            "refusal": completion.refusal,
            "tool_calls": [call.to_dict() for call in completion.tool_calls],
            "finish_reason": completion.finish_reason,
        }
        line = json.dumps(shape, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("the content of a reply could not be written to %s: %s", self._path, error.strerror)
