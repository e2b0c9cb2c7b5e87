"""Whatever error a damaged file makes a reader raise, it is a verdict; none at all is an error."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.commands import sweep
from pipeline.results.verification.of_studies import judged
from pipeline.results.verification.verdict import Check, judge
from qnn.errors import InputError

KINDS = [
    OverflowError, ZeroDivisionError, KeyError, IndexError, TypeError, AttributeError, MemoryError,
    RecursionError, ValueError, OSError,
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_any_kind_is_a_failed_verdict(kind: type[Exception]) -> None:
    def check(*file: str) -> str:
        raise kind("of a\nfile")

    for found in (judge("a.npz", check), judged("a.npz", check)):
        assert (found.ok, found.file) == (False, "a.npz")
        assert "\n" not in found.text
        assert "of a" in found.text
        assert kind in (ValueError, OSError) or kind.__name__ in found.text


def test_what_is_not_an_error_is_no_verdict() -> None:
    def check(*file: str) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge("a.npz", check)
    with pytest.raises(KeyboardInterrupt):
        judged("a.npz", check)


def test_no_verdict_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(*given: Any) -> Iterator[Check]:
        yield from ()

    monkeypatch.setattr(sweep, "study_at", lambda path: SimpleNamespace(verify=verify))
    with pytest.raises(InputError, match=r"some\.npz: there was nothing to verify"):
        sweep.verify_command(["some.npz"], None)
