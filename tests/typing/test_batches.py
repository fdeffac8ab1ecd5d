"""The types of batches; this file is only type-checked, never run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from streamkit import Batch, BatchResult, BatchTotals, Client, Completion, user
from tests.typing.support import assert_type


def batches(client: Client, numbers: Iterator[dict[str, str]]) -> None:
    batch = client.map("openai/m", ["a", "b"], concurrency=3, ordered=True, save=Path("out.jsonl"), temperature=0.5)
    assert_type(batch, Batch[str])
    for result in batch:
        assert_type(result, BatchResult[str])
        assert_type(result.prompt, str)
        assert_type(result.completion, Completion | None)
        assert_type(result.error, Exception | None)
        assert_type(result.text, str)
    assert_type(batch.totals, BatchTotals)
    assert_type(client.map("openai/m", numbers, key="id", max_cost=1, max_failures=3), Batch[dict[str, str]])
    client.map("openai/m", [user("a")], key=lambda message: message.name)
    client.map("openai/m", ["a"], executor=ProcessPoolExecutor(), factory=Client, progress=False, timeout=3)
    client.map("openai/m", ["a"], concurency=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.map("openai/m", ["a"], max_tokens="3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
