"""Replies in worker processes, which the web follows: ``publish_once``, and tasks of Celery in ``workers.celery``."""

from streamkit.workers.once import publish_once

__all__ = ["publish_once"]
