"""Proofs about moment matrices of Bell scenarios: the record, and the checker that proves it."""

from qnn.certificates.moments.checker import inequality, verify_moments
from qnn.certificates.moments.record import MomentCertificate

__all__ = ["MomentCertificate", "inequality", "verify_moments"]
