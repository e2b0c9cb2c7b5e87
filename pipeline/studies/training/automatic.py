"""What a sweep's YAML leaves out, where it names no `beta`: chosen, as if it were written there.

Encoder, loss, β and width come from cross-validation on the rows that are not the test's
(`qnn.training.selection`), at one seed: chosen again, they are the same. A folder that holds the
sweep already has them in its resolved config, from where they are read.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from pipeline.configuration.reading import dump_config, given_keys, load_config, parse_config
from pipeline.configuration.section import name_of
from pipeline.configuration.settings import SweepConfig
from pipeline.configuration.yaml_text import dump_yaml, parse_yaml
from pipeline.datasets.shards import make_layout, make_split
from pipeline.datasets.sources import load_table, source_name
from pipeline.plans.description import rough_time
from pipeline.plans.plan import make_unit
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.sweeps.interrupts import Interrupts
from qnn.errors import InputError
from qnn.features.class_weights import class_weights
from qnn.features.preprocessing import FeatureLayout
from qnn.features.targets import ONE_VS_REST
from qnn.networks.activations import Activation, get_activation

if TYPE_CHECKING:
    from qnn.training.selection import Kind

log = logging.getLogger(__name__)

# What is not chosen and not written either.
DEFAULTS = {
    "shards": {"kind": "kfold", "count": 3},
    "seeds": [0],
    "rounding": ["refined"],
    "second_layer": 8,
}
SCALING, COMPACT = ("preprocessing", "scaling"), ("preprocessing", "compact")
COLUMNS, BIAS = ("preprocessing", "columns"), ("preprocessing", "bias")
# Columns are left out, and the constant column is not 1, only where the encoding is chosen too.
CHOSEN = (
    SCALING,
    ("preprocessing", "thresholds"),
    COMPACT,
    COLUMNS,
    BIAS,
    ("loss",),
    ("activation",),
    ("multi_class",),
    ("beta", "fractions"),
    ("widths",),
)
# Those of them that no size of a network depends on.
SIZELESS = {("loss",), ("beta", "fractions")}
Keys = tuple[tuple[str, ...], ...]
# What the plan is made of, and a config is checked with, before there is a choice.
STAND_IN = "beta.fractions=[0.05]"
# Where it is to be chosen for classes in pairs, which take no other by themselves.
STAND_IN_LOSS = "loss=logistic"


def is_automatic(path: Path, overrides: Sequence[str]) -> bool:
    """Whether a training sweep leaves its β out, so that it is to be chosen."""
    tree = _tree(path, overrides)
    return tree is not None and "beta" not in tree


def with_defaults(path: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides, after those that stand for what needs no data."""
    tree = _tree(path, overrides) or {}
    found = [f"{key}={json.dumps(value)}" for key, value in DEFAULTS.items() if key not in tree]
    data = tree.get("data")
    source = data.get("source") if isinstance(data, dict) else None
    if "name" not in tree and isinstance(source, str):
        found.insert(0, f"name={json.dumps(_name(source))}")
    return [*found, *overrides]


def stand_in(path: Path, overrides: Sequence[str]) -> tuple[SweepConfig, Keys]:
    """The config, and the keys in it that are to be chosen, with a value that stands for theirs.

    Nothing is to be chosen where β is given. Raises InputError as `load_config` does.
    """
    if not is_automatic(path, overrides):
        return load_config(path, overrides), ()
    tree = _tree(path, overrides)
    unsettled = tuple(key for key in CHOSEN if not _is_given(tree, key))
    if SCALING not in unsettled:
        unsettled = tuple(key for key in unsettled if key not in (COLUMNS, BIAS))
    paired = ("multi_class",) not in unsettled
    loss = [STAND_IN_LOSS] if paired and ("loss",) in unsettled else []
    return load_config(path, [*with_defaults(path, overrides), STAND_IN, *loss]), unsettled


def refuse_lists(config: SweepConfig, unsettled: Keys, where: str) -> None:
    """Raise InputError where β is to be chosen for several losses, widths and their like."""
    several = len(config.kinds) > 1 or (("widths",) not in unsettled and len(config.widths) > 1)
    if unsettled and several:
        raise InputError(
            f"{where}: beta: is required where several losses, activations, alphabets or "
            "widths are listed"
        )


def text_without(config: SweepConfig, unsettled: Keys) -> str:
    """The config as YAML that leaves the keys out, so that a sweep of it chooses them."""
    tree = config.model_dump(mode="json")
    for key in unsettled:
        del _get(tree, key[:-1])[key[-1]]
    if ("beta", "fractions") in unsettled:
        del tree["beta"]
    return dump_yaml(tree)


def chosen(
    path: Path, overrides: Sequence[str], location: str | None, console: Console | None = None
) -> list[str]:
    """The overrides with what was chosen, now or for the folder at `location`.

    On a console that is a terminal one line shows how far choosing is.

    Raises:
        InputError: as `load_config` and the reading of the data do, and where nothing that could be
            chosen fits what is given.
        SweepInterrupted: SIGHUP, SIGINT or SIGTERM; the same command chooses again.
    """
    config, unsettled = stand_in(path, overrides)
    place = _place(config, location)
    with Interrupts(place):
        found = _choices(config, unsettled, place, path.name, console)
    return [*with_defaults(path, overrides), *found]


def foreseen(
    path: Path, overrides: Sequence[str], location: str | None
) -> tuple[SweepConfig, Keys, list[str]]:
    """The config to plan a sweep with, the keys still to be chosen, and what to say of them.

    A folder that has a choice is planned with it, as the sweep would go on. Raises InputError as
    `load_config` and the reading of the data do.
    """
    config, unsettled = stand_in(path, overrides)
    if not unsettled:
        return config, (), []
    place = _place(config, location)
    kept = _kept(place)
    if kept is None:
        return checkable(config, unsettled), unsettled, [announcement(config, unsettled, path.name)]
    whole = load_config(path, [*with_defaults(path, overrides), *_only(kept, unsettled)])
    note = "no beta is given: encoder, loss, beta and width are those chosen before, in"
    return whole, (), [f"{note} {RunFolder.open(place).label}"]


def checkable(config: SweepConfig, unsettled: Keys) -> SweepConfig:
    """The config without a limit on bytes where what will take them is still to be chosen.

    The choice keeps the limit, or refuses it.
    """
    if set(unsettled) <= SIZELESS:
        return config
    return config.model_copy(update={"max_bytes": None})


def _place(config: SweepConfig, location: str | None) -> str:
    return f"out/{config.name}" if location is None else location


def settled(
    config: SweepConfig, unsettled: Keys, location: str, console: Console | None = None
) -> SweepConfig:
    """The config with a value for each key that was left out, as `chosen`."""
    if not unsettled:
        return config
    found = _choices(config, unsettled, location, config.name, console)
    return parse_config(dump_config(config), config.name, found)


def _choices(
    config: SweepConfig, unsettled: Keys, location: str, where: str, console: Console | None
) -> list[str]:
    """Settings for the keys, as overrides: those of the folder, else chosen from the data."""
    kept = _kept(location)
    if kept is not None:
        log.info("encoder, loss, beta and width as chosen before: %s", ", ".join(kept))
        return _only(kept, unsettled)
    from pipeline.sweeps.progress import StepReporter
    from qnn.training.selection import choose

    refuse_lists(config, unsettled, where)
    table, target, classes, wanted = _question(config, unsettled)
    with StepReporter("choosing", console) as steps:
        found = choose(table, target, classes, wanted, config.seeds[0], steps.tell)
    written = [
        *_settings(found.kind, wanted.layout_of(found.kind, table)),
        f"beta.fractions={json.dumps([found.fraction])}",
        f"widths={json.dumps([found.width])}",
    ]
    log.info("chosen by cross-validation: %s", ", ".join(written))
    return _only(written, unsettled)


def _settings(kind: Kind, layout: FeatureLayout) -> list[str]:
    """A kind of network as overrides."""
    settings = {
        "preprocessing.scaling": kind.scaling,
        "preprocessing.thresholds": kind.thresholds,
        "preprocessing.compact": layout.compact,
        "preprocessing.columns": kind.columns,
        "preprocessing.bias": layout.bias,
        "loss": kind.loss,
        "activation": _written(kind.activation),
        "multi_class": kind.multi_class,
    }
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]


def _written(activation: str | Activation) -> Any:
    """An activation as a config has it."""
    named = get_activation(activation)
    if named.coefficients is None:
        return named.name
    return {"polynomial": dict(zip("abc", named.coefficients, strict=True))}


def announcement(config: SweepConfig, unsettled: Keys, where: str) -> str:
    """What will be chosen and what that costs, a line for the plan, of what stands for it."""
    from qnn.training.selection import estimate_seconds, refuse_where_none_fits

    refuse_lists(config, unsettled, where)
    table, target, classes, wanted = _question(config, unsettled)
    if not set(unsettled) <= SIZELESS:
        refuse_where_none_fits(table, target, classes, wanted)
    seconds = estimate_seconds(table, len(target), classes, wanted)
    limit = "" if config.max_bytes is None else f", within {config.max_bytes:,} bytes"
    words = {"encoder": SCALING, "loss": ("loss",), "beta": CHOSEN[-2], "width": CHOSEN[-1]}
    *others, last = (word for word, key in words.items() if key in unsettled)
    asked = f"{', '.join(others)} and {last}" if others else last
    return (
        f"no beta is given: {asked} will be chosen first, by "
        f"cross-validation on {len(target)} rows{limit}, in {rough_time(seconds)} of one core "
        "(rough); the plan below is that of a plain setting"
    )


def _question(config: SweepConfig, unsettled: Keys) -> tuple[Any, ...]:
    """Table, target and classes of the rows that choose, and what is fixed."""
    from qnn.training.selection import AUTO, Wanted

    table = load_table(config)
    split = make_split(table, config)
    rows = split.development_rows
    given = set(CHOSEN) - set(unsettled)
    kind = config.kinds[0]
    layout: dict[str, Any] = {
        "categorical": [n for n, column in table.columns.items() if column.dtype == object],
        "missing": config.data.missing,
        "constant_columns": config.data.constant_columns,
        "clip": config.preprocessing.clip,
    }
    if BIAS in given:
        layout["bias"] = config.preprocessing.bias
    if COMPACT in given:
        layout["compact"] = config.preprocessing.compact
    if COLUMNS in given:
        layout["columns"] = config.preprocessing.columns
    parameters = config.preprocessing
    wanted = Wanted(
        scaling=parameters.scaling if SCALING in given else AUTO,
        thresholds=parameters.thresholds if CHOSEN[1] in given else AUTO,
        loss=kind.loss if ("loss",) in given else AUTO,
        width=config.widths[0] if ("widths",) in given else AUTO,
        least_width=config.widths[0] if ("widths",) in given else 1,
        loss_parameter=kind.loss_parameter,
        activation=kind.get_activation() if ("activation",) in given else AUTO,
        multi_class=config.multi_class if ("multi_class",) in given else AUTO,
        alphabet=kind.alphabet,
        second_layer=config.second_layer,
        max_bytes=config.max_bytes,
        class_weight=class_weights(config.class_weight, table.classes),
        layout=tuple(layout.items()),
    )
    columns, text = table.take(rows), dump_config(config)

    # Estimates, sizes and the choice ask it of the same kinds.
    @cache
    def refusal(kind: Kind) -> str | None:
        written = _settings(kind, wanted.layout_of(kind, columns))
        try:
            one = parse_config(text, config.name, _only(written, unsettled))
            own = make_layout(table, one, split)
            make_unit(one, table, split, own, split.shards[0], one.kinds[0])
        except InputError as error:
            return str(error)
        return None

    return columns, table.target[rows], table.classes, replace(wanted, refusal=refusal)


def _kept(location: str) -> list[str] | None:
    """What the folder's resolved config has of what is chosen; None where there is none."""
    try:
        tree = parse_yaml(RunFolder.open(location).read(CONFIG_FILE).decode(), CONFIG_FILE)
        # Folders that were made before there was anything to round, to leave out, or to pair.
        tree["preprocessing"].setdefault("compact", False)
        tree["preprocessing"].setdefault("columns", None)
        tree.setdefault("multi_class", ONE_VS_REST)
        values = {key: _get(tree, key) for key in CHOSEN}
    except (OSError, UnicodeDecodeError, InputError, KeyError, TypeError, AttributeError):
        return None
    return [f"{'.'.join(key)}={json.dumps(value)}" for key, value in values.items()]


def _only(written: Sequence[str], keys: Keys) -> list[str]:
    """Of settings as they would be written those of the keys."""
    return [one for one in written if tuple(one.partition("=")[0].split(".")) in keys]


def _is_given(tree: Any, key: tuple[str, ...]) -> bool:
    try:
        _get(tree, key)
    except (KeyError, TypeError):
        return False
    return True


def _get(tree: Any, key: tuple[str, ...]) -> Any:
    for step in key:
        tree = tree[step]
    return tree


def _tree(path: Path, overrides: Sequence[str]) -> dict[str, Any] | None:
    """What is given, in the file or by overrides; None where that has a fault.

    `load_config` says which.
    """
    try:
        return given_keys(path, overrides)
    except InputError:
        return None


def _name(source: str) -> str:
    """A sweep's name after its source: its last part without the ending, of letters and digits."""
    return name_of(source_name(source)) or "sweep"
