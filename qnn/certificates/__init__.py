"""Certificates: the record, the checker that proves it, and the repair that makes it."""

from qnn.certificates.checker import verify
from qnn.certificates.record import Certificate

__all__ = ["Certificate", "verify"]
