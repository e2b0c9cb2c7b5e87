"""What a sweep will do: all its paths, and the joins of their outputs where there are several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal

import numpy as np

from pipeline.configuration.kinds import Kind, arms_of
from pipeline.configuration.metric import METRICS
from pipeline.configuration.settings import SweepConfig
from pipeline.datasets.recognized import refuse_giants
from pipeline.datasets.shards import (
    Shard,
    Split,
    common_class,
    lacking_classes,
    make_layout,
    make_split,
    row_numbers_digest,
)
from pipeline.datasets.sources import MAX_CLASSES, Table, as_numbers, load_table
from pipeline.plans.description import description, duration, rough_time
from pipeline.plans.ids import digest_of
from pipeline.plans.units import JoinSpec, PathSpec, Spec
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.class_weights import class_weights
from qnn.features.preprocessing import FeatureLayout
from qnn.features.targets import ONE_VS_ONE, ONE_VS_REST, Label, TargetCoding
from qnn.training.arms import QUANTIZED, REFERENCES, WIDTHLESS
from qnn.training.problems.levels import Facts, check_level
from qnn.training.relaxation import learned


@dataclass(frozen=True)
class Plan:
    """All paths of a sweep, in the order of its shards; with several outputs a join a shard."""

    name: str
    dataset: str
    rows: int
    test_rows: int
    paths: tuple[PathSpec, ...]
    warnings: tuple[str, ...] = ()
    joins: tuple[JoinSpec, ...] = ()
    classes: str = ""
    chosen_by: str = ""
    max_bytes: int | None = None
    noise: str = ""

    @property
    def units(self) -> tuple[Spec, ...]:
        """What makes the sweep's whole networks: the joins, or the paths of single outputs."""
        return self.joins or self.paths

    @property
    def trials(self) -> int:
        """Number of networks of the sweep; one of several outputs counts once."""
        return sum(unit.networks for unit in self.units)

    @property
    def problems(self) -> int:
        """Number of SDPs of the sweep."""
        return sum(len(path.betas) for path in self.paths)

    @property
    def estimated_seconds(self) -> float:
        """Rough time of the sweep on one core, without Ray's own start."""
        paths = sum(path.estimated_seconds for path in self.paths)
        return paths + sum(join.estimated_seconds for join in self.joins)

    def describe(self) -> str:
        """Plain text: the axes with their counts, trials, SDPs, and the estimated work."""
        first = self.paths[0]
        sizes = [path.n for path in self.paths]
        shards = list(dict.fromkeys(unit.shard for unit in self.units))
        rows = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)}-{max(sizes)}"
        kind = "β / beta_max" if first.betas[0].form == "fractions" else "β"
        memory = max(path.estimated_bytes for path in self.paths)
        axes = [
            ("shards", len(shards), _listed(shards)),
            *self._kind_axes(),
            (kind, len(first.betas), _listed([f"{beta.written:g}" for beta in first.betas])),
            ("seeds", len(first.seeds), _listed(first.seeds)),
            ("widths", len(first.widths), _listed(first.widths)),
            ("rounding", len(first.roundings), _listed(first.roundings)),
        ]
        arms = self._arms()
        networks = f"{self.trials} networks"
        if self.joins:
            labels, word = self.joins[0].labels, self.joins[0].output_word
            axes.insert(0, ("outputs", len(labels), f"one a {word}: {_listed(labels)}"))
            networks += f" of {len(labels)} outputs"
        if arms:
            axes.append(("baselines", len(arms), _listed(arms)))
        facts = [
            (
                "trials",
                f"{networks} from {self.problems} SDPs, {len(self.paths)} paths",
            ),
            ("problem", self._problem()),
            (
                "size",
                f"n = {rows} training rows, d = {first.d}; {self.test_rows} rows for the test",
            ),
            *([("noise", self.noise)] if self.noise else []),
            ("solver", f"{first.solver}, tol {first.tol:g}, about {_size(memory)} a task"),
            ("certify", _certify_words(first)),
            *_pruning_words(first),
            *([("classes", self.classes)] if self.classes else []),
            ("chosen by", self.chosen_by),
            ("work", f"{rough_time(self.estimated_seconds)} of one core (rough)"),
        ]
        if self.max_bytes is not None:
            facts.append(
                ("max_bytes", f"{self.max_bytes}, each width of which fits at its largest")
            )
        facts += [("note", warning) for warning in self.warnings]
        return description(f"sweep {self.name}: {self.dataset}, {self.rows} rows", axes, facts)

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of problem."""
        return tuple(dict.fromkeys(path.kind for path in self.paths))

    def _kind_axes(self) -> Iterator[tuple[str, int, str]]:
        """What kinds of problem differ in."""
        columns = zip(*(kind.words for kind in self.kinds), strict=True)
        for name, words in zip(("loss", "activation", "alphabet"), columns, strict=True):
            distinct = list(dict.fromkeys(words))
            if len(distinct) > 1:
                yield name, len(distinct), _listed(distinct)

    def _arms(self) -> list[str]:
        """The arms, each with the number of kinds that it is run on where those are not all."""
        taken: dict[str, dict[Kind, None]] = {}
        for unit in self.units:
            for arm in (*unit.first.baselines, *unit.references):
                taken.setdefault(arm, {})[unit.first.kind] = None
        every = len(self.kinds)
        return [
            arm
            if arm in REFERENCES or len(kinds) == every
            else f"{arm} ({len(kinds)} of {every} kinds)"
            for arm, kinds in sorted(taken.items())
        ]

    def _problem(self) -> str:
        if len(self.kinds) == 1:
            return self.paths[0].describe_problem()
        words = f"{len(self.kinds)} kinds: each loss, activation and alphabet with each other"
        return words + self.paths[0].describe_shared()


def plan_of(config: SweepConfig) -> Plan:
    """Read the data and plan. Raises `InputError` where data and config do not fit together."""
    table = load_table(config)
    split = make_split(table, config)
    return make_plan(config, table, split, make_layout(table, config, split))


def make_plan(config: SweepConfig, table: Table, split: Split, layout: FeatureLayout) -> Plan:
    """One path for each shard, kind of problem and output, and joins where outputs are several.

    Raises InputError as `make_unit`.
    """
    refuse_giants(config, table.columns, split.development_rows)
    if config.max_bytes is not None:
        _refuse_wide(config, config.max_bytes, table, split, layout)
    units = [
        make_unit(config, table, split, layout, shard, kind)
        for shard, kind in product(split.shards, config.kinds)
    ]
    return Plan(
        name=config.name,
        dataset=table.name,
        rows=table.n,
        test_rows=len(split.test_rows),
        paths=tuple(path for unit in units for path in unit.paths),
        warnings=(
            *table.notes,
            *layout.warnings,
            *lacking_classes(table, split),
            *common_class(table, config),
        ),
        classes=_class_words(table),
        chosen_by=_choosing_words(config),
        joins=tuple(unit for unit in units if isinstance(unit, JoinSpec)),
        max_bytes=config.max_bytes,
        noise=_noise_words(config, table),
    )


def _refuse_wide(
    config: SweepConfig, most: int, table: Table, split: Split, layout: FeatureLayout
) -> None:
    """Raise InputError where a network of one of the widths can take more than `most` bytes.

    Told with the encoding of all rows but the test's: that of the network that is kept.
    """
    # Heavy: only a plan with a limit imports it.
    from qnn.training.selection.sizes import whole_bytes, widest_within

    rows = split.development_rows
    fitted = layout.fit(table.take(rows), table.target[rows], table.classes, table.targets)
    for kind in config.kinds:
        parts = (fitted.coded(config.multi_class), kind.get_activation(), kind.alphabet)
        width, own = max(config.widths), (*parts, config.second_layer)
        taken = whole_bytes(width, *own)
        if taken > most:
            fits = widest_within(most, width, *own)
            told = f"at most {fits} neurons fit" if fits else "not even one neuron fits"
            raise InputError(
                f"max_bytes: a network of width {width} can take {taken} bytes with the numbers of "
                f"its encoding, more than {most}: {told}"
            )


def make_unit(
    config: SweepConfig,
    table: Table,
    split: Split,
    layout: FeatureLayout,
    shard: Shard,
    kind: Kind,
) -> Spec:
    """The path of a shard, or the join of one path for each of several classes or targets.

    Raises InputError as `make_path`, and where an arm or a second layer takes one output alone.
    """
    path = make_path(config, table, split, layout, shard, kind)
    outputs = _outputs(table, config)
    count = len(outputs)
    if not count:
        return path
    for arm in config.baselines:
        if arm in WIDTHLESS:
            several = f"the target '{config.data.targets[0]}' has {count} classes"
            if table.targets is not None:
                several = f"data.target lists {count} columns"
            raise InputError(f"baseline {arm} takes one output, but {several}: remove it")
    if path.pruned_to is not None:
        raise InputError(f"bounds: learned takes one output, but the target has {count}: remove it")
    arms = tuple(arm for arm in path.baselines if arm in QUANTIZED)
    paths = tuple(
        replace(path, output=output, outputs=count, baselines=arms) for output in range(count)
    )
    references = tuple(arm for arm in path.baselines if arm in REFERENCES)
    labels = tuple(map(tables.brief, outputs))
    return JoinSpec(paths, labels, references, _word(path, table))


def _named_gaps(table: Table, layout: FeatureLayout) -> list[str]:
    """The columns whose missing values are imputed with the category that says "missing"."""
    return [
        column.name
        for column in layout.kept
        if column.fill(layout.missing, None) is not None
        and any(value is None for value in table.columns[column.name])
    ]


def _outputs(table: Table, config: SweepConfig) -> tuple[Label, ...]:
    """What outputs stand for: targets, classes, or pairs of them; () where there is one."""
    if config.multi_class == ONE_VS_REST or len(table.outputs) < 3:
        return table.outputs
    pairs = TargetCoding(classes=table.outputs, pairs=True).outputs
    if len(pairs) > MAX_CLASSES:
        raise InputError(
            f"multi_class one_vs_one makes {len(pairs)} outputs of {len(table.outputs)} classes, "
            f"at most {MAX_CLASSES} can be: use one_vs_rest"
        )
    return pairs


def _word(path: PathSpec, table: Table) -> Literal["class", "target", "pair"]:
    if path.multi_class == ONE_VS_ONE:
        return "pair"
    return "class" if table.targets is None else "target"


def make_path(
    config: SweepConfig,
    table: Table,
    split: Split,
    layout: FeatureLayout,
    shard: Shard,
    kind: Kind,
) -> PathSpec:
    """The path of one shard and kind of problem, the shard of all rows ("all") included.

    Raises InputError where the problem is not one that the config's level of proof, or its solver,
    can take, and where its loss or the table's classes do not fit the class weights.
    """
    noise = config.noise_of_rows
    n = len(shard.train_rows) * (1 if noise is None else 1 + noise.copies)
    check_level(config.certify, Facts(n, layout.d, *kind.parts))
    rows = row_numbers_digest(shard.train_rows, shard.validation_rows, split.test_rows)
    # Ids of sweeps without it are older.
    told = [] if noise is None else [["noise", noise.deviation, noise.copies, noise.seed]]
    # And those without flags older than that these have none.
    told += [["still", *table.flags]] if noise is not None and table.flags else []
    # And those whose gaps were filled with the most frequent category, not the one that says so.
    told += [["named gaps", *gaps]] if (gaps := _named_gaps(table, layout)) else []
    path = PathSpec(
        dataset=table.name,
        shard=shard.name,
        content=digest_of(
            [table.sha256, _spelt(table.classes), layout.digest, rows, *told], length=64
        ),
        n=n,
        d=layout.d,
        kind=kind,
        betas=config.beta.points,
        seeds=tuple(sorted(config.seeds)),
        widths=tuple(sorted(config.widths)),
        roundings=tuple(sorted(config.rounding)),
        certify=config.certify,
        certify_time_limit=config.certify_time_limit,
        solver=config.relaxation.solver,
        tol=config.relaxation.tol,
        time_limit=config.relaxation.time_limit,
        baselines=arms_of(config.baselines, kind, config.kinds),
        baseline_seconds=_sorted(config.baseline_seconds),
        second_layer=str(config.second_layer),
        orthogonality=config.orthogonalities,
        pruned_to=config.pruned_to,
        class_weight=class_weights(config.class_weight, table.classes),
        multi_class=config.multi_class if len(table.outputs) > 2 else ONE_VS_REST,
        noise=noise,
    )
    if path.class_weight is not None:
        kind.get_loss().weighted(np.ones(n))  # Not every loss can be.
    if path.pruned_to is not None:
        unbounded = learned.refusal(path.relaxed, path.relaxed.size)
        if unbounded is not None:
            raise InputError(f"bounds: learned does not fit: {unbounded}")
    refusal = path.relaxed.refusal
    if refusal is not None:
        raise InputError(f"solver {path.solver!r} cannot take {kind.describe()}: {refusal}")
    return path


def _class_words(table: Table) -> str:
    """The classes with their rows; of two the positive one is named."""
    classes = table.classes or ()
    counts = [f"{tables.brief(label)} {int(np.sum(table.target == label))}" for label in classes]
    positive = f", positive is {tables.brief(classes[1])}" if len(classes) == 2 else ""
    return f"rows of {_listed(counts)}{positive}" if classes else ""


def _noise_words(config: SweepConfig, table: Table) -> str:
    """What noise the training rows have, and in which columns none; empty where they have none.

    Raises InputError for numbers that are too large for it.
    """
    if config.noise_of_rows is None:
        return ""
    config.noise_of_rows.check(table.columns, table.flags)
    still = tables.shorten(map(repr, table.flags))
    words = config.noise_of_rows.describe
    return f"{words}; none in {still}, which have only 0 and 1" if still else words


def _choosing_words(config: SweepConfig) -> str:
    """By which metric the best setting is chosen, and why where no key says so."""
    words = f"mean validation {METRICS[config.chosen_by].label}"
    if config.metric is None and config.class_weight is not None:
        return f"{words}, for class_weight is set (metric names another)"
    return words


def _spelt(classes: tuple[Label, ...] | None) -> tuple[Label, ...] | None:
    """Classes as ids have them: true and false as 1 and 0."""
    return None if classes is None else tuple(as_numbers(np.array(classes, dtype=object)).tolist())


def _certify_words(path: PathSpec) -> str:
    limit = path.certify_limit
    if limit is None:
        return path.certify
    words = f"{path.certify}, within {duration(limit)} for each SDP"
    given = path.certify_time_limit is not None
    return words if given else f"{words} (default; certify_time_limit changes it)"


def _pruning_words(path: PathSpec) -> Iterator[tuple[str, str]]:
    if path.pruned_to is not None:
        words = f"no SDP where a learned bound proves the last networks within {path.pruned_to:g}"
        yield "bounds", words


def _listed(values: Sequence[Any], limit: int = 6) -> str:
    shown = [str(value) for value in values]
    if len(shown) > limit:
        shown = [*shown[: limit - 2], "…", shown[-1]]
    return ", ".join(shown)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _sorted(seconds: float | tuple[float, ...] | None) -> float | tuple[float, ...] | None:
    """Several budgets from small to large; a single one as the number, however it is written."""
    if not isinstance(seconds, tuple):
        return seconds
    return seconds[0] if len(seconds) == 1 else tuple(sorted(seconds))
