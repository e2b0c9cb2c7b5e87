"""Proofs that a decoder stays near an image for a whole box of latents: record, and checker."""

from qnn.certificates.reconstruction.checker import proven_loss, verify
from qnn.certificates.reconstruction.record import ReconstructionCertificate

__all__ = ["ReconstructionCertificate", "proven_loss", "verify"]
