"""Which rows a shard trains and validates on, and those rows as a solver sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from pipeline.configuration.metric import COMMON
from pipeline.configuration.settings import ByColumn, KFold, Parts, SweepConfig, Task
from pipeline.datasets.sources import Table
from pipeline.datasets.spellings import is_number
from pipeline.datasets.splitting import deal, hold_out
from qnn.errors import InputError
from qnn.features import tables
from qnn.features.noise import Noise
from qnn.features.preprocessing import FeatureLayout, Preprocessing
from qnn.features.targets import ONE_VS_REST, Label

ALL = "all"
_LONGEST_NAME = 80


@dataclass(frozen=True, eq=False)
class Shard:
    """The rows of one shard, as sorted numbers of the table's rows."""

    dataset: str
    name: str
    train_rows: np.ndarray
    validation_rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Split:
    """How a table's rows are used: held out for the test, or dealt to the shards."""

    dataset: str
    test_rows: np.ndarray
    development_rows: np.ndarray
    shards: tuple[Shard, ...]

    def shard(self, name: str) -> Shard:
        """The shard of this name; "all" trains on every row but the test's.

        Raises:
            InputError: there is no such shard.
        """
        if name == ALL:
            return Shard(self.dataset, ALL, self.development_rows, np.array([], dtype=np.int64))
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise InputError(f"no shard is called {name!r}")


@dataclass(frozen=True, eq=False)
class ShardData:
    """A shard as the solver sees it, with its rows for validation and test.

    `X` (n, d) and `y` (n,) are preprocessed training rows, `y` (n, C) for C outputs;
    `X_validation` and `X_test` went through the same preprocessing. The targets `train_target`,
    `validation_target` and `test_target` are the raw labels or numbers that metrics compare with.
    `whole`: the shard with all outputs where this is one of them.
    """

    dataset: str
    name: str
    task: Task
    X: np.ndarray
    y: np.ndarray
    preprocessing: Preprocessing
    train_target: np.ndarray
    X_validation: np.ndarray
    validation_target: np.ndarray
    X_test: np.ndarray
    test_target: np.ndarray
    whole: ShardData | None = None

    @property
    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """X (n, d) and the targets, (n,) or (n, C), of the shard's data file."""
        shard = self if self.whole is None else self.whole
        return shard.X, shard.y

    def output(self, index: int) -> ShardData:
        """One of several outputs: a target, or a class (label True) against the rest (False).

        Of a pair of classes: their rows alone, of all parts.
        """
        coding = self.preprocessing.target
        if coding.pairs:
            return self._pair(index)

        def part(target: np.ndarray) -> np.ndarray:
            if coding.classes is None:
                return np.ascontiguousarray(target[:, index])
            return _is(target, coding.classes[index])

        return replace(
            self,
            y=np.ascontiguousarray(self.y[:, index]),
            whole=self,
            preprocessing=replace(self.preprocessing, target=coding.output(index)),
            train_target=part(self.train_target),
            validation_target=part(self.validation_target),
            test_target=part(self.test_target),
        )

    def in_output(self, index: int, target: np.ndarray) -> np.ndarray:
        """Which rows of a part, by their raw targets, have a part in an output: bool (n,)."""
        coding = self.preprocessing.target
        if not coding.pairs:
            return np.ones(len(target), dtype=bool)
        first, second = coding.output(index).classes or ()
        return _is(target, first) | _is(target, second)

    def _pair(self, index: int) -> ShardData:
        pair = self.preprocessing.target.output(index)
        train, validation, test = (self.in_output(index, part) for _, _, part in self.parts())
        return replace(
            self,
            X=self.X[train],
            y=np.ascontiguousarray(self.y[train, index]),
            whole=self,
            preprocessing=replace(self.preprocessing, target=pair),
            train_target=self.train_target[train],
            X_validation=self.X_validation[validation],
            validation_target=self.validation_target[validation],
            X_test=self.X_test[test],
            test_target=self.test_target[test],
        )

    def parts(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """("train" | "validation" | "test", matrix, raw targets); a part may have no rows."""
        yield "train", self.X, self.train_target
        yield "validation", self.X_validation, self.validation_target
        yield "test", self.X_test, self.test_target

    @cached_property
    def known(self) -> dict[str, np.ndarray]:
        """What metrics compare with, of each part: the numbers of the classes, or the targets."""
        coding = self.preprocessing.target
        targets = {part: target for part, _, target in self.parts()}
        if coding.classes is None:
            return targets
        return {part: coding.codes(target) for part, target in targets.items()}


def make_split(table: Table, config: SweepConfig) -> Split:
    """Hold out the test rows and deal the others to shards, stratified by class.

    Raises:
        InputError: too few rows for the hold-out, folds or parts, or a training part without one
            of the classes.
    """
    rows = np.arange(table.n, dtype=np.int64)
    strata = _strata(table)
    if table.held_out is not None:
        development, test = rows[~table.held_out], rows[table.held_out]
        if len(development) < 2:
            raise InputError(
                f"test.column: leaves {len(development)} of {table.n} rows to train on; "
                "bring more rows"
            )
    else:
        development, test = hold_out(rows, strata, config.test.fraction, config.test.seed)
    if len(development) < 2:
        raise InputError(
            f"test.fraction: {config.test.fraction:g} of {table.n} rows leaves {len(development)} "
            "to train on; lower it or bring more rows"
        )
    shards = tuple(_shards(table, strata, development, config))
    split = Split(table.name, test, development, shards)
    for shard in (*shards, split.shard(ALL)):
        _refuse_thin(shard, table)
    return split


def make_layout(table: Table, config: SweepConfig, split: Split) -> FeatureLayout:
    """The feature layout, frozen over every row that is not held out for the test.

    Raises:
        InputError: as `FeatureLayout.from_table`.
    """
    categorical = [name for name, column in table.columns.items() if column.dtype == object]
    return FeatureLayout.from_table(
        table.take(split.development_rows),
        categorical=categorical,
        missing=config.data.missing,
        constant_columns=config.data.constant_columns,
        bias=config.preprocessing.bias,
        scaling=config.preprocessing.scaling,
        clip=config.preprocessing.clip,
        thresholds=config.preprocessing.thresholds,
        missing_values=config.data.missing_values,
        compact=config.preprocessing.compact,
        columns=config.preprocessing.columns,
    )


def training_part(
    table: Table, shard: Shard, noise: Noise | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The raw columns and targets that a shard trains on: its training rows, and those with noise.

    The rows as they are come first.
    """
    columns, target = table.take(shard.train_rows), table.target[shard.train_rows]
    return _with_noise(table, columns, target, noise)


def _with_noise(
    table: Table, columns: dict[str, np.ndarray], target: np.ndarray, noise: Noise | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    if noise is None:
        return columns, target
    return noise.noisy(columns, table.flags), noise.repeated(target)


def shard_data(
    table: Table,
    layout: FeatureLayout,
    shard: Shard,
    split: Split,
    noise: Noise | None = None,
    multi_class: str = ONE_VS_REST,
) -> ShardData:
    """Fit the preprocessing on a shard's training rows and apply it to all that it has.

    With noise, it is fitted on the rows as they are.

    multi_class: how more than two classes become outputs, as `TargetCoding.coded` takes it.

    Raises:
        InputError: as `FeatureLayout.fit`.
    """
    plain, plain_target = training_part(table, shard)
    preprocessing = layout.fit(plain, plain_target, table.classes, table.targets)
    preprocessing = preprocessing.coded(multi_class)
    train, target = _with_noise(table, plain, plain_target, noise)
    return ShardData(
        dataset=shard.dataset,
        name=shard.name,
        task="regression" if table.classes is None else "classification",
        X=preprocessing.transform(train),
        y=preprocessing.encode_target(target),
        preprocessing=preprocessing,
        train_target=target,
        X_validation=preprocessing.transform(table.take(shard.validation_rows)),
        validation_target=table.target[shard.validation_rows],
        X_test=preprocessing.transform(table.take(split.test_rows)),
        test_target=table.target[split.test_rows],
    )


def lacking_classes(table: Table, split: Split) -> Iterator[str]:
    """A line for each class that test rows, or validation rows of shards, do not have."""
    for label in table.classes or ():
        has = table.target == label
        named = tables.brief(label)
        if len(split.test_rows) and not has[split.test_rows].any():
            yield f"the test has no row of class {named}: what it measures says nothing of it"
        bare = [one.name for one in split.shards if not has[one.validation_rows].any()]
        if bare:
            yield f"no validation row of class {named} in {tables.shorten(bare)}"


def common_class(table: Table, config: SweepConfig) -> Iterator[str]:
    """A line where one class has most rows and nothing in the config speaks of the others."""
    if config.metric is not None or config.class_weight is not None:
        return
    for label in table.classes or ():
        share = float(np.mean(table.target == label))
        if share >= COMMON:
            yield (
                f"{100 * share:.1f} % of the rows are of class {tables.brief(label)}: saying only "
                "that is as accurate, and accuracy chooses; metric: balanced_accuracy counts "
                "classes alike, class_weight: balanced trains for it"
            )


def row_numbers_digest(*parts: np.ndarray) -> str:
    """SHA-256 over lists of row numbers."""
    total = hashlib.sha256()
    for rows in parts:
        total.update(len(rows).to_bytes(8, "little") + rows.astype("<i8").tobytes())
    return total.hexdigest()


def _strata(table: Table) -> np.ndarray:
    if table.classes is None:
        return np.zeros(table.n, dtype=np.int64)
    order = {label: stratum for stratum, label in enumerate(table.classes)}
    return np.array([order[label] for label in table.target], dtype=np.int64)


def _is(target: np.ndarray, label: Label) -> np.ndarray:
    return np.array([value == label for value in target], dtype=bool)


def _shards(
    table: Table, strata: np.ndarray, rows: np.ndarray, config: SweepConfig
) -> Iterator[Shard]:
    rule = config.shards
    if isinstance(rule, KFold):
        if rule.count > len(rows):
            raise InputError(
                f"shards.count: {rule.count} folds need at least as many rows, but "
                f"{len(rows)} are left beside the test rows"
            )
        for k, fold in enumerate(deal(rows, strata[rows], rule.count, rule.seed)):
            rest = np.setdiff1d(rows, fold, assume_unique=True)
            yield Shard(table.name, f"fold-{k:02d}", rest, fold)
        return
    for k, (name, part) in enumerate(_parts(table, strata, rows, rule)):
        if len(part) < 2:
            raise InputError(
                f"shard {name} has {len(part)} row{'s' if len(part) != 1 else ''}; "
                "at least 2 are needed (one to train, one to validate)"
            )
        # A seed of its own for each part: equal parts are not to be split alike.
        train, validation = hold_out(part, strata[part], rule.validation_fraction, rule.seed + k)
        yield Shard(table.name, name, train, validation)


def _parts(
    table: Table, strata: np.ndarray, rows: np.ndarray, rule: Parts | ByColumn
) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(rule, Parts):
        for k, part in enumerate(deal(rows, strata[rows], rule.count, rule.seed)):
            yield f"part-{k:02d}", part
        return
    if table.groups is None:
        raise InputError(f"shards.column: the table was read without column '{rule.column}'")
    groups = table.groups[rows]
    for value in _in_order(set(groups)):
        yield _group_name(rule.column, value), rows[groups == value]


def _in_order(values: set[str]) -> list[str]:
    """Numbers by size, where all are numbers, else text by its characters."""
    if all(is_number(value) for value in values):
        return sorted(values, key=lambda value: (float(value), value))
    return sorted(values)


def _group_name(column: str, value: str) -> str:
    name = f"{column}={value}"
    if len(name) <= _LONGEST_NAME:
        return name
    # Names become file names, which have a longest length.
    return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _refuse_thin(shard: Shard, table: Table) -> None:
    if not len(shard.train_rows):
        raise InputError(f"shard {shard.name} has no training rows; lower validation_fraction")
    target = table.target[shard.train_rows]
    classes = table.classes or ()
    many = len(classes) > 2 and not any(isinstance(label, str) for label in classes)
    for label in table.classes or ():
        if not np.any(target == label):
            raise InputError(
                f"shard {shard.name} has no training row of class {tables.brief(label)} "
                f"({len(target)} rows); use fewer shards, or bring more rows of that class"
                + ("; set task: regression if it is a quantity" if many else "")
            )
