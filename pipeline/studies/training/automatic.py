"""What a sweep's YAML leaves out, where it names no `beta`: chosen, as if it were written there.

Encoder, loss, β and width come from cross-validation on the rows that are not the test's
(`qnn.training.selection`), at one seed: chosen again, they are the same. A folder that holds the
sweep already has them in its resolved config, from where they are read.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.configuration.reading import load_config
from pipeline.configuration.settings import SweepConfig
from pipeline.configuration.yaml_text import parse_yaml
from pipeline.datasets.shards import make_split
from pipeline.datasets.sources import load_table
from pipeline.results.folder import CONFIG_FILE, RunFolder
from qnn.errors import InputError

log = logging.getLogger(__name__)

# What is not chosen and not written either.
DEFAULTS = {
    "shards": {"kind": "kfold", "count": 3},
    "seeds": [0],
    "rounding": ["refined"],
    "second_layer": 8,
}
CHOSEN = (
    ("preprocessing", "scaling"),
    ("preprocessing", "thresholds"),
    ("loss",),
    ("beta", "fractions"),
    ("widths",),
)


def is_automatic(path: Path, overrides: Sequence[str]) -> bool:
    """Whether a training sweep leaves its β out, so that it is to be chosen."""
    tree = _tree(path)
    return tree is not None and "beta" not in tree and not _overridden(overrides, "beta")


def with_defaults(path: Path, overrides: Sequence[str]) -> list[str]:
    """The overrides, after those that stand for what needs no data."""
    tree = _tree(path) or {}
    found = [
        f"{key}={json.dumps(value)}"
        for key, value in DEFAULTS.items()
        if key not in tree and not _overridden(overrides, key)
    ]
    source = (tree.get("data") or {}).get("source") if isinstance(tree.get("data"), dict) else None
    if "name" not in tree and not _overridden(overrides, "name") and isinstance(source, str):
        found.insert(0, f"name={json.dumps(_name(source))}")
    return [*found, *overrides]


def chosen(path: Path, overrides: Sequence[str], location: str | None) -> list[str]:
    """The overrides with what was chosen, now or for the folder at `location`.

    Raises InputError as `load_config` and the reading of the data do.
    """
    plain = with_defaults(path, overrides)
    config = load_config(path, [*plain, "beta.fractions=[0.05]"])
    kept = _kept(f"out/{config.name}" if location is None else location)
    if kept is not None:
        log.info("encoder, loss, beta and width as chosen before: %s", ", ".join(kept))
        return [*plain, *_missing(path, overrides, kept)]
    from qnn.training.selection import choose

    table, target, classes, wanted = _question(path, overrides, config)

    def report(done: int, total: int, cell: str) -> None:
        log.info("choosing, %d of %d: %s", done + 1, total, cell)

    found = choose(table, target, classes, wanted, config.seeds[0], report)
    settings = {
        "preprocessing.scaling": found.kind.scaling,
        "preprocessing.thresholds": found.kind.thresholds,
        "loss": found.kind.loss,
        "beta.fractions": [found.fraction],
        "widths": [found.width],
    }
    written = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    log.info("chosen by cross-validation: %s", ", ".join(written))
    return [*plain, *_missing(path, overrides, written)]


def announce(path: Path, overrides: Sequence[str]) -> str:
    """What will be chosen and what that costs, a line for the plan."""
    from qnn.training.selection import estimate_seconds

    config = load_config(path, [*with_defaults(path, overrides), "beta.fractions=[0.05]"])
    table, target, classes, wanted = _question(path, overrides, config)
    seconds = estimate_seconds(table, len(target), classes, wanted)
    return (
        "no beta is given: encoder, loss, beta and width will be chosen first, by "
        f"cross-validation on {len(target)} rows, in about {max(seconds, 1.0):.0f} s of one core "
        "(rough); the plan below is that of a plain setting"
    )


def _question(path: Path, overrides: Sequence[str], config: SweepConfig) -> tuple[Any, ...]:
    """Table, target and classes of the rows that choose, and what is fixed."""
    from qnn.networks.activations import Polynomial
    from qnn.training.selection import AUTO, Wanted

    table = load_table(config)
    rows = make_split(table, config).development_rows
    given = {key for key in CHOSEN if not _absent(path, overrides, key)}
    kind = config.kinds[0]
    layout = {
        "categorical": [n for n, column in table.columns.items() if column.dtype == object],
        "missing": config.data.missing,
        "constant_columns": config.data.constant_columns,
        "bias": config.preprocessing.bias,
        "clip": config.preprocessing.clip,
    }
    several = len(config.kinds) > 1 or len(config.widths) > 1
    if several and (("loss",) in given or ("widths",) in given):
        raise InputError(
            f"{path.name}: beta: is required where several losses, activations, alphabets or "
            "widths are listed"
        )
    parameters = config.preprocessing
    wanted = Wanted(
        scaling=parameters.scaling if CHOSEN[0] in given else AUTO,
        thresholds=parameters.thresholds if CHOSEN[1] in given else AUTO,
        loss=kind.loss if CHOSEN[2] in given else AUTO,
        width=config.widths[0] if CHOSEN[4] in given else AUTO,
        loss_parameter=kind.loss_parameter,
        activation="bilinear" if kind.polynomial is None else Polynomial(*kind.polynomial),
        alphabet=kind.alphabet,
        layout=tuple(layout.items()),
    )
    return table.take(rows), table.target[rows], table.classes, wanted


def _kept(location: str) -> list[str] | None:
    """What the folder's resolved config has of what is chosen; None where there is none."""
    try:
        tree = parse_yaml(RunFolder.open(location).read(CONFIG_FILE).decode(), CONFIG_FILE)
        values = {key: _get(tree, key) for key in CHOSEN}
    except (OSError, UnicodeDecodeError, InputError, KeyError, TypeError):
        return None
    return [f"{'.'.join(key)}={json.dumps(value)}" for key, value in values.items()]


def _missing(path: Path, overrides: Sequence[str], written: Sequence[str]) -> list[str]:
    """Of settings as they would be written those that were not given."""
    return [
        setting
        for setting in written
        if _absent(path, overrides, tuple(setting.partition("=")[0].split(".")))
    ]


def _absent(path: Path, overrides: Sequence[str], key: tuple[str, ...]) -> bool:
    try:
        _get(_tree(path), key)
    except (KeyError, TypeError):
        return not _overridden(overrides, ".".join(key))
    return False


def _get(tree: Any, key: tuple[str, ...]) -> Any:
    for step in key:
        tree = tree[step]
    return tree


def _overridden(overrides: Sequence[str], key: str) -> bool:
    names = (one.partition("=")[0].strip() for one in overrides)
    return any(name == key or name.startswith(f"{key}.") for name in names)


def _tree(path: Path) -> dict[str, Any] | None:
    """The file as it is written, None where it is no mapping: `load_config` says why."""
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8-sig"), path.name)
    except (OSError, UnicodeDecodeError, InputError):
        return None
    return tree if isinstance(tree, dict) else None


def _name(source: str) -> str:
    """A sweep's name after its source: its last part without the ending, of letters and digits."""
    last = re.split(r"[/:]", source.rstrip("/"))[-1]
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", last.partition(".")[0]).strip("-._")
    return stem[:100] or "sweep"
