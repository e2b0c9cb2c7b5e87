"""Checking a run again from its files alone: nothing is solved, nothing is written.

A manifest: the folder is as its sweep left it. A certificate: its data file has the digest it
names, the independent checker proves its bound, and it states that bound. A network: its objective
on the training matrix lies above the bound, and every column of its row that the folder can tell is
what the folder says; figures on rows held out are measured again where the study reads the sweep's
source anew. Of several outputs: as many certificates, one for each, and their sum.
"""

from pipeline.results.verification.loop import verify_files, verify_paths, verify_run
from pipeline.results.verification.verdict import Check

__all__ = [
    "Check",
    "certificates",
    "evidence",
    "held_out",
    "loop",
    "manifest",
    "measured",
    "networks",
    "of_studies",
    "rows",
    "statements",
    "verdict",
    "verify_files",
    "verify_paths",
    "verify_run",
    "weights",
]
