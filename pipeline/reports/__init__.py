"""Pages that people look at: a run, a certificate, a comparison."""

__all__ = [
    "cells",
    "certificate",
    "comparison",
    "figures",
    "frame",
    "origin",
    "outputs",
    "page",
    "proof_words",
    "study_pages",
    "tables",
]
