"""Files of problems, good and bad."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.moments.csp import read, read_rudy, read_wcsp

WCSP = """small 3 3 4 20
3 2 3
2 0 1 1 3
0 0 5
1 1 20
2 1 7
1 2 0 2
0 4
2 1
0 6 0
2 1 2 0 1
1 2 30
"""


def test_costs_are_negated_payoffs() -> None:
    problem = read_wcsp(WCSP)
    assert (problem.name, problem.n, problem.k) == ("small", 3, 3)

    def cost(x: tuple[int, int, int]) -> int:
        first = {(0, 0): 5, (1, 1): 20, (2, 1): 7}.get(x[:2], 1)
        third = 20 if x[1:] == (1, 2) else 0
        return first + {0: 4, 2: 1}.get(x[2], 0) + 6 + third

    assert problem.value(np.array([1, 0, 1])) == -cost((1, 0, 1)) == -7
    for x in product(range(3), range(2), range(3)):
        assert problem.value(np.array(x)) == -cost(x)
    # A value outside of a domain costs the upper bound.
    assert problem.value(np.array([0, 2, 1])) <= -20
    assert problem.prove().value == -7.0


def test_edges_named_twice_are_added_and_loops_say_nothing() -> None:
    problem = read_rudy("3 4\n1 2 1.5\n2 1 2\n3 3 9\n2 3 -1\n")
    assert problem.value(np.array([0, 1, 1])) == 3.5


def test_the_name_tells_the_format(tmp_path: Path) -> None:
    (tmp_path / "a.wcsp").write_text(WCSP)
    (tmp_path / "a.mc").write_text("2 1\n1 2 3\n")
    assert read(tmp_path / "a.wcsp").k == 3
    assert read(tmp_path / "a.mc").value(np.array([0, 1])) == 3.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "3",
        "-1 2",
        "3 1\n1 4 1",
        "3 1\n0 1 1",
        "3 1\n1 2 nan",
        "3 1\n1 2 1 7",
        "3 1\n1 2",
        "2 99999999999999999999",
        "2 99999999",
        "3 1\n1 2 1e300",
        "1000000000 0",
        "٣ 0",
    ],
)
def test_bad_edge_lists(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.mc").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "bad.mc")
    assert "\n" not in str(caught.value)
    assert "bad.mc" in str(caught.value) or "too many" in str(caught.value)


def test_every_cut_short_or_changed_file_of_costs_is_refused_or_read() -> None:
    words = WCSP.split()
    for end in range(len(words)):
        with pytest.raises(InputError):
            read_wcsp(" ".join(words[:end]))
    for at in range(1, len(words)):
        for word in ("-1", "x", "99", "1e3", "nan", "99999999999999999999999"):
            try:
                read_wcsp(" ".join([*words[:at], word, *words[at + 1 :]]))
            except InputError:
                continue


def test_costs_over_three_variables_are_refused() -> None:
    with pytest.raises(InputError, match="over 3 variables"):
        read_wcsp("t 3 2 1 9\n2 2 2\n3 0 1 2 0 0\n")


def test_files_that_are_missing_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "b.mc").write_bytes(b"\xff\xfe\x00")
    for name in ("b.mc", "none.mc"):
        with pytest.raises(InputError):
            read(tmp_path / name)


def test_values_outside_of_a_domain_are_never_the_best() -> None:
    # Everything is forbidden, twice: a value that does not exist would cost the bound once.
    forbidden = read_wcsp("none 2 2 2 10\n1 2\n2 0 1 10 0\n2 0 1 10 0\n")
    solution = forbidden.prove()
    assert solution.value == -20.0
    assert solution.assignment[0] == 0
    assert solution.message == "no solution: proven, all cost 10 or more"
    # Costs of 2 and 1 that together reach the bound of 3.
    together = read_wcsp("none 2 2 2 3\n2 2\n2 0 1 3 1\n0 0 2\n0 1 0\n").prove()
    assert (together.value, together.message[:20]) == (-3.0, "no solution: proven,")
    assert "no solution" not in read_wcsp(WCSP).prove().message


@pytest.mark.parametrize("gap", ["\t", "\n", " \t ", "\n\n"])
def test_the_name_ends_at_any_space(gap: str) -> None:
    problem = read_wcsp(WCSP.replace("small ", f"small{gap}", 1))
    assert (problem.name, problem.n) == ("small", 3)
