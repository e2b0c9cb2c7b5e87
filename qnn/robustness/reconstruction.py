"""How far a decoder's image can get from a target while its latents stay in a box.

The largest ``||decoder(z) - target||^2`` over ``|z - latents| <= radius``: a proven upper bound, by
what `qnn.certificates.reconstruction` checks, beside the largest value that an attack attained.
Internally its negative is a margin, so that trees and leaves are those of `relu`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qnn.certificates.reconstruction import ReconstructionCertificate, proven_loss
from qnn.certificates.reconstruction.checker import box_region
from qnn.certificates.reconstruction.distance import (
    distance_system,
    interval_distance,
    linear_distance,
)
from qnn.certificates.robustness.question import DUAL, Question
from qnn.certificates.robustness.relu import (
    Bounds,
    EmptyBoxError,
    System,
    interval_layer,
    neuron_bounds,
)
from qnn.certificates.robustness.relu_trees import Node, root_node
from qnn.errors import CertificateError, InputError, shown
from qnn.networks.layered import LayeredNetwork
from qnn.numerics.arrays import floats_of
from qnn.robustness.attacks import Ball, margin_gradients
from qnn.robustness.duals.interior_point import Solved, solve
from qnn.robustness.means import wanted_neuron
from qnn.robustness.relu import Leaf, branch, preorder, settled, tree_arrays
from qnn.robustness.result import MAKER_MARGIN, SLACKS, Limits, Verdict, check_effort
from qnn.robustness.threat import Rows, Threat, raw_point

Array = np.ndarray
_STARTS, _STEPS = 64, 60
_MOST_NEURONS = 4_000


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What was found out about one image and one box of latents.

    upper_bound: proven, no latents of the box have a larger reconstruction loss. lower_bound: the
    loss of ``witness``, the worst latents found in the box, as the decoder computes it. verdict:
    "robust" where the upper bound is at most the threshold, "vulnerable" where the witness's loss
    is above it, else "open"; "open" too where there was no threshold. certificate: proves the upper
    bound. nodes: of the search; seconds: of processor time.
    """

    upper_bound: float
    lower_bound: float
    verdict: Verdict
    witness: Array
    certificate: ReconstructionCertificate
    nodes: int
    seconds: float

    def verify(self, network: Any) -> float:
        """Check the certificate again; see `qnn.certificates.reconstruction.verify`."""
        return self.certificate.verify(network)


def certify_reconstruction(
    decoder: LayeredNetwork,
    latents: Any,
    target: Any,
    radius: Any,
    threshold: float | None = None,
    effort: str = "exact",
    *,
    search: Limits | None = None,
) -> Reconstruction:
    """Bound the reconstruction loss ``||decoder(z) - target||^2`` near some latents, both ways.

    Parameters
    ----------
    decoder : of ReLU layers (`qnn.networks.read_onnx`), the last one affine, no Softmax
        after it, none of them sparse.
    latents : (d,) float64, the middle of the box, such as an encoder's means.
    target : (q,) float64, the image, as the decoder gives it.
    radius : how far each latent may move, one number or (d,), such as an encoder's deviations.
    threshold : the loss that must not be exceeded; None: no verdict is wanted.
    effort : "interval", "crown" (the squares of the outputs' linear bounds), "dual" (the
        semidefinite relaxation's dual) or "exact" (branch and bound, to a verdict, or to
        ``search.gap`` where there is one; 1e-3 where there is neither).
    search : `Limits` of the search, in nodes and seconds.

    Returns
    -------
    `Reconstruction`, in squared units of the outputs.

    Raises
    ------
    InputError : one line, for what does not fit the decoder.
    """
    start = time.process_time()
    check_effort(effort)
    _check_decoder(decoder)
    aim = _image(target, decoder.outputs)
    limit = np.inf if threshold is None else _loss("threshold", threshold)
    rows = Rows(decoder)
    question = rows.question(latents, Threat(radius), 0)
    limits = search or Limits()
    if threshold is None and limits.gap is None:
        limits = replace(limits, gap=1e-3)
    with np.errstate(all="ignore"):
        try:
            box_region(question.numbers, question.radii, decoder.d)
            worst = WorstLatents(decoder, rows, question, aim)
            return _Trial(decoder, worst, limit, effort, limits).found(start)
        except CertificateError as error:
            raise InputError(f"reconstruction: {error}") from None


def _check_decoder(decoder: Any) -> None:
    if not isinstance(decoder, LayeredNetwork):
        raise InputError(
            "decoder must be a network of ReLU layers, as qnn.networks.read_onnx gives"
        )
    if decoder.left_out:
        raise InputError(
            f"decoder ends with a {decoder.left_out}, which was left out: the loss would be that "
            "of the scores that go into it, not of the images"
        )
    if decoder.sparse:
        raise InputError("decoder has sparse layers, for which there is no bound of the loss")
    if decoder.hidden > _MOST_NEURONS:
        raise InputError(f"decoder has {decoder.hidden} neurons, more than {_MOST_NEURONS}")


def _image(target: Any, outputs: int) -> Array:
    aim = floats_of(target, "target")
    if aim.shape != (outputs,) or not np.isfinite(aim).all():
        raise InputError(f"target must be {outputs} finite numbers, one for each of the outputs")
    return aim


def _loss(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not value >= 0:
        raise InputError(f"{what} must be a number, 0 or more (got {shown(value)})")
    return float(value)


class WorstLatents:
    """The worst latents found so far, in the box exactly, and the ascents that find them."""

    def __init__(
        self, decoder: LayeredNetwork, rows: Rows, question: Question, target: Array
    ) -> None:
        self.decoder = decoder
        self.rows, self.question, self.target = rows, question, target
        region = box_region(question.numbers, question.radii, len(question.numbers))
        self.box: Bounds = (region.low[0], region.high[0])
        self.loss, self.witness = -np.inf, question.numbers
        self._offer(question.numbers)
        if not np.isfinite(self.loss):
            raise CertificateError("the loss overflows")

    def losses(self, Z: Array) -> Array:
        """Of latents (n, d), as the decoder computes them."""
        return np.asarray(((self.decoder.scores(Z) - self.target) ** 2).sum(axis=1))

    def ascend(self, starts: Array, steps: int = _STEPS) -> None:
        """Projected gradient ascent of the loss from each start (n, d); keep the best of all."""
        network, ball = self.decoder, Ball(*self.box, "linf")
        X = ball.inside(starts)
        best, value = X[0], -np.inf
        for index in range(steps + 1):
            apart = network.scores(X) - self.target
            losses = (apart * apart).sum(axis=1)
            if losses.max() > value:
                best, value = X[int(losses.argmax())].copy(), float(losses.max())
            _, slope = margin_gradients(network, X, apart)
            X = ball.step(X, -slope, 0.5 * 0.93**index)
        self._offer(best)

    def _offer(self, point: Array) -> None:
        row = raw_point(self.rows, self.question, point)
        loss = float(self.losses(row[None])[0])
        if loss > self.loss:
            self.loss, self.witness = loss, row


class _Trial:
    """One image and box: the tree of its bound, values the negatives of losses."""

    def __init__(
        self,
        decoder: LayeredNetwork,
        worst: WorstLatents,
        threshold: float,
        effort: str,
        limits: Limits,
    ) -> None:
        self.layers = list(zip(decoder.weights, decoder.biases, strict=True))
        self.worst, self.threshold = worst, threshold
        self.effort, self.limits = effort, limits
        self.expired: Callable[[], bool] = limits.clock()
        self.nodes = 0
        # Below the threshold by more than a proof gives up.
        wanted = np.isfinite(threshold) and limits.gap is None
        self.target = -threshold + 1e-7 * (1.0 + threshold) if wanted else np.inf

    def found(self, start: float) -> Reconstruction:
        """The bounds by the means of the effort, and the verdict."""
        low, high = self.worst.box
        rng = np.random.default_rng(0)
        corners = np.where(rng.uniform(size=(_STARTS, len(low))) < 0.5, low, high)
        self.worst.ascend(np.vstack([0.5 * low + 0.5 * high, corners]))
        certificate = self._proven(self._tree())
        verdict: Verdict = "open"
        if np.isfinite(self.threshold) and self.worst.loss > self.threshold:
            verdict = "vulnerable"
        elif certificate.upper_bound <= self.threshold < np.inf:
            verdict = "robust"
        return Reconstruction(
            upper_bound=certificate.upper_bound,
            lower_bound=self.worst.loss,
            verdict=verdict,
            witness=self.worst.witness.copy(),
            certificate=certificate,
            nodes=self.nodes,
            seconds=time.process_time() - start,
        )

    def _tree(self) -> Leaf:
        top = root_node(self.layers, self.worst.box)
        bounds = neuron_bounds(self.layers[:-1], top.box, top.signs)
        if self.effort == "interval":
            return Leaf(top, -self._by_intervals())
        leaf = self._leaf(top, bounds)
        if self.effort != "crown" and not self._done(leaf.value):
            self.nodes += 1
            self._by_dual(leaf, bounds)
            if self.effort == "exact":
                branch(leaf, self._child, self._done)
                settled(leaf)
        return leaf

    def _done(self, value: float) -> bool:
        """Whether a bound is good enough, or no better one is wanted or can be afforded."""
        loss, gap = self.worst.loss, self.limits.gap
        broken = gap is None and loss > self.threshold
        over = self.nodes >= self.limits.nodes and self.nodes > 0
        close = gap is not None and -value - loss <= gap * loss
        return broken or over or self.expired() or value > self.target or close

    def _by_intervals(self) -> float:
        low, high = self.worst.box
        for layer in self.layers[:-1]:
            low, high = (np.maximum(end, 0.0) for end in interval_layer(layer, low, high))
        return sum(interval_distance(self.layers[-1], (low, high), self.worst.target))

    def _leaf(self, node: Node, bounds: list[Bounds]) -> Leaf:
        return Leaf(node, -sum(linear_distance(self.layers, bounds, node.box, self.worst.target)))

    def _child(self, node: Node) -> Leaf:
        self.nodes += 1
        try:
            bounds = neuron_bounds(self.layers[:-1], node.box, node.signs)
        except EmptyBoxError:
            return Leaf(node, np.inf)
        leaf = self._leaf(node, bounds)
        if not leaf.value > self.target:
            self._by_dual(leaf, bounds)
        return leaf

    def _by_dual(self, leaf: Leaf, bounds: list[Bounds]) -> None:
        """Bound a leaf by the dual where that is better, attack from its point, choose a split."""
        node, gap = leaf.node, self.limits.gap
        system = distance_system(self.layers, bounds, node.box, self.worst.target, node.signs)
        tol = 1e-5 if gap is None else min(1e-5, 0.1 * gap)
        solved = solve(system, tol, self.target, expired=self.expired)
        if solved.value > leaf.value:
            leaf.value, leaf.kind, leaf.multipliers = solved.value, DUAL, solved.multipliers
        moves = np.flatnonzero(node.box[0] < node.box[1])
        point = 0.5 * (node.box[0] + node.box[1])
        point[moves] += (system.r * solved.z)[: len(moves)]
        self.worst.ascend(np.clip(point, *node.box)[None], 20)
        leaf.wanted, leaf.cut = _wanted(node, bounds, system, solved)

    def _proven(self, top: Leaf) -> ReconstructionCertificate:
        """The certificate with the least bound near the tree's that its checker proves."""
        question, worst = self.worst.question, self.worst
        value, splits, cuts, multipliers = tree_arrays(preorder(top))
        certificate = ReconstructionCertificate(
            question.network_sha256, question.numbers, question.radii, worst.target, -value,
            splits, cuts, multipliers, self.effort,
        )  # fmt: skip
        for part in SLACKS:
            tried = certificate.stating(-value + part * (1.0 + abs(value)))
            try:
                proven_loss(tried, worst.rows.data, MAKER_MARGIN)
            except CertificateError as error:
                last = error
                continue
            return tried
        raise last


def _wanted(node: Node, bounds: list[Bounds], system: System, solved: Solved) -> tuple[int, float]:
    """What to split, and where: the latent whose box costs the dual most, else a neuron.

    In one dimension the relaxation of a box is exact at its ends and worst in its middle.
    """
    low, high = node.box
    moves = np.flatnonzero(low < high)
    count = len(moves)
    cost = solved.multipliers[:count] * (1.0 - solved.z[:count] ** 2)
    if count and cost.max() > 0.0:
        index = int(moves[int(np.argmax(cost))])
        cut = 0.5 * (low[index] + high[index])
        if low[index] < cut < high[index]:
            return index, float(cut)
    return wanted_neuron(node, bounds, system, solved), 0.0
