"""Bounds between the relaxation and the exact optimum: inequalities that all signs satisfy."""

from qnn.tightening.cuts import Cuts, larger_sets, triangles
from qnn.tightening.solver import Tightened, check_tightened, refusal, tighten

__all__ = ["Cuts", "Tightened", "check_tightened", "larger_sets", "refusal", "tighten", "triangles"]
