"""What telemetry costs: processor time of a stream and of a chunk, with OpenTelemetry's SDK and without.

python tests/benchmarks/telemetry.py [--streams 300] [--rounds 5]
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from streamkit import Client, LogStreams, Observer, Telemetry, providers
from streamkit.testing import Server, text_reply

SHORT, LONG = 10, 2010  # chunks of a stream


class Nowhere(SpanExporter):
    """Takes spans, and drops them."""

    def export(self, spans: Sequence[object]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def telemetry() -> list[Observer]:
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(Nowhere()))
    return [Telemetry(tracers, MeterProvider([InMemoryMetricReader()]))]


def log() -> list[Observer]:
    logger = logging.getLogger("nowhere")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.INFO)
    return [LogStreams(logger)]


WAYS: dict[str, Callable[[], list[Observer]]] = {
    "no observer": list,
    "one that does nothing": lambda: [Observer()],
    "a log": log,
    "telemetry without an SDK": lambda: [Telemetry()],
    "telemetry": telemetry,
}


def seconds(server: Server, observers: list[Observer], streams: int) -> float:
    """Return the processor seconds of this process, the server's included, for each stream."""
    with Client([providers.OpenAI(api_key="k", base_url=server.url)], observers=observers) as client:
        client.complete("openai/m", "Hi")
        began = time.process_time()
        for _ in range(streams):
            client.complete("openai/m", "Hi")
        return (time.process_time() - began) / streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
    with Server(text_reply("word " * SHORT)) as short, Server(text_reply("word " * LONG)) as long:
        for _ in range(options.rounds):
            for name, observers in WAYS.items():
                few = seconds(short, observers(), options.streams)
                many = seconds(long, observers(), max(1, options.streams // 30))
                figures[name].append((few, (many - few) / (LONG - SHORT)))
    without = [statistics.median(column) for column in zip(*figures["no observer"], strict=True)]
    for name, rows in figures.items():
        stream, chunk = (statistics.median(column) for column in zip(*rows, strict=True))
        print(
            f"{name:26} a stream {stream * 1e6:7.0f} µs ({(stream - without[0]) * 1e6:+6.0f}, "
            f"{stream / without[0]:.2f} times), a chunk {chunk * 1e6:6.2f} µs ({chunk / without[1]:.2f} times)"
        )


if __name__ == "__main__":
    main()
