"""The studies that there are: a folder each under `pipeline/studies/`, found by its name."""

from __future__ import annotations

import importlib
import os
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.configuration.paths import expanded, is_archive
from pipeline.plans.study import Study
from pipeline.results.folder import CONFIG_FILE, RunFolder
from qnn.errors import InputError

ROOMS = "pipeline.studies"
TRAINING = "training"
# A training problem with this section is one whose rows lie on many machines.
DISTRIBUTED = "distributed"


@cache
def study_names() -> tuple[str, ...]:
    """What `kind:` may name, sorted."""
    rooms = importlib.import_module(ROOMS)
    return tuple(sorted(room.name for room in pkgutil.iter_modules(rooms.__path__) if room.ispkg))


def get_study(name: str, where: str = "") -> Study[Any]:
    """A study by name. Raises `InputError`, with `where` in front, where there is none."""
    if name not in study_names():
        raise InputError(
            f"{where}{': ' if where else ''}kind: must be one of {', '.join(study_names())} "
            f"(got {name!r})"
        )
    study: Study[Any] = importlib.import_module(f"{ROOMS}.{name}").STUDY
    return study


def study_of(config: Any) -> Study[Any]:
    """The study that a config belongs to."""
    return get_study(getattr(config, "kind", TRAINING))


def study_of_folder(folder: RunFolder) -> Study[Any]:
    """The study that a run's folder holds; training where its config does not say, or is gone."""
    try:
        named = _kind(folder.read(CONFIG_FILE).decode())
    except (OSError, UnicodeDecodeError):
        named = TRAINING
    return get_study(named, f"{folder.label}/{CONFIG_FILE}")


def study_at(location: str) -> Study[Any]:
    """The study of a run's folder, or of a file of one: its folder is two levels up."""
    if not is_archive(location):
        if os.path.isfile(expanded(location)):
            raise InputError(f"{location}: is a file; give a run's folder or an .npz file of one")
        return study_of_folder(RunFolder.open(location))
    return study_of_folder(RunFolder.around(location)[0])


def study_of_file(path: str | Path, encoding: str = "utf-8-sig") -> Study[Any]:
    """The study of a sweep's YAML file; training where the file cannot be read or does not say."""
    try:
        named = _kind(Path(expanded(str(path))).read_text(encoding=encoding))
    except (OSError, UnicodeDecodeError):
        named = TRAINING
    return get_study(named, Path(path).name)


def _kind(text: str) -> str:
    """What a config's text names: faults in it are told by who reads it whole."""
    try:
        tree = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return TRAINING
    if not isinstance(tree, dict):
        return TRAINING
    return str(tree.get("kind", DISTRIBUTED if DISTRIBUTED in tree else TRAINING))
