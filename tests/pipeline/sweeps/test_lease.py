"""A sweep's lease: renewed whatever the sweep is busy with, read again before the end."""

import json
import time
from pathlib import Path

import pytest

from pipeline.results import lock
from pipeline.results.folder import RunFolder, StoreError
from pipeline.results.verification.manifest import MANIFEST, Manifest
from pipeline.sweeps import driver
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.sweeps.lease import Lease
from tests.pipeline.small import TINY, small_config

INLINE = SweepOptions(inline=True)


@pytest.fixture(autouse=True)
def by_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are held as on an object store; nothing is drawn."""
    monkeypatch.setattr(lock, "acquire_lock", lock.TokenLock)
    monkeypatch.setattr(lock, "SETTLE", 0.0)
    monkeypatch.setattr(
        "pipeline.reports.page.write_report", lambda folder, trial: folder.write("page", b"")
    )


class Crowned:
    """A tracker that notes whether it was told results."""

    command = "look here"

    def __init__(self) -> None:
        self.told: list[str] = []

    def finish(self, *results: object) -> None:
        self.told.append("results")

    def end(self, status: str) -> None:
        self.told.append(status)


def take_over(folder: RunFolder) -> None:
    folder.write(lock.LOCK_FILE, json.dumps({"token": "other", "host": "elsewhere"}).encode())


@pytest.mark.parametrize(
    ("owner", "name", "left"),
    [
        (driver, "add_session", set()),
        (driver._Driver, "_report", {"page"}),
        (driver._Driver, "_write_manifest", {"page", MANIFEST}),
    ],
)
def test_a_sweep_whose_folder_is_taken_over_stops_before_the_next_thing_that_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, left: set[str]
) -> None:
    place, real = RunFolder.open(tmp_path / "run"), getattr(owner, name)

    def then_taken(*given: object) -> object:
        done = real(*given)
        take_over(place)
        return done

    monkeypatch.setattr(owner, name, then_taken)
    tracker = Crowned()
    with pytest.raises(StoreError, match=r"another sweep took this folder over \(host elsewhere"):
        run_sweep(small_config(tmp_path, **TINY), place.location, INLINE, None, lambda *_: tracker)
    assert {file for file in ("page", MANIFEST) if place.exists(file)} == left
    assert tracker.told == ["FAILED"]
    assert json.loads(place.read(lock.LOCK_FILE))["token"] == "other"


def test_the_lease_is_renewed_while_the_sweep_looks_solves_and_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = RunFolder.open(tmp_path / "run")
    monkeypatch.setattr(lock, "RENEW_EVERY", 0.02)
    seen = []

    def slowed(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def then_renewed(*given: object) -> object:
            before, end = place.modified(lock.LOCK_FILE), time.monotonic() + 20
            while place.modified(lock.LOCK_FILE) == before and time.monotonic() < end:
                time.sleep(0.01)
            seen.append((name, place.modified(lock.LOCK_FILE) != before))
            return real(*given)

        monkeypatch.setattr(owner, name, then_renewed)

    slowed(driver, "completed_units")
    slowed(driver, "read_results")
    slowed(Manifest, "write")
    run_sweep(small_config(tmp_path, **TINY), place.location, INLINE)
    assert {name for name, renewed in seen if renewed} == {
        "completed_units", "read_results", "write",
    }  # fmt: skip
    assert all(renewed for _, renewed in seen)
    assert not place.exists(lock.LOCK_FILE)


def test_what_the_renewing_thread_finds_is_heeded_without_asking_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "RENEW_EVERY", 0.01)
    place = RunFolder.open(tmp_path / "run")
    place.create()
    with Lease(place) as lease:
        lease.heed()
        take_over(place)
        lease._thread.join(10)
        monkeypatch.setattr(place, "read", lambda name: pytest.fail(name))
        with pytest.raises(StoreError, match="another sweep took this folder over"):
            lease.heed()
        monkeypatch.undo()
