"""Bounds between the relaxation and the exact optimum: inequalities that all signs satisfy."""

from qnn.training.relaxation.tightening.branched import Branched, branch
from qnn.training.relaxation.tightening.cuts import Cuts, larger_sets, triangles
from qnn.training.relaxation.tightening.solver import Tightened, tighten

__all__ = ["Branched", "Cuts", "Tightened", "branch", "larger_sets", "tighten", "triangles"]
