"""What can go wrong, by whose hand."""


class QnnError(Exception):
    """Base of every error this package raises on purpose."""


class InputError(QnnError, ValueError):
    """Bad data, arguments or files: one line that says what, where, and what to do."""


class CertificateError(QnnError):
    """A certificate does not prove the bound it states, or speaks of other data."""
