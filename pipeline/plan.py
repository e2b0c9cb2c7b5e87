"""What a sweep will do, path by path, with ids that follow from content alone.

A path is one shard's β from large to small, with all its roundings, widths and seeds: the unit of
work and of resume. Ids do not depend on the order in which axes are written, on where the data lie,
or on the machine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from pipeline.estimates import estimate_bytes, estimate_raising, estimate_seconds
from pipeline.settings import SweepConfig
from pipeline.shards import Shard, Split, make_layout, make_split, rows_digest
from pipeline.sources import Table, load_table
from qnn.baselines import CEILINGS, REFERENCES
from qnn.levels import check_level
from qnn.preprocessing import FeatureLayout

ID_LENGTH = 16
# (β as written, seed, width, rounding or arm); None where an arm has no such axis.
Trial = tuple[float | None, int, int | None, str]

_PROBLEM = (
    "content",
    "beta_kind",
    "loss",
    "loss_parameter",
    "activation",
    "polynomial",
    "alphabet",
    "certify",
    "certify_time_limit",
    "solver",
    "tol",
    "time_limit",
)
# Settings younger than the first results, with the value that those were computed with.
_LATER: dict[str, Any] = {
    "certify_time_limit": None,
    "baselines": (),
    "baseline_seconds": None,
    "loss_parameter": None,
    "polynomial": None,
    "second_layer": "float",
}


@dataclass(frozen=True)
class PathSpec:
    """A path: all its axes, sorted, and the digest of the data that it works on.

    `content` is the SHA-256 over table, classes, layout and the rows of shard and test. `betas` are
    values or fractions of the shard's beta_max (`beta_kind`), from large to small. `n` and `d` are
    the size of the training matrix.
    """

    dataset: str
    shard: str
    content: str
    n: int
    d: int
    betas: tuple[float, ...]
    beta_kind: Literal["fractions", "values"]
    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    roundings: tuple[str, ...]
    loss: str
    activation: str
    alphabet: str
    certify: str
    certify_time_limit: float | None
    solver: str
    tol: float
    time_limit: float | None
    baselines: tuple[str, ...] = ()
    baseline_seconds: float | None = None
    loss_parameter: float | None = None
    polynomial: tuple[float, float, float] | None = None
    second_layer: str = "float"

    @cached_property
    def id(self) -> str:
        """Id of the path, from everything in it but the data set's name."""
        content = asdict(self)
        for name in ("dataset", "n", "d"):
            del content[name]
        return _digest(["path", _without_defaults(content)])

    def problem_id(self, beta: float) -> str:
        """Id of the SDP at one β as written: its certificate's name."""
        return _digest(["problem", self._problem, beta])

    def trial_id(self, beta: float | None, seed: int, width: int | None, rounding: str) -> str:
        """Id of one network; an arm's depends on the time that it is given as well."""
        own: list[Any] = [self.baseline_seconds] if rounding in self.baselines else []
        if self.second_layer != "float" and rounding not in self.baselines:
            own = [self.second_layer]
        return _digest(["trial", self._problem, beta, seed, width, rounding, *own])

    def arm_trials(self, beta: float) -> Iterator[Trial]:
        """The trials of the arms at one β; those without a β of their own come with the first."""
        for arm in self.baselines:
            if arm in REFERENCES:
                if beta == self.betas[0]:
                    yield None, self.seeds[0], None, arm
            elif arm in CEILINGS:
                yield beta, self.seeds[0], None, arm
            else:
                for width in self.widths:
                    for seed in self.seeds:
                        yield beta, seed, width, arm

    def own_trials(self, beta: float) -> Iterator[tuple[float, int, int, str]]:
        """The trials of our own networks at one β."""
        for rounding in self.roundings:
            for width in self.widths:
                for seed in self.seeds:
                    yield beta, seed, width, rounding

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
    def identity(self) -> dict[str, Any]:
        """The columns of a row that say which problem and which kind of network it is."""
        polynomial = None
        if self.polynomial is not None:
            polynomial = ", ".join(f"{value:.17g}" for value in self.polynomial)
        names = ("loss", "loss_parameter", "activation", "alphabet", "second_layer")
        return {**{name: getattr(self, name) for name in names}, "polynomial": polynomial}

    @property
    def second_layer_bits(self) -> str | int:
        """The second layer as the library takes it: bits are a number."""
        return int(self.second_layer) if self.second_layer.isdecimal() else self.second_layer

    def describe_problem(self) -> str:
        """Loss, activation, weights and second layer in words."""
        loss, activation = self.loss, self.activation
        if self.loss_parameter is not None:
            loss = f"{loss} ({self.loss_parameter:g})"
        if self.polynomial is not None:
            activation = "polynomial ({:g}, {:g}, {:g})".format(*self.polynomial)
        bits = " bit" if self.alphabet.isdecimal() else ""
        words = f"{loss} loss, {activation}, {self.alphabet}{bits} weights"
        if self.second_layer == "float":
            return words
        return f"{words}, second layer {self.second_layer}"

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the path on one core."""
        width = sum(self.widths) / len(self.widths)
        ours = estimate_seconds(
            self.n, self.d, len(self.betas), self.own_networks, width, self.solver
        )
        ours += len(self.betas) * estimate_raising(
            self.n, self.d, self.certify, self.certify_time_limit
        )
        arms = self.networks - self.own_networks
        return ours + arms * (self.baseline_seconds or ours / self.own_networks)

    @property
    def estimated_bytes(self) -> float:
        """Rough peak memory of one solve of the path."""
        return estimate_bytes(self.n, self.d, self.solver)

    @property
    def _problem(self) -> dict[str, Any]:
        # The name is in it because two shards with equal rows must not share the files of a trial.
        named = {name: getattr(self, name) for name in _PROBLEM}
        return {"shard": self.shard, **_without_defaults(named)}


@dataclass(frozen=True)
class Plan:
    """All paths of a sweep, in the order of its shards."""

    name: str
    dataset: str
    rows: int
    test_rows: int
    paths: tuple[PathSpec, ...]
    warnings: tuple[str, ...] = ()

    @property
    def trials(self) -> int:
        """Number of networks of the sweep."""
        return sum(path.networks for path in self.paths)

    @property
    def problems(self) -> int:
        """Number of SDPs of the sweep."""
        return sum(len(path.betas) for path in self.paths)

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the sweep on one core, without Ray's own start."""
        return sum(path.estimated_seconds for path in self.paths)

    def describe(self) -> str:
        """Plain text: the axes with their counts, trials, SDPs, and the estimated work."""
        first = self.paths[0]
        sizes = [path.n for path in self.paths]
        rows = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)}-{max(sizes)}"
        kind = "β / beta_max" if first.beta_kind == "fractions" else "β"
        memory = max(path.estimated_bytes for path in self.paths)
        axes = [
            ("shards", len(self.paths), _listed([path.shard for path in self.paths])),
            (kind, len(first.betas), _listed([f"{beta:g}" for beta in first.betas])),
            ("seeds", len(first.seeds), _listed(first.seeds)),
            ("widths", len(first.widths), _listed(first.widths)),
            ("rounding", len(first.roundings), _listed(first.roundings)),
        ]
        if first.baselines:
            axes.append(("baselines", len(first.baselines), _listed(first.baselines)))
        facts = [
            (
                "trials",
                f"{self.trials} networks from {self.problems} SDPs, {len(self.paths)} paths",
            ),
            ("problem", first.describe_problem()),
            (
                "size",
                f"n = {rows} training rows, d = {first.d}; {self.test_rows} rows for the test",
            ),
            ("solver", f"{first.solver}, tol {first.tol:g}, about {_size(memory)} a task"),
            ("certify", _certify_words(first)),
            ("work", f"about {_duration(self.estimated_seconds)} of one core (rough)"),
        ]
        lines = [f"sweep {self.name}: {self.dataset}, {self.rows} rows", ""]
        lines += [f"  {name:<13}{count:>6}   {shown}" for name, count, shown in axes]
        lines += ["", *(f"  {name:<13}{text}" for name, text in facts)]
        lines += [f"  {'note':<13}{warning}" for warning in self.warnings]
        return "\n".join(lines)


def plan_of(config: SweepConfig) -> Plan:
    """Read the data and plan. Raises `InputError` where data and config do not fit together."""
    table = load_table(config)
    split = make_split(table, config)
    return make_plan(config, table, split, make_layout(table, config, split))


def make_plan(config: SweepConfig, table: Table, split: Split, layout: FeatureLayout) -> Plan:
    """One path for each shard."""
    return Plan(
        name=config.name,
        dataset=table.name,
        rows=table.n,
        test_rows=len(split.test_rows),
        paths=tuple(make_path(config, table, split, layout, shard) for shard in split.shards),
        warnings=layout.warnings,
    )


def make_path(
    config: SweepConfig, table: Table, split: Split, layout: FeatureLayout, shard: Shard
) -> PathSpec:
    """The path of one shard, the final one on all rows (`split.shard("all")`) included.

    Raises InputError where the problem is not one that the config's level of proof can take.
    """
    n = len(shard.train_rows)
    check_level(
        config.certify, n, layout.d, config.loss, config.activation_name, str(config.alphabet)
    )
    rows = rows_digest(shard.train_rows, shard.validation_rows, split.test_rows)
    return PathSpec(
        dataset=table.name,
        shard=shard.name,
        content=_digest([table.sha256, table.classes, layout.digest, rows], length=64),
        n=n,
        d=layout.d,
        betas=config.beta.points,
        beta_kind=config.beta.kind,
        seeds=tuple(sorted(config.seeds)),
        widths=tuple(sorted(config.widths)),
        roundings=tuple(sorted(config.rounding)),
        loss=config.loss,
        activation=config.activation_name,
        alphabet=str(config.alphabet),
        certify=config.certify,
        certify_time_limit=config.certify_time_limit,
        solver=config.relaxation.solver,
        tol=config.relaxation.tol,
        time_limit=config.relaxation.time_limit,
        baselines=tuple(sorted(config.baselines)),
        baseline_seconds=config.baseline_seconds,
        loss_parameter=config.loss_parameter,
        polynomial=config.polynomial,
        second_layer=str(config.second_layer),
    )


def narrow(
    path: PathSpec, beta: float, width: int, rounding: str, seeds: Sequence[int] | None = None
) -> PathSpec:
    """The path at a single β, width and rounding, without arms: what a final refit needs."""
    chosen = path.seeds if seeds is None else tuple(sorted(seeds))
    single = replace(path, betas=(beta,), widths=(width,), roundings=(rounding,), seeds=chosen)
    return replace(single, baselines=(), baseline_seconds=None)


def _without_defaults(content: dict[str, Any]) -> dict[str, Any]:
    """Without what came later and is not used: ids of earlier results stay as they are."""
    return {
        key: value for key, value in content.items() if key not in _LATER or value != _LATER[key]
    }


def _digest(content: Any, length: int = ID_LENGTH) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _certify_words(path: PathSpec) -> str:
    limit = path.certify_time_limit
    return path.certify + ("" if limit is None else f", within {_duration(limit)} for each SDP")


def _listed(values: Sequence[Any], limit: int = 6) -> str:
    shown = [str(value) for value in values]
    if len(shown) > limit:
        shown = [*shown[: limit - 2], "…", shown[-1]]
    return ", ".join(shown)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
