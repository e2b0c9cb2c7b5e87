"""Pages that people look at: a run, a certificate, a comparison."""

__all__ = ["certificate", "comparison", "figures", "outputs", "page", "proof_words", "tables"]
