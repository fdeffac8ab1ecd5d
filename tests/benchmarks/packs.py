"""What it costs to load a pack, and to render a prompt of 1 MB; ten times the text should take ten times as long."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from streamkit.packs import Prompt, load_pack

FULL = Path(__file__).parents[1] / "promptpack" / "packs" / "valid" / "full.json"
SIZE = 100_000  # characters, and ten times as many


def seconds_of(work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of five."""
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def prompts(size: int) -> dict[str, tuple[Prompt, dict[str, str]]]:
    """Return prompts that take, or make, so many characters, with the values for them."""

    def of(template: str, fragments: dict[str, str] | None = None) -> Prompt:
        return Prompt(key="p", system_template=template, fragments=fragments or {})

    return {
        "plain text": (of("a" * size), {}),
        "placeholders": (of("{{x}}" * (size // 5)), {"x": "12345"}),
        "a long value": (of("<{{x}}>"), {"x": "{{y}}" * (size // 5)}),
        "single braces": (of("{" * size), {}),
        "braces that are left open": (of("{{ " * (size // 3)), {}),
        "a long name": (of("{{" + "a" * size), {}),
        "fragments": (of("{{f}}" * (size // 50), {"f": "{{x}}" + "a" * 45}), {"x": "12345"}),
    }


def main() -> None:
    """Print the figures."""
    load_pack(FULL)  # imports what it needs
    print(f"loading full.json: {seconds_of(lambda: load_pack(FULL)) * 1000:.2f} ms")
    print(f"strictly: {seconds_of(lambda: load_pack(FULL, strict=True)) * 1000:.2f} ms")
    small, large = prompts(SIZE), prompts(SIZE * 10)
    for name in small:
        fast, slow = (seconds_of(lambda each=each: each[0].render(each[1])) for each in (small[name], large[name]))
        print(f"{name:26} 100 KB {fast * 1000:7.2f} ms, 1 MB {slow * 1000:7.2f} ms, {slow / fast:5.1f} times")


if __name__ == "__main__":
    main()
