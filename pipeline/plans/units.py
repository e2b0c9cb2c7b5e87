"""The units of a sweep's work, with ids that follow from content alone.

A path is one shard's β from large to small, with all its roundings, widths and seeds: the unit of
work and of resume. Where the target has several outputs (one for each class), each has paths of its
own, and a join puts the networks of a shard's outputs together. Ids do not depend on the order in
which axes are written, on where the data lie, or on the machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal, NamedTuple, Self

from pipeline.configuration.beta import BetaKind
from pipeline.configuration.kinds import Kind
from pipeline.plans.estimates import (
    Relaxed,
    estimate_join_bytes,
    estimate_join_seconds,
    estimate_raising,
    estimate_rounding,
)
from qnn.losses import get_loss
from qnn.networks.activations import Polynomial, get_activation
from qnn.networks.alphabets import get_alphabet
from qnn.training.arms import CEILINGS, REFERENCES

ID_LENGTH = 16


class Trial(NamedTuple):
    """One network of a path: β as written; None where an arm has no such axis.

    `seconds` is the wall time that an arm is given, None for ours and for arms that get ours.
    """

    beta: float | None
    seed: int
    width: int | None
    rounding: str
    seconds: float | None = None


# What is said beside an axis. It tells one SDP from another: ids of problems and networks have it.
_PROBLEM: dict[str, Any] = {"problem": True}
_LATER = "later"


def _later(earlier: Any) -> dict[str, Any]:
    """It is younger than the first results, which were computed with this value."""
    return {_LATER: earlier}


@dataclass(frozen=True)
class PathSpec:
    """A path: all its axes, sorted, and the digest of the data that it works on.

    `content` is the SHA-256 over table, classes, layout and the rows of shard and test. `betas` are
    values or fractions of the shard's beta_max (`beta_kind`), from large to small. `n` and `d` are
    the size of the training matrix. `output` is the one of the target's `outputs` that the path
    fits: with several, there are as many paths for each shard.
    """

    dataset: str
    shard: str
    content: str = field(metadata=_PROBLEM)
    n: int
    d: int
    betas: tuple[float, ...]
    beta_kind: BetaKind = field(metadata=_PROBLEM)
    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    roundings: tuple[str, ...]
    loss: str = field(metadata=_PROBLEM)
    activation: str = field(metadata=_PROBLEM)
    alphabet: str = field(metadata=_PROBLEM)
    certify: str = field(metadata=_PROBLEM)
    certify_time_limit: float | None = field(metadata=_PROBLEM | _later(None))
    solver: str = field(metadata=_PROBLEM)
    tol: float = field(metadata=_PROBLEM)
    time_limit: float | None = field(metadata=_PROBLEM)
    baselines: tuple[str, ...] = field(default=(), metadata=_later(()))
    baseline_seconds: float | tuple[float, ...] | None = field(default=None, metadata=_later(None))
    loss_parameter: float | None = field(default=None, metadata=_PROBLEM | _later(None))
    polynomial: tuple[float, float, float] | None = field(
        default=None, metadata=_PROBLEM | _later(None)
    )
    second_layer: str = field(default="float", metadata=_later("float"))
    output: int = field(default=0, metadata=_PROBLEM | _later(0))
    outputs: int = field(default=1, metadata=_PROBLEM | _later(1))

    @cached_property
    def id(self) -> str:
        """Id of the path, from everything in it but the data set's name."""
        content = self._axes()
        for name in ("dataset", "n", "d"):
            del content[name]
        return digest_of(["path", content])

    def problem_id(self, beta: float) -> str:
        """Id of the SDP at one β as written: its certificate's name."""
        return digest_of(["problem", self._problem, beta])

    def trial_id(self, trial: Trial) -> str:
        """Id of one network; an arm's depends on the time that it is given as well."""
        *axes, seconds = trial
        own: list[Any] = [seconds] if trial.rounding in self.baselines else []
        if self.second_layer != "float" and trial.rounding not in self.baselines:
            own = [self.second_layer]
        return digest_of(["trial", self._problem, *axes, *own])

    @property
    def budgets(self) -> tuple[float | None, ...]:
        """The wall times that each quantized arm is given, one after the other; None: ours."""
        given = self.baseline_seconds
        return given if isinstance(given, tuple) else (given,)

    def arm_trials(self, beta: float) -> Iterator[Trial]:
        """The trials of the arms at one β; those without a β of their own come with the first."""
        for arm in self.baselines:
            if arm in REFERENCES:
                if beta == self.betas[0]:
                    yield Trial(None, self.seeds[0], None, arm, self.budgets[0])
            elif arm in CEILINGS:
                yield Trial(beta, self.seeds[0], None, arm, self.budgets[-1])
            else:
                for width, seed in product(self.widths, self.seeds):
                    for seconds in self.budgets:
                        yield Trial(beta, seed, width, arm, seconds)

    def own_trials(self, beta: float) -> Iterator[Trial]:
        """The trials of our own networks at one β."""
        for rounding, width, seed in product(self.roundings, self.widths, self.seeds):
            yield Trial(beta, seed, width, rounding)

    def trials(self) -> Iterator[Trial]:
        """Every trial of the path: our networks and those of the arms."""
        for beta in self.betas:
            yield from self.own_trials(beta)
            yield from self.arm_trials(beta)

    @property
    def own_networks(self) -> int:
        """Number of our own networks."""
        return len(self.betas) * len(self.roundings) * len(self.widths) * len(self.seeds)

    @property
    def networks(self) -> int:
        """Number of networks of all arms, which is that of trials."""
        return self.own_networks + sum(len(list(self.arm_trials(beta))) for beta in self.betas)

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
        self, beta: float, width: int, rounding: str, seeds: Sequence[int] | None = None
    ) -> Self:
        """The path at a single β, width and rounding, without arms: what a final refit needs."""
        chosen = self.seeds if seeds is None else tuple(sorted(seeds))
        single = replace(self, betas=(beta,), widths=(width,), roundings=(rounding,), seeds=chosen)
        return replace(single, baselines=(), baseline_seconds=None)

    def title(self, kind: str = "") -> str:
        """The path in a few words, for lists of tasks; `kind`: its kind's, where those differ."""
        output = f", output {self.output}" if self.outputs > 1 else ""
        kind = f", {kind}" if kind else ""
        return f"{self.dataset} {self.shard}{kind}{output}: {len(self.betas)} betas"

    @property
    def kind(self) -> Kind:
        """The kind of problem."""
        return Kind(self.loss, self.loss_parameter, self.polynomial, self.alphabet)

    @property
    def second_layer_bits(self) -> str | int:
        """The second layer as the library takes it: bits are a number."""
        return int(self.second_layer) if self.second_layer.isdecimal() else self.second_layer

    def describe_problem(self) -> str:
        """Loss, activation, weights and second layer in words."""
        words = self.kind.describe()
        if self.second_layer == "float":
            return words
        return f"{words}, second layer {self.second_layer}"

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the path on one core."""
        width = sum(self.widths) / len(self.widths)
        ours = len(self.betas) * self.relaxed.seconds
        ours += estimate_rounding(self.n, self.d, self.own_networks, width)
        ours += len(self.betas) * estimate_raising(
            self.n, self.d, self.certify, self.certify_time_limit
        )
        arms = [trial for beta in self.betas for trial in self.arm_trials(beta)]
        return ours + sum(trial.seconds or ours / self.own_networks for trial in arms)

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory of one solve of the path."""
        return self.relaxed.bytes

    @property
    def relaxed(self) -> Relaxed:
        """The relaxation that is solved at each β, as its solver is asked about it."""
        named = self.polynomial
        return Relaxed(
            n=self.n,
            d=self.d,
            loss=get_loss(self.loss, self.loss_parameter),
            activation=get_activation("bilinear") if named is None else Polynomial(*named),
            bits=len(get_alphabet(self.alphabet).scales),
            solver=self.solver,
            tol=self.tol,
        )

    @property
    def _problem(self) -> dict[str, Any]:
        # The name is in it because two shards with equal rows must not share the files of a trial.
        return {"shard": self.shard, **self._axes(only="problem")}

    def _axes(self, only: str | None = None) -> dict[str, Any]:
        """All axes, or those marked; without younger ones that are as they were: ids stay."""
        return {
            axis.name: getattr(self, axis.name)
            for axis in fields(self)
            if (only is None or axis.metadata.get(only, False))
            and not (_LATER in axis.metadata and axis.metadata[_LATER] == getattr(self, axis.name))
        }


@dataclass(frozen=True)
class JoinSpec:
    """What makes one network of each of a shard's outputs: its paths, in the outputs' order.

    `labels` name the outputs in messages, and each is of a `kind`; `references` are the arms that
    take all classes at once. Needs the results of all its paths.
    """

    paths: tuple[PathSpec, ...]
    labels: tuple[str, ...]
    references: tuple[str, ...] = ()
    kind: Literal["class", "target"] = "class"

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
    def betas(self) -> tuple[float, ...]:
        """β as the paths have it."""
        return self.first.betas

    def trial_id(self, trial: Trial) -> str:
        """Id of one joined network, from those of its parts."""
        return digest_of(["joined", [path.trial_id(trial) for path in self.paths]])

    def joined_trials(self, beta: float) -> Iterator[Trial]:
        """The trials at one β that have a part in each output."""
        yield from self.first.own_trials(beta)
        yield from self.first.arm_trials(beta)

    def reference_trials(self, beta: float) -> Iterator[Trial]:
        """Those of the references: they have no β of their own and come with the first."""
        if beta == self.betas[0]:
            for arm in self.references:
                yield Trial(None, self.first.seeds[0], None, arm)

    def trials(self) -> Iterator[Trial]:
        """Every trial of the join."""
        for beta in self.betas:
            yield from self.joined_trials(beta)
            yield from self.reference_trials(beta)

    @property
    def networks(self) -> int:
        """Number of trials."""
        return self.first.networks + len(self.references)

    def narrowed(self, beta: float, width: int, rounding: str) -> Self:
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
        arms = len(self.references) * (first.budgets[-1] or 0.0)
        return arms + estimate_join_seconds(first.n, first.d, outputs, first.networks, width)

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory of the join."""
        first, outputs = self.first, len(self.paths)
        return estimate_join_bytes(first.n, first.d, outputs, outputs * max(first.widths))


Spec = PathSpec | JoinSpec


def digest_of(content: Any, length: int = ID_LENGTH) -> str:
    """The first digits of the SHA-256 of plain values as JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
