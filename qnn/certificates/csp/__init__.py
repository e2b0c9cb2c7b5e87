"""Proofs of upper bounds for constraint satisfaction over pairs: the record and its checker."""

from qnn.certificates.csp.checker import proven_upper_bound, verify_csp
from qnn.certificates.csp.payoffs import Payoffs
from qnn.certificates.csp.record import CspCertificate

__all__ = ["CspCertificate", "Payoffs", "proven_upper_bound", "verify_csp"]
