"""Reading, checking and writing a sweep's configuration; a fault is one line with its key path."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.configuration.beta import BetaConfig, LogSpacing
from pipeline.configuration.flat import flatten
from pipeline.configuration.paths import expanded
from pipeline.configuration.settings import (
    ByColumn,
    DataConfig,
    KFold,
    Parts,
    PreprocessingConfig,
    SweepConfig,
)
from pipeline.configuration.yaml_text import dump_yaml, parse_yaml
from pipeline.logs.redact import redact
from qnn.errors import InputError

__all__ = [
    "BetaConfig",
    "ByColumn",
    "DataConfig",
    "KFold",
    "LogSpacing",
    "Parts",
    "PreprocessingConfig",
    "SweepConfig",
    "dump_config",
    "given_keys",
    "load_config",
    "parse_config",
]

M = TypeVar("M", bound=BaseModel)

# How pydantic's error types read here; what is not listed keeps pydantic's own words.
_MESSAGES = {
    "missing": "is required",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "literal_error": "must be {expected}",
    "union_tag_not_found": "is required: one of {tags}",
    "name": "may hold letters, digits, '.', '_', '-', and starts with one of the first two",
    "label": "must be a label: text, a number, true or false",
    "distinct": "{twice} occurs twice",
    "union_tag_invalid": "must be one of {expected_tags}",
}
# What the branches of the unions at a key are called, the outer union first; no person wrote them.
_ONE_OR_SEVERAL = ("one", "several")
_BRANCHES: dict[tuple[str, ...], tuple[tuple[str, ...], ...]] = {
    ("shards",): (("kfold", "parts", "column"),),
    ("beta", "fractions"): (("listed", "spaced"),),
    ("data", "target"): (_ONE_OR_SEVERAL,),
    ("loss",): (_ONE_OR_SEVERAL,),
    ("activation",): (_ONE_OR_SEVERAL, ("name", "coefficients")),
    ("alphabet",): (_ONE_OR_SEVERAL,),
    ("baseline_seconds",): (_ONE_OR_SEVERAL,),
    ("orthogonality",): (_ONE_OR_SEVERAL,),
    ("class_weight",): (("of_all", "by_name"),),
    ("radii",): (("of_all", "by_name"),),
    ("limits",): (("of_all", "by_name"),),
    ("retrain", "robustness", "radius"): (("of_all", "by_name"),),
    ("retrain", "robustness", "limits"): (("of_all", "by_name"),),
    ("retrain", "window"): (("all", "last", "rolling"),),
    ("retrain", "hold_out"): (("freshest", "fraction"),),
}
_LABEL_TYPES = ("str", "int", "float", "bool")


@overload
def load_config(path: str | Path, overrides: Sequence[str] = ()) -> SweepConfig: ...
@overload
def load_config(path: str | Path, overrides: Sequence[str], model: type[M]) -> M: ...
def load_config(
    path: str | Path, overrides: Sequence[str] = (), model: type[Any] = SweepConfig
) -> Any:
    """Read a sweep's YAML file.

    A local `source`, or one of `instances`, that exists beside the file, or else under the current
    folder, becomes absolute, so that the resolved config means the same wherever it is read.

    Args:
        path: the YAML file.
        overrides: `key.path=value` each, the value in YAML or a single sign; they replace what the
            file says.
        model: the config of the file's study.

    Raises:
        InputError: the file is missing or no YAML, or a key is unknown, missing or has a bad value;
            or the data's or MLflow's URI holds credentials.
    """
    path = Path(expanded(str(path)))
    config = parse_config(_text_of(path), path.name, overrides, model)
    _refuse_credentials(config, path.name)
    located = _located(config, (path.resolve().parent, Path.cwd()))
    # Variables may hold what the file does not.
    _refuse_credentials(located, path.name)
    return located


@overload
def parse_config(text: str, where: str, overrides: Sequence[str] = ()) -> SweepConfig: ...
@overload
def parse_config(text: str, where: str, overrides: Sequence[str], model: type[M]) -> M: ...
def parse_config(
    text: str, where: str, overrides: Sequence[str] = (), model: type[Any] = SweepConfig
) -> Any:
    """Check a sweep's YAML text, named `where` in messages. Raises InputError as `load_config`."""
    raw = _given(text, where, overrides)
    if model is SweepConfig and raw.get("kind") == "training":
        # The same as leaving it out: one config has one resolved form, and one digest.
        del raw["kind"]
    try:
        return model.model_validate(_as_sections_hold(raw))
    except ValidationError as error:
        problems = [_one_line(detail, model) for detail in _root_causes(error)]
        raise InputError(f"{where}: {'; '.join(dict.fromkeys(problems))}") from None


def given_keys(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """What a sweep's file says after its overrides, unchecked: in it, a key is given; else not.

    Raises InputError as `load_config`, but for bad keys and values.
    """
    path = Path(expanded(str(path)))
    return _given(_text_of(path), path.name, overrides)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise InputError(f"{path}: cannot be read: {reason}") from None


def _given(text: str, where: str, overrides: Sequence[str]) -> dict[str, Any]:
    raw = parse_yaml(text, where)
    if not isinstance(raw, dict):
        raise InputError(f"{where}: must be a mapping of keys (name, data, shards, beta, …)")
    for override in overrides:
        _override(raw, override)
    return raw


def dump_config(config: Any) -> str:
    """The config as YAML, every default written out; `parse_config` reads it back equal."""
    return dump_yaml(config.model_dump(mode="json"))


def _as_sections_hold(value: Any) -> Any:
    """Plain data with lists as tuples and every key as text."""
    if isinstance(value, dict):
        return {_key(key): _as_sections_hold(one) for key, one in value.items()}
    return tuple(map(_as_sections_hold, value)) if isinstance(value, list) else value


def _key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key, default=str)


def _refuse_credentials(config: BaseModel, where: str) -> None:
    """The resolved config is kept with results, in MLflow and with jobs: no place for secrets."""
    for key, value in flatten(config.model_dump(mode="json")):
        place = key.rpartition(".")[2] in ("source", "uri") and isinstance(value, str)
        # A file may have any name.
        if place and redact(value) != value and ("://" in value or not os.path.exists(value)):
            raise InputError(
                f"{where}: {key}: holds credentials ({redact(value)}), and the config is kept with "
                "the results; give them in the environment (AWS_ACCESS_KEY_ID, "
                "MLFLOW_TRACKING_URI, …)"
            )


def _located(section: M, folders: Sequence[Path]) -> M:
    """A section with every `source` in it found, and every file among `instances`."""
    changes: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if name == "source" and isinstance(value, str):
            changes[name] = _locate(expanded(value), folders)
        elif name == "instances":
            changes[name] = tuple(_locate(expanded(one), folders) for one in value)
        elif name == "uri" and isinstance(value, str):
            changes[name] = expanded(value)
        elif isinstance(value, BaseModel):
            changes[name] = _located(value, folders)
        elif isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value):
            changes[name] = tuple(
                _located(one, folders) if isinstance(one, BaseModel) else one for one in value
            )
    return section.model_copy(update=changes) if changes else section


def _locate(source: str, folders: Sequence[Path]) -> str:
    if ":" in source.split("/")[0] or Path(source).is_absolute():
        return source
    found = [folder / source for folder in folders if (folder / source).exists()]
    return str(found[0].resolve()) if found else source


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    steps = key.strip().split(".")
    if not equals or not all(steps):
        raise InputError(f"--set {override}: write key.path=value, as in --set test.fraction=0.3")
    node = raw
    for depth, step in enumerate(steps[:-1], 1):
        if node.get(step) is None:
            node[step] = {}
        node = node[step]
        if not isinstance(node, dict):
            raise InputError(f"--set {override}: {'.'.join(steps[:depth])} is not a mapping")
    sign = text.strip()
    # YAML takes most single signs for the beginning of something; as a value it is meant itself.
    alone = len(sign) == 1 and not sign.isalnum() and sign != "~"
    node[steps[-1]] = sign if alone else parse_yaml(text, f"--set {override}")


def _root_causes(error: ValidationError) -> list[ErrorDetails]:
    """All errors but those that another one brought about.

    These are the "too short" of a list whose only elements were refused themselves, and the key
    that is required because its name was mistyped.
    """
    details = error.errors(include_url=False)
    parents = {detail["loc"][:-1] for detail in details}
    strange = [detail["loc"] for detail in details if detail["type"] == "extra_forbidden"]
    return [
        one for one in details
        if (one["type"] != "too_short" or one["loc"] not in parents)
        and (one["type"] != "missing" or not any(_mistyped(one["loc"], key) for key in strange))
    ]  # fmt: skip


def _mistyped(wanted: tuple[int | str, ...], given: tuple[int | str, ...]) -> bool:
    """Whether a key is most likely a slip in writing another one beside it."""
    if wanted[:-1] != given[:-1]:
        return False
    return bool(get_close_matches(str(wanted[-1]), [str(given[-1])], cutoff=0.78))


def _one_line(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    steps = _keys(detail["loc"])
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    path = path.lstrip(".")
    if kind.startswith("union_tag"):
        path += ".kind"
    if steps[-1:] and steps[-1] in _LABEL_TYPES:
        path, kind = path.rpartition(".")[0], "label"
    if kind == "extra_forbidden":
        known = _keys_beside(detail["loc"], model)
        return f"{path}: unknown key" + (f" (known: {', '.join(known)})" if known else "")
    if kind.startswith("value_error") or kind in ("fits", "one_of"):
        return f"{path}: {detail['msg']}" if path else detail["msg"]
    tags = ", ".join((_BRANCHES.get(tuple(map(str, detail["loc"]))) or ((),))[-1])
    message = _MESSAGES.get(kind, detail["msg"]).format(**context, tags=tags)
    got = detail["input"]
    told = kind not in ("missing", "distinct", "too_short", "union_tag_not_found")
    text = json.dumps(got, ensure_ascii=False, default=str)
    text = text if len(text) <= 40 else text[:39] + "…"
    return f"{path}: {message}" + (f" (got {text})" if told else "")


def _keys(loc: tuple[int | str, ...]) -> list[int | str]:
    """The keys and places in lists of an error, without the branches of unions."""
    keys: list[int | str] = []
    unions: list[tuple[str, ...]] = []
    for step in loc:
        if unions and step in unions[0]:
            unions.pop(0)
            continue
        keys.append(step)
        if isinstance(step, str):
            named = tuple(key for key in keys if isinstance(key, str))
            unions = list(_BRANCHES.get(named, ()))
    return keys


def _keys_beside(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """The keys that a section knows, for the message about one that it does not."""
    section: Any = model
    for step in loc[:-1]:
        models = [model for model in _models(section) if step in model.model_fields]
        branch = [model for model in _models(section) if _tag(model) == step]
        if branch:
            section = branch[0]
        elif models:
            section = models[0].model_fields[str(step)].annotation
    # A union of one and several has the same section twice.
    models = list(dict.fromkeys(_models(section)))
    return list(models[0].model_fields) if len(models) == 1 else []


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, tuple) or hasattr(annotation, "__metadata__"):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _tag(model: type[BaseModel]) -> str | None:
    if model is LogSpacing:
        return "spaced"
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None
