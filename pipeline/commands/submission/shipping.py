"""What travels with a submitted sweep: the resolved config, small local data, and this package.

A folder is staged and nothing else is sent: no working copy, no results, no environment. Its files
depend on content alone, so that Ray recognizes what it was sent before.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import pipeline
import qnn
from pipeline.configuration.reading import SweepConfig
from pipeline.studies.training.automatic import Keys, text_without
from qnn.errors import InputError

CONFIG_NAME = "sweep.yaml"
DATA_FOLDER = "input"
DISTRIBUTION = "qnn-sdp"
# Ray keeps what is shipped in the memory of the head node.
LARGEST_DATA = 100_000_000
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


@dataclass(frozen=True)
class LocalData:
    """A data source that lies on this machine. `digest` is SHA-256 over names and contents."""

    path: Path
    bytes: int
    digest: str


def find_local_data(config: SweepConfig) -> LocalData | None:
    """Return the config's data where it is a local file or folder; None for URIs and built-in sets.

    Raises `InputError` where the source is a path at which there is nothing.
    """
    source = config.data.source
    if ":" in source.split("/")[0]:
        return None
    path = Path(source)
    if path.name in ("", ".."):
        # What is sent needs a name of its own.
        path = path.resolve()
    if not path.exists():
        raise InputError(f"data.source: no such file or folder: {source}")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path.parent)}\n{file.stat().st_size}\n".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return LocalData(path, sum(file.stat().st_size for file in files), digest.hexdigest())


def stage(
    folder: Path,
    config: SweepConfig,
    data: LocalData | None,
    package: bool,
    unsettled: Keys = (),
) -> None:
    """Fill `folder` with what the job's working directory is to hold.

    Args:
        folder: an empty folder.
        config: the resolved sweep.
        data: local data to send along; the config sent then names the copy. None: nothing is sent.
        package: whether `qnn` and `pipeline` are sent, with the metadata that tells their version.
        unsettled: keys that the job is to choose: they are left out.

    Raises:
        InputError: the data are too large to be sent.
    """
    if data is not None:
        if data.bytes > LARGEST_DATA:
            raise InputError(
                f"data.source: {data.path} has {data.bytes / 1e6:.0f} MB, and at most "
                f"{LARGEST_DATA / 1e6:.0f} MB are sent with a job; put it where all nodes see it: "
                "a URI, or the same path everywhere with --shared-data"
            )
        copy = folder / DATA_FOLDER / data.path.name
        copy.parent.mkdir()
        if data.path.is_dir():
            shutil.copytree(data.path, copy)
        else:
            shutil.copyfile(data.path, copy)
        source = f"{DATA_FOLDER}/{data.path.name}"
        moved = config.data.model_copy(update={"source": source})
        config = config.model_copy(update={"data": moved})
    (folder / CONFIG_NAME).write_text(text_without(config, unsettled), encoding="utf-8")
    if package:
        for module in (qnn, pipeline):
            root = Path(module.__path__[0])
            shutil.copytree(root, folder / root.name, ignore=_LEFT_OUT)
        _write_metadata(folder)


def _write_metadata(folder: Path) -> None:
    """The little that `importlib.metadata.version` needs, as results tell their versions."""
    release = version(DISTRIBUTION)
    info = folder / f"{DISTRIBUTION.replace('-', '_')}-{release}.dist-info"
    info.mkdir()
    text = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {release}\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
