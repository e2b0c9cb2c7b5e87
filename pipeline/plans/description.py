"""A plan in plain text, as `--dry-run` shows it: the axes with their counts, then facts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def axis(name: str, values: Sequence[Any]) -> tuple[str, int, str]:
    """An axis with all its values in words."""
    return name, len(values), ", ".join(map(str, values))


def rough_time(seconds: float) -> str:
    """An estimate for people: `less than 1 s`, `about 40 s`, `about 2.5 h`."""
    return "less than 1 s" if seconds < 1.0 else f"about {duration(seconds)}"


def duration(seconds: float) -> str:
    """`40 s`, `3.5 min`, `2.5 h`."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def description(
    title: str, axes: Iterable[tuple[str, int, str]], facts: Iterable[tuple[str, str]]
) -> str:
    """The title, a line for each axis (name, count, values), and one for each fact."""
    lines = [title, "", *(f"  {name:<13}{count:>6}   {shown}" for name, count, shown in axes)]
    lines += ["", *(f"  {name:<13}{text}" for name, text in facts)]
    return "\n".join(lines)
