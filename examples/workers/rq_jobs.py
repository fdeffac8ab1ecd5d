"""Write a reply in a job of RQ, and follow it anywhere by the job's id.

Start the worker beside this file, then run the program, which sends two questions:

    rq worker --url redis://localhost:6379/0 --path . answers

The Redis is that of REDIS_URL, or redis://localhost:6379/0.
"""

import os
from typing import Any

from redis import Redis
from rq import Queue, get_current_job

from streamkit import Client, RedisLog, follow
from streamkit.workers import publish_once

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
MODEL = "demo/storyteller"

log = RedisLog(REDIS)
client = Client()


def answer(question: str, words: int) -> dict[str, Any]:
    job = get_current_job()
    assert job is not None
    # Once: a job that RQ runs again, as its worker was killed, does not ask the model again.
    return publish_once(lambda: client.stream(MODEL, question, max_tokens=words), log, job.id).to_dict()


def main() -> None:
    with Redis.from_url(REDIS) as connection:
        queue = Queue("answers", connection=connection, default_timeout=300)
        # By name, as the worker imports this module, and does not run it as a program.
        job = queue.enqueue("rq_jobs.answer", "Tell me about a fox", 10)
        stream = follow(log, job.id)
        for chunk in stream:
            print(chunk.text, end="", flush=True)
        print(f"\n[{stream.status}, {stream.completion.usage.output_tokens} tokens]")

        job = queue.enqueue("rq_jobs.answer", "Tell me about the moon", 10_000)
        with follow(log, job.id) as stream:
            for chunk in stream:
                print(chunk.text, end="", flush=True)
                if len(stream.text) > 40:
                    log.stop(job.id)  # send_stop_job_command() would kill the process, and keep no result
        print(f"\n[{stream.status}]")


if __name__ == "__main__":
    main()
