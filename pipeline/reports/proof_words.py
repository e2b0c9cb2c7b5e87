"""What a certificate proves, in words and formulas for pages."""

from __future__ import annotations

import numpy as np

from pipeline.results.summary import percent
from qnn.losses import LOSSES
from qnn.networks.alphabets import get_alphabet


def proof_words(
    loss: str, activation: str, kind: str = "relaxation", weighted: bool = False
) -> dict[str, str]:
    """The inequality that a certificate satisfies, what it holds for that, and the bound.

    `weighted`: it has weights of the rows.
    """
    formula, dual_formula, domain = LOSSES[loss].formulas(weighted)
    bound = f"{dual_formula}, the negative conjugate of the loss {formula} at −ν"
    condition = _CONDITIONS[kind, activation]
    if domain:
        condition, bound = f"{condition}\n{domain}", f"{bound} for {domain}"
    return {
        "condition": condition,
        "holds": f"{_WEIGHTS}{_HOLDS[kind]}" if weighted else _HOLDS[kind],
        "bound": bound,
    }


_CONDITIONS = {
    ("relaxation", "bilinear"): (
        "Diag(a) − M(ν) ⪰ 0,   Diag(a) + M(ν) ⪰ 0,   Σ a ≤ β·d      with  M(ν) = Xᵀ diag(ν) X"
    ),
    ("relaxation", "polynomial"): (
        "Diag(a₊) − M(ν) ⪰ 0,   Diag(a₋) + M(ν) ⪰ 0,   Σ a₊ ≤ β·d,   Σ a₋ ≤ β·d\n"
        "with M(ν) = Σᵢ νᵢ Ãᵢ over the lifted rows"
    ),
    ("tightened", "bilinear"): (
        "Diag(a) − Σ τ cc′ − M(ν) ⪰ 0,   Diag(a) − Σ τ ee′ + M(ν) ⪰ 0,   Σ a − Σ τ ≤ β·d,   τ ≥ 0\n"
        "with  M(ν) = Xᵀ diag(ν) X,  c = p + q,  e = p − q,  integers (p, q) with an odd sum\n"
        "(over leaves: with a and τ of each, without the rows of u = −v, or of u = v, that it says)"
    ),
    ("tightened", "polynomial"): (
        "Diag(a₊) − Σ τ₊ bb′ − M(ν) ⪰ 0,   Σ a₊ − Σ τ₊ ≤ β·d,   τ₊ ≥ 0\n"
        "Diag(a₋) − Σ τ₋ bb′ + M(ν) ⪰ 0,   Σ a₋ − Σ τ₋ ≤ β·d,   τ₋ ≥ 0\n"
        "with M(ν) = Σᵢ νᵢ Ãᵢ over the lifted rows, integers b with an odd sum"
    ),
    ("exact", "bilinear"): (
        "max over all sign vectors u, v of  u′M(ν)v ≤ β·d      with  M(ν) = Xᵀ diag(ν) X"
    ),
    ("exact", "polynomial"): "max over all sign vectors u of  |Σᵢ νᵢ σ(xᵢ′u)| ≤ β·d",
}
_WEIGHTS = "the weight wᵢ of each training row, "
_NU = "a vector ν with one entry a training row"
_HOLDS = {
    "relaxation": f"{_NU} and a diagonal a",
    "tightened": f"{_NU}, a diagonal a, inequalities that all sign vectors satisfy, multipliers τ",
    "exact": f"{_NU}, and how the maximum is found again",
}


def weight_choices(activation: str, alphabet: str) -> int:
    """How many choices a neuron has for what it takes of one input.

    A weight; of the bilinear activation two, one of u and one of v.
    """
    levels = len(get_alphabet(alphabet).levels)
    return levels**2 if activation == "bilinear" else levels


def gap_words(gap: float | None) -> str:
    """A certified gap as half a sentence."""
    if gap is None or not np.isfinite(gap):
        return "no gap is stated"
    if gap <= 1e-6:
        return "the network is optimal to within rounding"
    return f"at most {percent(gap)} of the objective could still be saved, whatever the width"
