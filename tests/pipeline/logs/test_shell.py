"""What is told to be typed into a shell means the same there."""

import subprocess
from pathlib import Path

import pytest

from pipeline.logs.shell import verify_line

ROOT = Path(__file__).parents[3]


def words(line: str, tmp_path: Path) -> list[str]:
    """What `qnn` is given where a shell reads the line."""
    script = f"""qnn() {{ printf '%s\\n' "$@"; }}\n{line}"""
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "place", ["out/wdbc", ".", "s3://bucket/a b", "it's $HOME", "a;b", "~/*", "größe"]
)
def test_a_place_is_one_word(tmp_path: Path, place: str) -> None:
    assert words(verify_line(place), tmp_path) == ["verify", place]


def test_plain_places_stand_as_they_are() -> None:
    assert verify_line("out/wdbc") == "qnn verify out/wdbc"
    assert verify_line("a.npz", "b c.npz") == "qnn verify a.npz 'b c.npz'"


def test_a_pattern_is_the_shells_and_the_data_are_one_word(tmp_path: Path) -> None:
    place = tmp_path / "my proofs"
    place.mkdir()
    for name in ("row-1.npz", "row-2.npz", "network.npz"):
        (place / name).touch()
    line = verify_line("my proofs", within="row-*.npz", data="my net.npz")
    rows = ["my proofs/row-1.npz", "my proofs/row-2.npz"]
    assert words(line, tmp_path) == ["verify", *rows, "--data", "my net.npz"]


def test_the_line_is_put_together_in_one_place() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py")}
    elsewhere = [path for path, text in texts.items() if "qnn verify {" in text]
    # Notes of earlier versions are searched for as they were written.
    assert [path.name for path in elsewhere] == ["moved.py"]
