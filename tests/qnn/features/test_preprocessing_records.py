"""What a stored preprocessing must say to be read."""

import json
from typing import Any

import pytest

from qnn.errors import InputError
from qnn.features.preprocessing import Preprocessing
from tests.qnn.features.table_cases import fit, mixed


def _spoil(record: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *steps, last = path.split(".")
    node: Any = record
    for step in steps:
        node = node[step]
    node[last] = value
    return record


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 2),
        ("means", [0.0]),
        ("scales", [1.0, 1.0, 1.0, 1.0, 0.0]),
        ("scales", [1.0, 1.0, 1.0, 1.0, float("nan")]),
        ("scales", None),
        ("fill", [1.0]),
        ("fill", [1.0, "nowhere", 1.0]),
        ("layout.scaling", "odd"),
        ("layout.missing", "odd"),
        ("layout.extra", 1),
        ("layout.columns", 3),
        ("target.classes", ["one"]),
        ("target.scale", 0.0),
        ("target", {}),
    ],
)
def test_a_spoilt_record_is_refused(path: str, value: Any) -> None:
    record = _spoil(json.loads(fit(mixed()).to_json()), path, value)
    with pytest.raises(InputError):
        Preprocessing.from_json(json.dumps(record))


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, '{"format": 1}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^not a preprocessing record: "):
        Preprocessing.from_json(text)
