"""Figures for Prometheus: ``Metrics``."""

from __future__ import annotations

import os
from typing import Any

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError

__all__ = ["Metrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """The gateway's figures, of all its processes where ``PROMETHEUS_MULTIPROC_DIR`` is set.

    Labels are names of models, endpoints and statuses: never a token, a team or a text of a client's.

    Owner of the fields: they never change; the library protects its figures.

    Raises:
        ConfigError: the extra ``serve`` is not installed.
    """

    def __init__(self) -> None:
        try:
            prometheus = late_import("prometheus_client")
        except ImportError:
            raise ConfigError('the gateway needs the extra "serve": python -m pip install "streamkit[serve]"') from None
        self._prometheus: Any = prometheus
        registry = self._registry = prometheus.CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Any:
            return prometheus.Counter(f"streamkit_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str) -> Any:
            return prometheus.Histogram(f"streamkit_{name}", text, labels, registry=registry, buckets=_SECONDS)

        self._requests = counter("requests", "Requests that have ended.", "endpoint", "model", "status")
        self._tokens = counter("tokens", "Tokens that were charged.", "model", "kind")
        self._dollars = counter("cost_dollars", "Dollars that were charged.", "model")
        self._estimated = counter("estimated_replies", "Replies charged by an estimate.", "model")
        self._first = histogram("time_to_first_chunk_seconds", "From the request to the first chunk.", "model")
        self._duration = histogram("request_seconds", "From the request to its end.", "endpoint", "model")
        self._open = prometheus.Gauge(
            "streamkit_open_streams", "Replies under way.", registry=registry, multiprocess_mode="livesum"
        )

    def begun(self) -> None:
        """Count a reply that begins."""
        self._open.inc()

    def ended(self) -> None:
        """Count a reply that is over."""
        self._open.dec()

    def request(
        self,
        endpoint: str,
        model: str,
        status: int,
        seconds: float,
        *,
        first: float | None = None,
        input_tokens: int = 0,
        output_tokens: int = 0,
        nano: int = 0,
        estimated: bool = False,
    ) -> None:
        """Count a request that has ended.

        Args:
            endpoint: its path.
            model: as it is configured; "" for a request that names none that exists.
            status: of the response; 499 where the client has left.
            seconds: that it took.
            first: seconds to the first chunk.
            input_tokens, output_tokens: that were charged.
            nano: that were charged, in nano-USD.
            estimated: whether that is an estimate.
        """
        self._requests.labels(endpoint, model, str(status)).inc()
        self._duration.labels(endpoint, model).observe(seconds)
        if first is not None:
            self._first.labels(model).observe(first)
        if input_tokens or output_tokens or nano:
            self._tokens.labels(model, "input").inc(input_tokens)
            self._tokens.labels(model, "output").inc(output_tokens)
            self._dollars.labels(model).inc(nano / 10**9)
        if estimated:
            self._estimated.labels(model).inc()

    def text(self) -> tuple[bytes, str]:
        """Return the figures in Prometheus's text, and its content type."""
        prometheus, registry = self._prometheus, self._registry
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = prometheus.CollectorRegistry()
            late_import("prometheus_client.multiprocess").MultiProcessCollector(registry)
        return prometheus.generate_latest(registry), prometheus.CONTENT_TYPE_LATEST
