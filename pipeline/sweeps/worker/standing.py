"""A problem's certificate that a folder has already: rows of an earlier plan speak of it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from pipeline.results.folder import RunFolder
from qnn.certificates import Certificate, verify
from qnn.certificates.claim import Claim
from qnn.errors import QnnError
from qnn.numerics.archive import pack_arrays
from qnn.training.problems.problem import Problem


def standing_certificate(
    folder: RunFolder, file: str, ours: Certificate, problem: Problem
) -> Certificate | None:
    """The folder's own where it differs from ours, claims a bound of the same problem, proves it.

    None where there is none such: then ours is written.
    """
    try:
        content = folder.read(file)
        if content == pack_arrays(ours.arrays()):
            return None
        there = Certificate.from_bytes(content, file)
        if not _same_problem(there.claim, ours.claim):
            return None
        verify(there, problem.X, problem.y)
    except (FileNotFoundError, QnnError, ValueError):
        return None
    return there


def _same_problem(one: Claim, other: Claim) -> bool:
    names = [field.name for field in fields(Claim) if field.name != "lower_bound"]
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
