"""Jobs of RQ, which a worker in a process of its own runs: see test_rq.py. The environment has the addresses."""

from __future__ import annotations

import os
from typing import Any

from rq import get_current_job
from rq.timeouts import JobTimeoutException

from streamkit import Client, RedisLog, providers
from streamkit.workers import publish_once

LEASE = 2.0

log = RedisLog(os.environ["LOG"], lease=LEASE)
client = Client([providers.OpenAI(api_key="k", base_url=os.environ["MODEL"])])


def answer(question: str) -> dict[str, Any]:
    job = get_current_job()
    assert job is not None
    return publish_once(lambda: client.stream("openai/m", question), log, job.id).to_dict()


def limited(question: str) -> dict[str, Any]:
    try:
        return answer(question)
    except JobTimeoutException as error:
        partial = error.partial  # type: ignore[attr-defined]
        return {"interrupted": type(error).__name__, **partial.to_dict()}
