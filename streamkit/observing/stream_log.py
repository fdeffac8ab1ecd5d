"""``LogStreams``: one line of a log for each stream that ended."""

from __future__ import annotations

import logging

from streamkit.observing.observers import Observer, Report
from streamkit.values.completion import Completion

__all__ = ["LogStreams"]

_logger = logging.getLogger("streamkit.streams")


class LogStreams(Observer):
    """Logs one line for each stream that ended: what it was, how it ended, and what it took; nothing of what was said.

    ::

        logging.basicConfig(level=logging.INFO)
        client = Client(observers=[LogStreams()])

        INFO:streamkit.streams:openai/gpt-4o-mini complete, stop, 12+34 tokens, $0.000022, 1.27 s, first chunk 0.41 s,
        request req_1

    The record has the same as attributes, for handlers that write JSON: ``stream_id``, ``stream_run``,
    ``stream_round``, ``stream_model``, ``stream_status``, ``stream_finish_reason``, ``stream_error``,
    ``stream_input_tokens``, ``stream_output_tokens``, ``stream_cost``, ``stream_seconds``,
    ``stream_time_to_first_chunk``, ``stream_attempts`` and ``stream_request_id``.

    Args:
        logger: by default the one named ``streamkit.streams``.
        level: of streams that did not fail.
        failed: the level of those that did.

    Threads: safe to share.
    """

    def __init__(
        self, logger: logging.Logger | None = None, *, level: int = logging.INFO, failed: int = logging.INFO
    ) -> None:
        self._logger = _logger if logger is None else logger
        self._level = level
        self._failed = failed

    def stream_ended(self, report: Report) -> None:
        """Log the stream."""
        level = self._failed if report.error is not None else self._level
        if self._logger.isEnabledFor(level):
            cost = report.completion.cost  # which is looked up in a list of prices
            self._logger.log(level, "%s", _line(report, cost), extra=_fields(report, cost))


def _fields(report: Report, cost: float | None) -> dict[str, object]:
    """Return what a line is about, as attributes of a log record."""
    completion, stats = report.completion, report.stats
    return {
        "stream_id": report.id,
        "stream_run": report.run,
        "stream_round": report.round,
        "stream_model": _plain(f"{report.provider}/{report.model}"),
        "stream_status": report.status,
        "stream_finish_reason": completion.finish_reason,
        "stream_error": None if report.error is None else type(report.error).__name__,
        "stream_input_tokens": completion.usage.input_tokens,
        "stream_output_tokens": completion.usage.output_tokens,
        "stream_cost": cost,
        "stream_seconds": stats.duration,
        "stream_time_to_first_chunk": stats.time_to_first_chunk,
        "stream_attempts": stats.attempts,
        "stream_request_id": None if report.request_id is None else _plain(report.request_id),
    }


def _line(report: Report, cost: float | None) -> str:
    completion, stats = report.completion, report.stats
    words = [f"{_plain(f'{report.provider}/{report.model}')} {report.status}"]
    if report.error is not None:
        words.append(type(report.error).__name__)
    elif completion.finish_reason not in (None, report.status):
        words.append(str(completion.finish_reason))
    words += [*_spent(completion, cost), f"{stats.duration:.2f} s"]
    if stats.time_to_first_chunk is not None:
        words.append(f"first chunk {stats.time_to_first_chunk:.2f} s")
    if stats.attempts > 1:
        words.append(f"{stats.attempts} requests")
    if report.request_id:
        words.append(f"request {_plain(report.request_id)}")
    return ", ".join(words)


def _spent(completion: Completion, cost: float | None) -> list[str]:
    usage = completion.usage
    words = []
    if usage.input_tokens is not None or usage.output_tokens is not None:
        counts = ["?" if count is None else str(count) for count in (usage.input_tokens, usage.output_tokens)]
        words.append(f"{'+'.join(counts)} tokens")
    if cost is not None:
        words.append(f"${cost:.6f}")
    return words


def _plain(name: str) -> str:
    """Return a name in one line, whatever is in it."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
