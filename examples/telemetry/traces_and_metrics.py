"""Traces and metrics of a run with a tool, by OpenTelemetry, and the metrics as Prometheus reads them.

Needs `pip install 'streamkit[otel]' opentelemetry-sdk opentelemetry-exporter-prometheus`.
"""

from __future__ import annotations

import logging
import sys

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import generate_latest

from streamkit import Client, LogStreams, Telemetry


def weather(city: str) -> str:
    """Return the weather.

    Args:
        city: whose weather.
    """
    return f"It rains in {city}."


# A program of your own has an exporter for its collector here, and a BatchSpanProcessor.
exporter = InMemorySpanExporter()
tracers = TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(exporter))
meters = MeterProvider([PrometheusMetricReader()])

logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(name)s: %(message)s")
logging.getLogger("streamkit.streams").setLevel(logging.INFO)

client = Client(observers=[Telemetry(tracers, meters), LogStreams()])
with tracers.get_tracer("example").start_as_current_span("a request of a user"):
    client.run("demo/assistant", "What is the weather in Oslo?", tools=[weather]).collect()
client.close()

spans = exporter.get_finished_spans()
names = {span.context.span_id: span.name for span in spans}  # pyright: ignore[reportOptionalMemberAccess]
for span in sorted(spans, key=lambda span: span.start_time or 0):
    above = "" if span.parent is None else f", below {names[span.parent.span_id]!r}"
    milliseconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    print(f"{span.name!r}{above}: {milliseconds:.0f} ms")

# A program of your own calls prometheus_client.start_http_server(9464), and Prometheus asks it.
for line in generate_latest().decode().splitlines():
    if line.startswith("gen_ai_client_operation_duration_seconds_count"):
        print(line)
