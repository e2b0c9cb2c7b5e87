"""The configuration as a JSON schema for editors, and as the page docs/configuration.md."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.configuration.descriptions import description
from pipeline.plans.studies import TRAINING, get_study, study_names
from qnn.errors import InputError

Tree = dict[str, Any]
_WITH_BETA = ("name", "shards", "beta")
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_HEAD = """# All keys of a sweep's YAML file

Made from the configuration itself by `qnn schema --page`; a test holds that this page is what it
prints. `qnn schema --out qnn.schema.json` writes the same as a JSON schema; an editor that knows
YAML's language server takes it from a first line `# yaml-language-server: $schema=qnn.schema.json`.

`--set key=value` replaces a value on the command line (`--set shards.count=10`). Keys without a
default are required. A training sweep without `beta` has encoder, loss, β and width
[chosen](encoders.md#chosen-by-cross-validation), as far as it does not give them itself; it is
named after its source where it has no name, and has 3 folds, one seed, `refined` rounding and a
second layer of 8 bits unless it says otherwise. Of a choice by `kind`, the keys of each are listed
under its name.
"""


def schema(
    study: Annotated[
        str | None, typer.Option(help="One study's schema (default: all, told apart by kind).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write (default: standard output).")
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="The keys as a page of Markdown instead.")
    ] = False,
) -> None:
    """Write the JSON schema of a sweep's YAML file, for editors."""
    text = configuration_page() if page else json.dumps(schema_of(study), indent=2) + "\n"
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out}: cannot be written: {error.strerror}") from None
    print(out)


def schema_of(study: str | None = None) -> Tree:
    """The JSON schema of one study's configuration, or of any. Raises InputError for no study."""
    if study is not None:
        return {"$schema": _DRAFT, **_described(study)}
    choices = [_described(name) for name in study_names()]
    named = {name: one for name, one in zip(study_names(), choices, strict=True)}
    # A file without a kind is training's, and errors are to be told of the kind that is named.
    rules: Tree = {"$ref": f"#/$defs/{TRAINING}"}
    for name in study_names():
        asked = {"properties": {"kind": {"const": name}}, "required": ["kind"]}
        if name != TRAINING:
            rules = {"if": asked, "then": {"$ref": f"#/$defs/{name}"}, "else": rules}
    return {"$schema": _DRAFT, "title": "A sweep of qnn", "$defs": _joined(named), **rules}


def _joined(named: dict[str, Tree]) -> Tree:
    """Definitions of all studies in one place, each under its study's name."""
    found: Tree = {}
    for name, tree in named.items():
        own = tree.pop("$defs", {})
        text = json.dumps({name: tree, **{f"{name}.{key}": value for key, value in own.items()}})
        found |= json.loads(text.replace('"#/$defs/', f'"#/$defs/{name}.'))
    return found


def _described(study: str) -> Tree:
    """A study's schema with what each key means."""
    tree: Tree = get_study(study).config.model_json_schema()
    if study == TRAINING:
        tree["properties"] = {"kind": {"const": TRAINING}, **tree["properties"]}
        # Without β the rest is chosen or has a default; see `studies.training.automatic`.
        tree["required"] = [key for key in tree["required"] if key not in _WITH_BETA]
        tree["dependentRequired"] = {"beta": [key for key in _WITH_BETA if key != "beta"]}
    for record in (tree, *tree.get("$defs", {}).values()):
        for field, value in record.get("properties", {}).items():
            words = description(study, record["title"], field)
            if words is not None:
                value["description"] = words
    return tree


def configuration_page() -> str:
    """The page of all keys, in Markdown."""
    parts = [_HEAD]
    for study in sorted(study_names(), key=lambda name: (name != TRAINING, name)):
        tree = _described(study)
        named = "no `kind`" if study == TRAINING else f"`kind: {study}`"
        parts += [f"\n## {study.capitalize()} ({named})\n\n| key | takes | default | meaning |\n"
                  "|---|---|---|---|\n"]  # fmt: skip
        rows = list(_rows(tree, tree.get("$defs", {}), ""))
        parts += [f"| {' | '.join(cells)} |\n" for cells in rows if cells[0] != "`kind`"]
    return "".join(parts)


def _rows(record: Tree, known: Tree, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Key, what it takes, default, meaning; then the keys of the sections in it."""
    required = record.get("required", [])
    for field, value in record["properties"].items():
        inner = list(_sections(value, known, f"{prefix}{field}"))
        default = "required" if field in required else _default(value.get("default"), bool(inner))
        if field in record.get("dependentRequired", {}):
            default = "chosen"
        elif field in record.get("dependentRequired", {}).get("beta", ()):
            default = "required with `beta`"
        meaning = value.get("description", "")
        yield f"`{prefix}{field}`", _takes(value, known), default, meaning
        for below, section in inner:
            tag = section["properties"].get("kind", {}).get("const")
            for row in _rows(section, known, f"{below}."):
                yield row if tag is None else (f"{row[0]} ({tag})", *row[1:])


def _default(value: Any, sections: bool) -> str:
    if sections and isinstance(value, dict):
        return "each its own"
    return f"`{json.dumps(value, ensure_ascii=False)}`".replace("|", "\\|")


def _sections(value: Tree, known: Tree, key: str) -> Iterator[tuple[str, Tree]]:
    """The sections that a key may hold, each with the key that it stands under."""
    found = known.get(str(value.get("$ref", "")).rpartition("/")[2], value)
    if "properties" in found:
        yield key, found
        return
    for part in (*found.get("anyOf", ()), *found.get("oneOf", ())):
        yield from _sections(part, known, key)
    if "items" in found:
        yield from _sections(found["items"], known, f"{key}[]")


def _takes(value: Tree, known: Tree) -> str:
    """What a key takes, in words."""
    value = known.get(str(value.get("$ref", "")).rpartition("/")[2], value)
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    several = [*value.get("anyOf", ()), *value.get("oneOf", ())]
    if several:
        words = [_takes(part, known) for part in several if part.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if "properties" in value:
        kind = value["properties"].get("kind", {}).get("const")
        return "keys" if kind is None else f"keys of `kind: {kind}`"
    if value.get("type") == "array":
        inner = value.get("prefixItems")
        if inner:
            return "list of " + ", ".join(_takes(one, known) for one in inner)
        return f"list of {_takes(value.get('items', {}), known)}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"{_takes(value['additionalProperties'], known)} by name"
    return _number(value)


def _number(value: Tree) -> str:
    names = {"integer": "whole number", "number": "number", "string": "text",
             "boolean": "true or false"}  # fmt: skip
    words = names.get(str(value.get("type")), "any")
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [
        f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value
        and abs(value[key]) < 1e15
    ]  # fmt: skip
    return " ".join([words, ", ".join(limits)]).strip()
