"""The rudy generator against the files of the Biq Mac library, by their SHA-256."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.moments.csp import read_rudy, rudy, rudy_text
from qnn.moments.csp.rudy import GraphBaseNumbers

DIGESTS = Path(__file__).parents[3] / "data" / "rudy.sha256"


def test_the_numbers_pass_the_self_test_of_the_stanford_graphbase() -> None:
    numbers = GraphBaseNumbers(-314159)
    assert numbers.following() == 119318998
    for _ in range(133):
        numbers.following()
    assert numbers.below(0x55555555) == 748103812


def check(names: set[str] | None) -> int:
    count = 0
    for line in DIGESTS.read_text().splitlines():
        digest, name = line.split()
        if names is None or name in names:
            count += 1
            assert hashlib.sha256(rudy_text(name).encode()).hexdigest() == digest, name
    return count


def test_one_instance_of_each_family_is_the_librarys_byte_for_byte() -> None:
    families = ("pm1s_80", "pm1d_80", "w01_100", "w05_100", "w09_100", "pw01_100")
    assert check({"g05_60.0", *(f"{family}.3" for family in families)}) == 7


@pytest.mark.slow
def test_all_instances_are_the_librarys_byte_for_byte() -> None:
    # Five copies (g05_80.1 to .5) in circulation lack the blank after the first line; as here
    # they are with it, as all others are.
    assert check(None) == 220


def test_an_instance_is_the_max_cut_of_its_file() -> None:
    problem, read = rudy("w05_60.3"), read_rudy(rudy_text("w05_60.3"))
    assert problem.payoffs.digest() == read.payoffs.digest()
    x = np.random.default_rng(0).integers(0, 2, 60)
    lines = [line.split() for line in rudy_text("w05_60.3").splitlines()[1:]]
    cut = sum(int(w) for u, v, w in lines if x[int(u) - 1] != x[int(v) - 1])
    assert problem.value(x) == cut


@pytest.mark.parametrize("name", ["g05", "g07_60.0", "g05_60.10", "g05_0.1", "g05_60.-1", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no instance of the rudy generator"):
        rudy(name)
