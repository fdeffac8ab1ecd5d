"""A line of JSON for each request: ``RequestLog``."""

from __future__ import annotations

import json
import logging
import time

from streamkit.gateway.app.exchange import Record
from streamkit.gateway.core.money import usd_of

__all__ = ["RequestLog"]


class RequestLog:
    """Writes a line for each request to the logger ``streamkit.gateway.requests``: no content, no key, no address.

    Threads: any.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger("streamkit.gateway.requests")

    def write(self, record: Record) -> None:
        """Write the line of a request that has ended."""
        if not self._logger.isEnabledFor(logging.INFO):
            return
        shape = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request": record.request_id,
            "client_request": record.client_id or None,
            "method": record.method,
            "endpoint": record.endpoint or None,
            "status": record.status,
            "code": record.code or None,
            "token": record.token or None,
            "team": record.team or None,
            "model": record.configured or None,
            "route": record.route or None,
            "stream": record.stream,
            "seconds": round(record.seconds, 3),
            "first": None if record.first is None else round(record.first, 3),
            "attempts": record.attempts,
            "input_tokens": record.input_tokens,
            "output_tokens": record.output_tokens,
            "cost": usd_of(record.nano),
            "estimated": record.estimated,
            "repeated": record.repeated,
        }
        self._logger.info("%s", json.dumps({name: value for name, value in shape.items() if value is not None}))
