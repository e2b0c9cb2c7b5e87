"""Errors as one line."""

from qnn.errors import QnnError


def one_line(error: BaseException | str, limit: int = 500) -> str:
    """Return an error's text as one line, its type in front where the text alone says little."""
    text = " ".join(str(error).split())
    if isinstance(error, BaseException) and not isinstance(error, (QnnError, OSError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"
