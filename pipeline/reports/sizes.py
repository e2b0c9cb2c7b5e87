"""What the bytes of a network are counted of, in the same words on pages and on the terminal."""

from __future__ import annotations

from pipeline.results.record import NetworkRow
from pipeline.results.summary import byte_text

ENCODING = "numbers, categories and labels of the encoding"


def counted_words(row: NetworkRow) -> str:
    """What a network's own bytes are of; rows of before there was a choice have float64."""
    stored = row.axes.second_layer or "float"
    if stored == "common":
        return "weights as bits, second layer of one size"
    layer = "as float64" if stored == "float" else f"of {stored} bits"
    return f"weights as bits, second layer {layer}"


def encoding_bytes(row: NetworkRow) -> int:
    """Bytes of what turns raw rows into a network's inputs, which are not in the network's own."""
    return row.identity.preprocessing_bytes or 0


def whole_words(row: NetworkRow) -> str:
    """The bytes of all that predicts, and how many of them the network's own leave out."""
    encoding = encoding_bytes(row)
    return f"{byte_text((row.fit.bytes or 0) + encoding)} ({byte_text(encoding)} of {ENCODING})"
