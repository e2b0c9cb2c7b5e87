"""The colours of pages and figures by name, light and dark, and what a colour is in each place.

A figure knows a colour by its name alone: a page has it as a variable of its style sheet, which the
reader's light or dark changes; a picture has the light one. Each has a contrast of 4.5 at least on
the ground of its theme, so that a line's name can be written in the line's colour.
"""

from __future__ import annotations

BLUE, AMBER, GREEN, PURPLE, RED = "blue", "amber", "green", "purple", "red"
INK, SOFT, RULE, GROUND, WASH = "ink", "soft", "rule", "ground", "wash"
# From little to much, for lines of many values of one thing.
RAMP = tuple(f"ramp-{k}" for k in range(8))
SERIES = (BLUE, RED, GREEN, PURPLE, AMBER)

LIGHT = {
    BLUE: "#0067a8", AMBER: "#8f6100", GREEN: "#00734f", PURPLE: "#7d45b2", RED: "#b8391a",
    INK: "#1f2933", SOFT: "#56616b", RULE: "#d9dee4", GROUND: "#ffffff", WASH: "#f4f6f8",
    "marked": "#fff3d1", "alarm": "#fdf0ea",
    **dict(zip(RAMP, ("#4b1d6b", "#4a3584", "#3b5290", "#2d6a90", "#1f7585", "#147566", "#2f7445",
                      "#5a6b12"), strict=True)),
}  # fmt: skip
DARK = {
    BLUE: "#6db8f2", AMBER: "#e8b04a", GREEN: "#4fc79a", PURPLE: "#c3a0f0", RED: "#ff9472",
    INK: "#e6eaee", SOFT: "#a4afb9", RULE: "#36404a", GROUND: "#14191e", WASH: "#1d242b",
    "marked": "#3a3212", "alarm": "#3b2219",
    **dict(zip(RAMP, ("#c6a0f0", "#aaa6f5", "#8db2f7", "#6fbfee", "#58c9d6", "#55cfae", "#84d07c",
                      "#c3cb5c"), strict=True)),
}  # fmt: skip


def style_sheet() -> str:
    """The colours as variables: light ones, and dark ones where the reader wants them."""
    light, dark = (
        "".join(f"--{name}:{colour};" for name, colour in theme.items()) for theme in (LIGHT, DARK)
    )
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
    )


def ramp(count: int) -> list[str]:
    """So many colours of the ramp, spread evenly."""
    last = len(RAMP) - 1
    return [RAMP[round(last * k / max(count - 1, 1))] for k in range(count)]


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (`#rrggbb`), 1 to 21, as WCAG 2 defines it."""
    first, second = sorted((_luminance(one), _luminance(other)))
    return (second + 0.05) / (first + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
