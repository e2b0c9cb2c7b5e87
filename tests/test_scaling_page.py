"""What the table of costs to 1e10 rows comes of: work is divided, sums and broadcasts are not."""

import pytest

from tests.benchmarks.scaling import cost


def test_work_is_divided_and_sums_are_not() -> None:
    measured = {
        "rows": 1000, "actors": 2, "passes": 1, "statistics": 1.0, "first": 2.0, "rest": 3.0,
        "sent": 400.0, "received": 8000.0,
    }  # fmt: skip
    one = cost(measured, 0.5, 1000, 1)
    # The solve's pass and three before it, a call each; 8 bits a byte over a link of 1e9 a second.
    assert (one.work, one.calls, one.volume) == (6.0, 2.0, 4000.0)
    assert one.sums == pytest.approx(8.0 * 4000.0 / 1e9)
    two = cost(measured, 0.5, 1000, 2)
    assert (two.work, two.calls, two.volume) == (3.0, 4.0, 4000.0)
    assert two.sums == pytest.approx(2.0 * one.sums)
    more = cost(measured, 0.5, 10_000, 2)
    assert (more.work, more.sums) == (30.0, two.sums)
    # A machine more is a broadcast more.
    assert cost(measured, 0.5, 1000, 17).broadcasts == pytest.approx(2.0 * one.broadcasts)
