"""How long one event may hold the interpreter: another thread ticks, and its longest wait is printed.

Of up to four runs, the best counts.

python tests/benchmarks/costly_events.py [WORD]

Args:
    WORD: only the cases with this in their name.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.fault.costly_events import cases, consume, longest_hold


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"{'event':<60}{'hold, ms':>10}{'all, ms':>10}  end")
    for name, api, stream in cases(wanted):
        ends: list[str] = []

        def work(api: str = api, stream: bytes = stream, ends: list[str] = ends) -> None:
            error = consume(api, stream)
            ends.append(f"{type(error).__name__}: {str(error)[:60]}" if error else "whole")

        began = time.monotonic()
        hold = longest_hold(work)
        for _ in range(3):
            hold = min(hold, longest_hold(work)) if hold > 0.03 else hold
        print(f"{name:<60}{hold * 1e3:>10.0f}{(time.monotonic() - began) * 1e3:>10.0f}  {ends[0]}", flush=True)


if __name__ == "__main__":
    main()
