"""Opening a run's folder for a sweep: is it this sweep's folder, and what in it is finished?"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow.compute as pc
import yaml

from pipeline.configuration.flat import flatten
from pipeline.configuration.reading import dump_config, parse_config
from pipeline.logs.messages import one_line
from pipeline.plans.studies import study_of_folder
from pipeline.plans.study import Study
from pipeline.results.folder import CONFIG_FILE, DATA, RESULTS, RunFolder, decode_table
from pipeline.results.ledger import LOST_SUFFIX, clear_lost, read_unit, unit_id_of
from pipeline.results.matrices import matrices
from qnn.errors import InputError
from qnn.numerics.archive import unpack_arrays

log = logging.getLogger(__name__)

# Sections that say how a sweep is run and shown, not what it computes.
FREE_SECTIONS = ("resources", "tracking", "retrain")
# Where the data lie says nothing of what they are; results of other data are refused by content.
FREE_KEYS = ("data.source",)
READERS = 8


def claim(folder: RunFolder, resolved: str, extendable: Sequence[str] = ()) -> None:
    """Write the resolved config, or check that the folder was made by the same one.

    `resolved` is YAML. Raises `InputError`, naming the first key that differs, where the folder
    belongs to another config; differences in how the sweep is run or tracked are taken over.
    `extendable`: keys whose lists may have grown; where one differs nothing is written yet.
    """
    found = _differences(folder, resolved, extendable)
    if found is None or (found and not any(_first(key) in extendable for key in found)):
        folder.write(CONFIG_FILE, resolved.encode())


def _differences(folder: RunFolder, resolved: str, extendable: Sequence[str]) -> list[str] | None:
    """The keys that differ and may; None where there is no config. Raises as `claim`."""
    try:
        content = folder.read(CONFIG_FILE)
    except FileNotFoundError:
        return None
    try:
        before = dict(flatten(yaml.safe_load(_with_defaults(content, folder))))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{folder.label}/{CONFIG_FILE}: cannot be read ({one_line(error)}); "
            "restore it or give another --out"
        ) from error
    now = dict(flatten(yaml.safe_load(resolved)))
    keys = [*now, *(key for key in before if key not in now)]
    differing = [key for key in keys if before.get(key) != now.get(key)]
    for key in differing:
        if key not in FREE_KEYS and _first(key) not in (*FREE_SECTIONS, *extendable):
            raise InputError(
                f"{folder.label}: holds a sweep with another config: {key} is "
                f"{_show(before, key)} there and {_show(now, key)} here; {_advice(extendable)}"
            )
    return differing


def compared(folder: RunFolder, study: Study[Any], config: Any, prepared: Any) -> str:
    """What a folder has of a sweep, in a line for the plan; nothing is changed there.

    Raises `InputError` where it belongs to another sweep.
    """
    grown = _differences(folder, dump_config(config), study.extendable)
    head = f"  {'folder':<13}{folder.label}: "
    if grown is None:
        return f"{head}new"
    there, wanted = study.done(prepared, folder)
    longer = [key for key in grown if _first(key) in study.extendable]
    extends = f"; extends {', '.join(longer)}" if longer else ""
    return f"{head}{there} of {wanted} are done, {wanted - there} are new{extends}"


def _first(key: str) -> str:
    return key.split(".")[0]


def _advice(extendable: Sequence[str]) -> str:
    advice = "give another --out or restore the config"
    return f"{advice} (what can be extended: {', '.join(extendable)})" if extendable else advice


def _with_defaults(content: bytes, folder: RunFolder) -> str:
    """The config of a folder with the keys that its version did not know yet, at their defaults."""
    text = content.decode()
    try:
        return dump_config(parse_config(text, CONFIG_FILE, (), study_of_folder(folder).config))
    except InputError:
        return text


def _show(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "not set"
    text = yaml.safe_dump(values[key], default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def completed_units(
    folder: RunFolder, retry_failed: bool = False, study: Study[Any] | None = None
) -> set[str]:
    """Return the ids of the units that are finished and whose files are all there and sound.

    A damaged file is moved to `quarantine/`, which is said in a warning, and its path is left out,
    so that it is computed again. `retry_failed` leaves out paths with failed rows as well. `study`:
    that of the folder, None to look it up.
    """
    study = study or study_of_folder(folder)
    folder.clean()
    clear_lost(folder)
    needs: dict[str, set[str]] = {}
    for file in folder.files(RESULTS, ".parquet"):
        if file.endswith(LOST_SUFFIX):
            continue
        try:
            table = read_unit(folder, file, study.rows)
        except FileNotFoundError:
            continue
        except ValueError as error:
            folder.quarantine(file, str(error))
            continue
        done = table.filter(pc.equal(table["status"], "ok"))
        if retry_failed and len(done) < len(table):
            log.info("%s: has failed rows, computed again", unit_id_of(file))
            continue
        needs[unit_id_of(file)] = {name for row in done.to_pylist() for name in study.files_of(row)}
    bad = _unsound(folder, {file for files in needs.values() for file in files})
    complete = set()
    for path, files in needs.items():
        lost = sorted(files & bad)
        if lost:
            log.warning("path %s is computed again: %s is missing or damaged", path, lost[0])
        else:
            complete.add(path)
    return complete


def _unsound(folder: RunFolder, files: Iterable[str]) -> set[str]:
    """Return those files that are absent or damaged; damaged ones are quarantined."""
    names = sorted(files)
    with ThreadPoolExecutor(READERS) as pool:
        return {
            name
            for name, sound in zip(names, pool.map(lambda n: _sound(folder, n), names), strict=True)
            if not sound
        }


def _sound(folder: RunFolder, file: str) -> bool:
    try:
        content = folder.read(file)
    except FileNotFoundError:
        return False
    try:
        if file.endswith(".npz"):
            unpack_arrays(content, file, "npz")
        elif file.endswith(".onnx"):
            _check_onnx(content)
        else:
            table = decode_table(content, file)
            if file.startswith(f"{DATA}/"):
                matrices(table)
    except ValueError as error:
        folder.quarantine(file, one_line(str(error).removeprefix(f"{file}: ")))
        return False
    return True


def _check_onnx(content: bytes) -> None:
    """Raises `ValueError` where it is no whole ONNX model."""
    import onnx

    try:
        onnx.checker.check_model(onnx.load_from_string(content))
    except Exception as error:  # onnx and protobuf raise kinds of their own
        raise ValueError(f"not a sound ONNX model ({one_line(error)})") from None
