"""Write a reply in a Celery task, and follow it anywhere by the task's id.

Start the worker beside this file, then run the program, which sends two questions:

    celery -A celery_tasks worker --concurrency 4

The Redis is that of REDIS_URL, or redis://localhost:6379/0.
"""

import os
from typing import Any

from celery import Celery

from streamkit import Client, RedisLog, follow
from streamkit.workers.celery import StreamTask

REDIS = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
MODEL = "demo/storyteller"  # a model of your own, such as openai/gpt-4o-mini, needs the key in the worker alone

app = Celery("celery_tasks", broker=REDIS, backend=REDIS)
log = RedisLog(REDIS)  # this and the client may be made before the worker forks
client = Client()


@app.task(bind=True, base=StreamTask, log=log, soft_time_limit=300, time_limit=310, acks_late=True)
def answer(self: StreamTask, question: str, words: int) -> dict[str, Any]:
    return self.publish(lambda: client.stream(MODEL, question, max_tokens=words))


def main() -> None:
    task = answer.delay("Tell me about a lighthouse", 10)  # pyright: ignore[reportFunctionMemberAccess]
    for chunk in follow(log, task.id):  # in any process, at any time, any number of times
        print(chunk.text, end="", flush=True)
    result = task.get()  # the completion as JSON
    print(f"\n[{result['finish_reason']}, {result['usage']['output_tokens']} tokens]")

    task = answer.delay("Tell me about the sea", 10_000)  # pyright: ignore[reportFunctionMemberAccess]
    with follow(log, task.id) as stream:
        for chunk in stream:
            print(chunk.text, end="", flush=True)
            if len(stream.text) > 40:
                log.stop(task.id)  # what a button "Stop" does; task.revoke(terminate=True) does it too
    print(f"\n[{stream.status}; the task's result: {task.get()['finish_reason']}]")
    app.close()


if __name__ == "__main__":
    main()
