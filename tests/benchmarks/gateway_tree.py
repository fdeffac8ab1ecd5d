"""What a process and all its children take: processor time and memory, from /proc; and their priority."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PSS = re.compile(r"^Pss: +(\d+) kB", re.MULTILINE)


def tree(process: int) -> list[int]:
    """Return a process and all that descend from it."""
    found = [process]
    for each in found:
        with suppress(OSError):  # it ended meanwhile
            for thread in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def processor_seconds(processes: list[int]) -> float:
    """Return the processor time of processes and of their children that have ended."""
    ticks = 0
    for process in processes:
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS


def memory_mb(processes: list[int]) -> float:
    """Return the memory of processes in MB; what several share is counted by its part."""
    found = 0
    for process in processes:
        with suppress(OSError):
            if pss := PSS.search(Path(f"/proc/{process}/smaps_rollup").read_text()):
                found += int(pss[1])
    return found / 1000


def prefer(process: int, nice: int) -> None:
    """Give a process, which leads a session of its own, and what it will start a nice value.

    With autogroups a nice value counts inside of a session only, and the session has one of its own.
    """
    if nice:
        os.setpriority(os.PRIO_PROCESS, process, nice)
        with suppress(FileNotFoundError):  # a kernel without autogroups
            Path(f"/proc/{process}/autogroup").write_text(str(nice))
