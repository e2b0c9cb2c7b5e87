"""The units of a sweep's work, with ids that follow from content alone.

A path is one shard's β from large to small, with all its roundings, widths and seeds: the unit of
work and of resume. Where the target has several outputs (one for each class), each has paths of its
own, and a join puts the networks of a shard's outputs together. Ids do not depend on the order in
which axes are written, on where the data lie, or on the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal, Self

from pipeline.configuration.beta import Beta, column_of
from pipeline.configuration.kinds import KIND, Kind
from pipeline.plans.estimates import (
    Relaxed,
    estimate_join_bytes,
    estimate_join_seconds,
    estimate_raising,
    estimate_rounding,
)
from pipeline.plans.ids import digest_of
from pipeline.plans.trials import (
    Written,
    orthogonality_of,
    reference_trials,
    settings_of,
    trial_of,
)
from pipeline.results.record import Axes
from qnn.features.class_weights import ClassWeights
from qnn.features.noise import Noise
from qnn.features.targets import ONE_VS_REST
from qnn.networks.alphabets import get_alphabet
from qnn.training.arms import REFERENCES, WIDTHLESS
from qnn.training.problems.levels import default_limit

# What tells one SDP from another: ids of problems and networks have it. The shard's name is in it
# because two shards with equal rows must not share the files of a trial.
_OF_PROBLEM = frozenset(
    {"shard", "content", "beta_kind", *KIND, "certify", "certify_time_limit", "solver", "tol"}
    | {"time_limit", "output", "outputs", "pruned_to", "class_weight", "multi_class"}
)
# What does not tell one path from another.
_SAID_ONLY = frozenset({"dataset", "n", "d", "noise"})
# What is younger than the first results, with the value that those were computed with: ids stay.
_EARLIER: dict[str, Any] = {
    "baselines": (),
    "baseline_seconds": None,
    "certify_time_limit": None,
    "loss_parameter": None,
    "polynomial": None,
    "second_layer": "float",
    "output": 0,
    "outputs": 1,
    "pruned_to": None,
    "orthogonality": (),
    "class_weight": None,
    "multi_class": ONE_VS_REST,
}


@dataclass(frozen=True)
class PathSpec:
    """A path: one problem, what its networks differ in, sorted, and the digest of its data.

    `content` is the SHA-256 over table, classes, layout and the rows of shard and test. `betas` go
    from large to small, all in one form. `n` and `d` are the size of the training matrix. `output`
    is the one of the target's `outputs` that the path fits: with several, there are as many paths
    for each shard. `pruned_to`: the gap that a learned bound may prove instead of an SDP, or None.
    `orthogonality`: what each arm that takes one is run with; empty: as it is.
    `class_weight`: what the rows of each class count for in the loss, None for 1. `multi_class`:
    how classes become outputs. `noise`: of the training rows, which `content` and `n` have in them.
    """

    dataset: str
    shard: str
    content: str
    n: int
    d: int
    kind: Kind
    betas: tuple[Beta, ...]
    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    roundings: tuple[str, ...]
    certify: str
    certify_time_limit: float | None
    solver: str
    tol: float
    time_limit: float | None
    baselines: tuple[str, ...] = ()
    baseline_seconds: float | tuple[float, ...] | None = None
    second_layer: str = "float"
    output: int = 0
    outputs: int = 1
    pruned_to: float | None = None
    orthogonality: tuple[Written, ...] = ()
    class_weight: ClassWeights | None = None
    multi_class: str = ONE_VS_REST
    noise: Noise | None = None

    @cached_property
    def id(self) -> str:
        """Id of the path, from everything in it but the data set's name."""
        told = {name: value for name, value in self._told.items() if name not in _SAID_ONLY}
        return digest_of(["path", told])

    def problem_id(self, beta: Beta) -> str:
        """Id of the SDP at one β: its certificate's name."""
        return digest_of(["problem", self._problem, beta.written])

    def trial_id(self, trial: Axes) -> str:
        """Id of one network; an arm's depends on the time that it is given as well."""
        own: list[Any] = [trial.baseline_seconds] if trial.rounding in self.baselines else []
        if self.second_layer != "float" and trial.rounding not in self.baselines:
            own = [self.second_layer]
        stands = [self._written(trial), trial.seed, trial.width, trial.rounding]
        own += orthogonality_of(trial)
        return digest_of(["trial", self._problem, *stands, *own])

    @property
    def budgets(self) -> tuple[float | None, ...]:
        """The wall times that each quantized arm is given, one after the other; None: ours."""
        given = self.baseline_seconds
        return given if isinstance(given, tuple) else (given,)

    def axes(self, beta: Beta) -> Axes:
        """Where all its networks at one β stand, as far as the plan knows."""
        return Axes(
            solver=self.solver,
            second_layer=self.second_layer,
            certify=self.certify,
            **self.kind.resolved().columns,
            **beta.columns,
        )

    def is_first(self, here: Axes) -> bool:
        """Whether that is at the path's first β, where it takes what has no β of its own."""
        return self._written(here) == self.betas[0].written

    def arm_trials(self, here: Axes) -> Iterator[Axes]:
        """The trials of the arms at one β; those without a β of their own come with the first."""
        for arm in self.baselines:
            for setting in settings_of(arm, self.orthogonality):
                for trial in self._trials_of(here, arm):
                    yield replace(trial, **setting)

    def _trials_of(self, here: Axes, arm: str) -> Iterator[Axes]:
        if arm in REFERENCES:
            if self.is_first(here):
                yield from reference_trials(here, arm, self.seeds, self.budgets[0])
        elif arm in WIDTHLESS:
            yield trial_of(here, arm, None, self.seeds[0], self.budgets[-1])
        else:
            for width, seed in product(self.widths, self.seeds):
                for seconds in self.budgets:
                    yield trial_of(here, arm, width, seed, seconds)

    def own_trials(self, here: Axes) -> Iterator[Axes]:
        """The trials of our own networks at one β, where all of them stand."""
        for rounding, width, seed in product(self.roundings, self.widths, self.seeds):
            yield trial_of(here, rounding, width, seed)

    def trials(self) -> Iterator[Axes]:
        """Every trial of the path: our networks and those of the arms."""
        for here in map(self.axes, self.betas):
            yield from self.own_trials(here)
            yield from self.arm_trials(here)

    @property
    def own_networks(self) -> int:
        """Number of our own networks."""
        return len(self.betas) * len(self.roundings) * len(self.widths) * len(self.seeds)

    @property
    def networks(self) -> int:
        """Number of networks of all arms, which is that of trials."""
        return self.own_networks + sum(1 for _ in self._all_arm_trials())

    @property
    def paths(self) -> tuple[PathSpec, ...]:
        """The path itself: what a join has several of."""
        return (self,)

    @property
    def first(self) -> PathSpec:
        """The path itself, as `JoinSpec.first`."""
        return self

    @property
    def own_output(self) -> int | None:
        """Which of several outputs its networks are of; None where they are whole."""
        return None if self.outputs == 1 else self.output

    @property
    def references(self) -> tuple[str, ...]:
        """A path's own are among its `baselines`."""
        return ()

    def narrowed(
        self, beta: Beta, width: int, rounding: str, seeds: Sequence[int] | None = None
    ) -> Self:
        """The path at a single β, width and rounding, without arms: what a final refit needs."""
        chosen = self.seeds if seeds is None else tuple(sorted(seeds))
        single = replace(self, betas=(beta,), widths=(width,), roundings=(rounding,), seeds=chosen)
        return replace(single, baselines=(), baseline_seconds=None, orthogonality=())

    def title(self, kind: str = "") -> str:
        """The path in a few words, for lists of tasks; `kind`: its kind's, where those differ."""
        output = f", output {self.output}" if self.outputs > 1 else ""
        kind = f", {kind}" if kind else ""
        return f"{self.dataset} {self.shard}{kind}{output}: {len(self.betas)} betas"

    @property
    def second_layer_bits(self) -> str | int:
        """The second layer as the library takes it: bits are a number."""
        return int(self.second_layer) if self.second_layer.isdecimal() else self.second_layer

    def describe_problem(self) -> str:
        """Loss, activation, weights, second layer and class weights in words."""
        return self.kind.describe() + self.describe_shared()

    def describe_shared(self) -> str:
        """What all kinds of a sweep have alike, to be added to words: "" where nothing is said."""
        words = "" if self.second_layer == "float" else f", second layer {self.second_layer}"
        if self.class_weight is not None:
            given = self.class_weight
            told = [given] if isinstance(given, str) else [f"{one:g}" for one in given]
            words += f", class weights {', '.join(told)}"
        return words

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the path on one core."""
        width = sum(self.widths) / len(self.widths)
        ours = len(self.betas) * self.relaxed.seconds
        ours += estimate_rounding(self.n, self.d, self.own_networks, width)
        ours += len(self.betas) * estimate_raising(self.n, self.d, self.certify, self.certify_limit)
        arms = self._all_arm_trials()
        return ours + sum(trial.baseline_seconds or ours / self.own_networks for trial in arms)

    @property
    def certify_limit(self) -> float | None:
        """Seconds that raising the bound of one SDP may take; a default is in no id."""
        if self.certify_time_limit is not None:
            return self.certify_time_limit
        return default_limit(self.certify, self.relaxed.size)

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory of one solve of the path."""
        return self.relaxed.bytes

    @property
    def relaxed(self) -> Relaxed:
        """The relaxation that is solved at each β, as its solver is asked about it."""
        kind = self.kind
        return Relaxed(
            n=self.n,
            d=self.d,
            loss=kind.get_loss(),
            activation=kind.get_activation(),
            bits=len(get_alphabet(kind.alphabet).scales),
            solver=self.solver,
            tol=self.tol,
        )

    def _written(self, trial: Axes) -> float | None:
        written: float | None = getattr(trial, column_of(self.betas[0].form))
        return written

    def _all_arm_trials(self) -> Iterator[Axes]:
        for here in map(self.axes, self.betas):
            yield from self.arm_trials(here)

    @cached_property
    def _problem(self) -> dict[str, Any]:
        return {name: value for name, value in self._told.items() if name in _OF_PROBLEM}

    @property
    def _told(self) -> dict[str, Any]:
        """All that ids follow from, in the words of the first version."""
        told = {axis.name: getattr(self, axis.name) for axis in fields(self)}
        kind, betas = told.pop("kind"), told.pop("betas")
        told |= {name: getattr(kind, name) for name in KIND}
        told |= {"betas": [beta.written for beta in betas], "beta_kind": betas[0].form}
        return {
            name: value
            for name, value in told.items()
            if name not in _EARLIER or value != _EARLIER[name]
        }


@dataclass(frozen=True)
class JoinSpec:
    """What makes one network of each of a shard's outputs: its paths, in the outputs' order.

    `labels` name the outputs in messages, `output_word` says what one is; `references` are the arms
    that take all classes at once. Needs the results of all its paths.
    """

    paths: tuple[PathSpec, ...]
    labels: tuple[str, ...]
    references: tuple[str, ...] = ()
    output_word: Literal["class", "target", "pair"] = "class"

    @cached_property
    def id(self) -> str:
        """Id of the join, from those of its paths."""
        return digest_of(["join", [path.id for path in self.paths], list(self.references)])

    @property
    def first(self) -> PathSpec:
        """The path of the first output, for what all of them share."""
        return self.paths[0]

    @property
    def own_output(self) -> None:
        """Its networks are whole."""

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return self.first.dataset

    @property
    def shard(self) -> str:
        """The shard's name."""
        return self.first.shard

    @property
    def betas(self) -> tuple[Beta, ...]:
        """β as the paths have it."""
        return self.first.betas

    def trial_id(self, trial: Axes) -> str:
        """Id of one joined network, from those of its parts."""
        return digest_of(["joined", [path.trial_id(trial) for path in self.paths]])

    def joined_trials(self, here: Axes) -> Iterator[Axes]:
        """The trials at one β that have a part in each output."""
        yield from self.first.own_trials(here)
        yield from self.first.arm_trials(here)

    def reference_trials(self, here: Axes) -> Iterator[Axes]:
        """Those of the references: they have no β of their own and come with the first."""
        if self.first.is_first(here):
            for arm in self.references:
                for setting in settings_of(arm, self.first.orthogonality):
                    for trial in reference_trials(here, arm, self.first.seeds):
                        yield replace(trial, **setting)

    def trials(self) -> Iterator[Axes]:
        """Every trial of the join."""
        for here in map(self.first.axes, self.betas):
            yield from self.joined_trials(here)
            yield from self.reference_trials(here)

    @property
    def networks(self) -> int:
        """Number of trials."""
        return self.first.networks + self._reference_networks

    @property
    def _reference_networks(self) -> int:
        here = self.first.axes(self.first.betas[0])
        return sum(1 for _ in self.reference_trials(here))

    def narrowed(self, beta: Beta, width: int, rounding: str) -> Self:
        """As `PathSpec.narrowed`, of all its paths, without references."""
        paths = tuple(path.narrowed(beta, width, rounding) for path in self.paths)
        return replace(self, paths=paths, references=())

    def title(self, kind: str = "") -> str:
        """The join in a few words, as `PathSpec.title`."""
        kind = f", {kind}" if kind else ""
        return f"{self.dataset} {self.shard}{kind}: join of {len(self.paths)} outputs"

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the join on one core, its paths not counted."""
        first, outputs = self.first, len(self.paths)
        width = outputs * sum(first.widths) / len(first.widths)
        arms = self._reference_networks * (first.budgets[-1] or 0.0)
        return arms + estimate_join_seconds(first.n, first.d, outputs, first.networks, width)

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory of the join."""
        first, outputs = self.first, len(self.paths)
        return estimate_join_bytes(first.n, first.d, outputs, outputs * max(first.widths))


Spec = PathSpec | JoinSpec
