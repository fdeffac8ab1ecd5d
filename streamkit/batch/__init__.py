"""Many prompts at once: ``client.map``.

A pool of threads, each with one stream at a time, is all there is to it; ``Batch`` is what the program iterates.
"""

from streamkit.batch.batch import Batch
from streamkit.batch.values import BatchResult, BatchTotals

__all__ = ["Batch", "BatchResult", "BatchTotals"]
