"""The table of costs to 1e10 rows is what the measured constants give."""

from pathlib import Path

import pytest

from tests.benchmarks.scaling import costs, lines

PAGE = Path(__file__).parents[1] / "docs" / "large_scale.md"


def test_the_page_has_the_computed_table() -> None:
    table = "\n".join(lines())
    assert table.count("\n") >= 5
    assert table in PAGE.read_text(encoding="utf-8")


def test_work_is_divided_and_sums_are_not() -> None:
    measured = {
        "rows": 1000, "columns": 10, "statistics": 1.0, "first": 2.0, "rest": 3.0, "passes": 1,
        "rank": 0.0, "moments": 715,
    }  # fmt: skip
    seconds, volume, needed = costs(measured, 1000, 1)
    assert (seconds, needed) == (6.0, 0.0)
    assert volume == 8 * (715 + 200 + 20)
    half, same, link = costs(measured, 1000, 2)
    assert (half, same) == (3.0, volume)
    # 8 bits a byte, two actors, in a hundredth of three seconds.
    assert link == pytest.approx(8.0 * 2 * volume / 0.03)
    assert costs(measured, 10_000, 2)[2] == pytest.approx(link / 10.0)
