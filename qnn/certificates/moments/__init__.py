"""Proofs about moment matrices of Bell scenarios: one certificate, or batches of bounds."""

from qnn.certificates.moments.checker import MomentCertificate, inequality, verify_moments

__all__ = ["MomentCertificate", "inequality", "verify_moments"]
