"""What can go wrong, by whose hand."""


class QnnError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(QnnError, ValueError):
    """Bad data, arguments or files: one line that says what, where, and what to do."""


class CertificateError(QnnError):
    """A certificate does not prove the bound it states, or speaks of other data."""


class NotProvenAgainError(CertificateError):
    """A certificate passed every quick check, but its long proof was skipped, as was asked.

    ``stated`` is the bound that it states.
    """

    def __init__(self, stated: float) -> None:
        super().__init__(f"states the bound {stated!r}; its enumeration was not proven again")
        self.stated = stated


class NotACertificateError(InputError, CertificateError):
    """A file that is not a whole certificate: bad input, which proves nothing either."""


def shown(value: object) -> str:
    """A value as a message shows it: numbers of numpy as plain ones, arrays by their shape."""
    shape = getattr(value, "shape", None)
    if shape:
        return f"an array of shape {shape}"
    plain = value.item() if shape == () and hasattr(value, "item") else value
    text = repr(plain)
    return text if len(text) <= 60 else f"{text[:57]}..."
