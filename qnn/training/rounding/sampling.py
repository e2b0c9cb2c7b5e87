"""Neurons drawn at random from a solved relaxation: Krivine's pairs, or signs of its vectors."""

from collections.abc import Callable

import numpy as np

from qnn.networks.atoms import BilinearAtoms
from qnn.networks.atoms.maxima import signs
from qnn.training.relaxation.result import Relaxation
from qnn.training.rounding.krivine import KrivineSampler, square_root

#: (number of neurons, generator) → their bits W (parts, D, number)
Sampler = Callable[[int, np.random.Generator], np.ndarray]


def sampler_of(relaxation: Relaxation) -> Sampler | None:
    """How to draw neurons from a relaxation; None where its answer is the zero network."""
    if not sum(relaxation.rho) > 0.0:
        return None
    atoms = relaxation.problem.atoms
    if isinstance(atoms, BilinearAtoms):
        krivine = KrivineSampler.from_relaxation(relaxation.P, relaxation.N, relaxation.rho[0])
        return lambda count, rng: atoms.from_signs(
            *(part.astype(np.float64) for part in krivine.sample(count, rng))
        )
    return sign_sampler(relaxation.P, relaxation.N, relaxation.rho)


def sign_sampler(P: np.ndarray, N: np.ndarray, rho: tuple[float, ...]) -> Sampler:
    """Signs of the vectors of P and N (D+1, D+1), `u_i = sign(g_i) sign(g_{D+1})`, g ~ N(0, P).

    From P and N in proportion to `rho`, at least one of each that is not zero. For an indefinite
    form such a sample has no guarantee of a constant factor (M. Goemans, D. Williamson, J. ACM
    1995, has one for the positive semidefinite forms): the certificate tells what was lost.
    """
    roots = [square_root(block) for block in (P, N)]
    share = rho[0] / sum(rho)

    def sample(count: int, rng: np.random.Generator) -> np.ndarray:
        first = min(max(round(share * count), int(rho[0] > 0.0)), count - int(rho[1] > 0.0))
        drawn = [
            root @ rng.standard_normal((len(root), number))
            for root, number in zip(roots, (first, count - first), strict=True)
        ]
        g = signs(np.hstack(drawn))
        return np.asarray(g[None, :-1] * g[-1])

    return sample
