"""Pieces of C text: constant arrays, numbers, string literals, and the templates."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any

import numpy as np

LINE = 100


def template(name: str) -> str:
    """The text of a file in `c/`."""
    return (
        resources.files("qnn.networks.exports")
        .joinpath("c", f"{name}.c")
        .read_text(encoding="utf-8")
    )


def array(kind: str, name: str, values: Iterable[Any]) -> str:
    """A constant array, wrapped at commas."""
    lines, line = [], "   "
    for value in (str(value) for value in values):
        if len(line) + len(value) + 2 > LINE and line.strip():
            lines.append(line)
            line = "   "
        line += f" {value},"
    body = "\n".join([*lines, line]).rstrip(",")
    return f"static const {kind} {name} = {{\n{body}\n}};\n"


def word(bits: np.uint64) -> str:
    """64 packed bits."""
    return f"UINT64_C(0x{int(bits):016x})"


def number(value: float) -> str:
    """A double, to the last bit."""
    # Python's shortest text reads back to the same bits in any C compiler that rounds correctly.
    return repr(float(value))


def text_literal(text: str) -> str:
    """A string literal; what is not plain ASCII, and what trigraphs are made of, in octal."""
    plain = [
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}"
        for byte in text.encode()
    ]
    return '"' + "".join(plain) + '"'
