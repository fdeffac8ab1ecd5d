"""The table of `gateways.py`, and its comparison with the targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Figures = dict[str, Any]
Rounds = Mapping[str, list[Figures]]

PHASES = ("mid-stream", "before the first token", "whole reply", "upstream that hangs")


def middle(rounds: list[Figures], key: str) -> float | None:
    found = [each[key] for each in rounds if each.get(key) is not None]
    return statistics.median(found) if found else None


def pair(rounds: list[Figures], key: str, place: int, over_direct: bool = True) -> float | None:
    """Return the median of the rounds' p50 (place 0) or p99 (1) of a figure, less that of direct beside it."""
    found = []
    for each in rounds:
        both = each.get(key)
        if not both or both["gateway"] is None:
            continue
        direct = both["direct"] if over_direct else None
        found.append(both["gateway"][place] - (direct[place] if direct else 0))
    return statistics.median(found) if found else None


def number(value: float | None) -> str:
    """Return a number with two or three figures that count."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "never"
    if abs(value) < 0.0005:
        return "0"
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 3)}f}"


def pairs_shown(name: str, rounds: list[Figures], key: str) -> str:
    p50, p99 = (pair(rounds, key, place, name != "direct") for place in (0, 1))
    if p50 is None:
        return "-"
    share = middle(rounds, f"{key} share")
    if share is not None and share < 0.5:
        return f"stalls: {share:.0%} of the chunks came"
    text = f"{number(p50)} / {number(p99)}"
    asked, done = middle(rounds, f"{key} asked"), middle(rounds, f"{key} done")
    return text if asked is None or done == asked else f"{text}, {done:.0f} done"


def memory_shown(rounds: list[Figures]) -> str:
    rest, many = middle(rounds, "rest"), middle(rounds, "hundred memory")
    return "" if rest is None else f"{rest:.0f} / {number(many)}"


def show(rounds: Rounds, sizes: Mapping[str, float | None], versions: Mapping[str, str], judged: str) -> None:
    """Print the table and how the judged gateway stands to the targets."""

    def row(title: str, cell: Callable[[str, list[Figures]], str]) -> list[str]:
        return [title, *(cell(name, found) for name, found in rounds.items())]

    def of(key: str) -> Callable[[str, list[Figures]], str]:
        return lambda name, found: number(middle(found, key)) if name != "direct" or key == "short" else ""

    def pairs_of(key: str) -> Callable[[str, list[Figures]], str]:
        return lambda name, found: pairs_shown(name, found, key)

    table = [
        ["", *(f"{name} {versions.get(name, '')}".strip() for name in rounds)],
        row("added time to first token, ms, p50 / p99", pairs_of("first")),
        row("added lag a chunk, 1 stream, ms", pairs_of("one")),
        row("added lag, 100 streams at 50/s", pairs_of("hundred")),
        row("added lag, 300 streams at 20/s", pairs_of("three hundred")),
        row("processor us a chunk at 100", of("hundred processor")),
        row("short streams a second", of("short")),
        row("memory MB at rest / with 100", lambda name, found: memory_shown(found)),
        row("start to first reply, s", of("start")),
        row("installed, MB", lambda name, found: "" if name == "direct" else number(sizes.get(name))),
        *(row(f"client leaves, {phase}: upstream sees it, s", of(f"cancel {phase}")) for phase in PHASES),
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for place, line in enumerate(table):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        if not place:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print("`direct` has the client's own figures at the provider; all others have what they add to direct beside them.")
    errors(rounds)
    if judged in rounds:
        judge(rounds, sizes, judged)
    else:
        print(f"\nNo targets: {judged} was not measured.")


def errors(rounds: Rounds) -> None:
    for name, found in rounds.items():
        for key in ("short errors", "hundred errors", "three hundred errors"):
            if seen := [each[key] for each in found if each.get(key)]:
                print(f"{name}, {key}: {seen[0]}")


class Target(NamedTuple):
    """What a figure has to be, and what would be best."""

    title: str
    ours: float | None
    has_to: float | None
    best: float | None = None
    more: bool = False  # whether more is better


def judge(rounds: Rounds, sizes: Mapping[str, float | None], judged: str) -> None:
    """Print our figures beside the targets, each as a ratio; at most 1 is met."""
    found = rounds[judged]
    floor = middle(rounds.get("bare Flask", []), "hundred processor")
    litellm = rounds.get("LiteLLM", [])
    litellm_processor, litellm_short = middle(litellm, "hundred processor"), middle(litellm, "short")
    processor, short = middle(found, "hundred processor"), middle(found, "short")
    asked, done = middle(found, "three hundred asked"), middle(found, "three hundred done")
    targets = [
        Target("processor us a chunk at 100, by bare Flask's", processor, times(floor, 1.6), times(floor, 0.7)),
        Target("processor us a chunk at 100, by LiteLLM's", processor, times(litellm_processor, 1 / 9)),
        Target("added lag, 100 at 50/s, p50, ms", pair(found, "hundred", 0), 1, 0.2),
        Target("added lag, 100 at 50/s, p99, ms", pair(found, "hundred", 1), 10, 2),
        Target("300 streams at 20/s: done", done, asked, more=True),
        Target("added lag, 300 at 20/s, p99, ms", pair(found, "three hundred", 1), 30, 8),
        Target("added time to first token, p50, ms", pair(found, "first", 0), 4, 1.5),
        Target("added time to first token, p99, ms", pair(found, "first", 1), 10, 4),
        Target("short streams a second", short, 150, 500, more=True),
        Target("short streams a second, by LiteLLM's", short, times(litellm_short, 8), more=True),
        Target("start to first reply, s", middle(found, "start"), 1.5, 0.5),
        Target("memory at rest, MB", middle(found, "rest"), 90, 50),
        Target("installed beyond the core, MB", sizes.get(judged), 60, 15),
        *(Target(f"client leaves, {phase}, s", middle(found, f"cancel {phase}"), 1, 0.05) for phase in PHASES),
    ]
    print(f"\n{judged} beside the targets, as a ratio: at most 1 is met.\n")
    lines = [["", judged, "has to be", "ratio", "", "would be best", "ratio", ""]]
    for each in targets:
        line = [each.title, number(each.ours)]
        for target in (each.has_to, each.best):
            line += compared(each, target)
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def compared(target: Target, wanted: float | None) -> list[str]:
    if wanted is None or target.ours is None:
        return ["" if wanted is None else number(wanted), "-", ""]
    sign = ">= " if target.more else "<= "
    less, more = (wanted, target.ours) if target.more else (target.ours, wanted)
    ratio = less / more if more else math.inf
    shown = f"{max(ratio, 0):.2f}" if math.isfinite(ratio) else "-"
    return [sign + number(wanted), shown, "met" if ratio <= 1 else "missed"]
