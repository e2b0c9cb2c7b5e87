"""Proofs that a network keeps its answer on a whole region: the record, and what checks it."""

from qnn.certificates.robustness.checker import proven_margin, verify
from qnn.certificates.robustness.question import Question
from qnn.certificates.robustness.record import RobustnessCertificate

__all__ = ["Question", "RobustnessCertificate", "proven_margin", "verify"]
