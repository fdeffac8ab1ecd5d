"""Start the stream of a route: ``Routing``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from streamkit.policies.hedging import Start, hedged
from streamkit.policies.route import Speeds, ordered, route_of
from streamkit.streaming.job import Job
from streamkit.streaming.stream import Stream

__all__ = ["Routing"]


class Routing:
    """Starts the streams of a client's routes, and remembers how soon its models begin to answer.

    Threads: any.
    """

    def __init__(self) -> None:
        self._speeds = Speeds()

    def start(self, model: Any, jobs: Sequence[Job], start: Callable[[Sequence[Job]], Stream]) -> Stream:
        """Start a stream.

        Args:
            model: a ``Route``, or a list of models.
            jobs: one for each of its models.
            start: starts the stream of some jobs, which are tried in their order.
        """
        route = route_of(model)
        if route.choose == "fastest":
            jobs = [attrs.evolve(job, gates=(*job.gates, self._speeds)) for job in jobs]
        jobs = ordered(route, jobs, self._speeds)
        if route.hedge is None or len(jobs) == 1:
            return start(jobs)
        return hedged([_start_of(job, start) for job in jobs], route.hedge, jobs[0].timeout.total)


def _start_of(job: Job, start: Callable[[Sequence[Job]], Stream]) -> Start:
    def start_after(seconds: float) -> Stream:
        total = job.timeout.total
        if total is None or not seconds:
            return start([job])
        return start([attrs.evolve(job, timeout=attrs.evolve(job.timeout, total=max(total - seconds, 0.001)))])

    return start_after
