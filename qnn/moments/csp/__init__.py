"""Constraint satisfaction over pairs: hierarchies by conditioning, exact trees, certificates."""

from qnn.moments.csp.crew import Crew, Processes
from qnn.moments.csp.files import read, read_rudy, read_wcsp
from qnn.moments.csp.instances import (
    max_2_sat,
    max_k_cut,
    planar_ising,
    planted_unique_games,
    random_csp,
)
from qnn.moments.csp.problem import CUTS, MaxCSP, Solution, max_cut, rudy
from qnn.moments.csp.rudy import rudy_text
from qnn.moments.csp.seeds import RULES

__all__ = [
    "CUTS",
    "RULES",
    "Crew",
    "MaxCSP",
    "Processes",
    "Solution",
    "max_2_sat",
    "max_cut",
    "max_k_cut",
    "planar_ising",
    "planted_unique_games",
    "random_csp",
    "read",
    "read_rudy",
    "read_wcsp",
    "rudy",
    "rudy_text",
]
