"""Rows with noise: the rows as they are first, then copies that differ in numbers alone."""

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.features.noise import Noise, is_flag


def columns(n: int = 4000) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    numbers = rng.normal(3.0, 20.0, n)
    gaps = np.where(rng.random(n) < 0.3, np.nan, numbers)
    words = np.array(["a", None] * (n // 2), dtype=object)
    return {"number": numbers, "gaps": gaps, "word": words, "constant": np.full(n, 7.0)}


def test_the_rows_as_they_are_stand_first_and_noise_has_its_size() -> None:
    before = columns()
    n = len(before["number"])
    after = Noise(0.5, 3, seed=2).noisy(before)
    for name, column in after.items():
        assert len(column) == 4 * n
        assert np.array_equal(column[:n].astype(str), before[name].astype(str))
    moved = (after["number"].reshape(4, n) - before["number"])[1:]
    assert np.all(moved != 0.0)
    assert np.allclose(np.std(moved, axis=1), 0.5 * np.std(before["number"]), rtol=0.05)
    assert np.all(np.abs(np.mean(moved, axis=1)) < 0.5)
    assert np.abs(np.corrcoef(moved)[np.triu_indices(3, 1)]).max() < 0.06


def test_words_missing_cells_and_constants_stay() -> None:
    before = columns()
    after = Noise(1.0, 2).noisy(before)
    n = len(before["word"])
    assert after["word"].tolist() == before["word"].tolist() * 3
    assert np.array_equal(np.isnan(after["gaps"]), np.tile(np.isnan(before["gaps"]), 3))
    known = ~np.isnan(before["gaps"])
    moved = after["gaps"][n : 2 * n][known] - before["gaps"][known]
    assert np.isclose(np.std(moved), np.std(before["gaps"][known]), rtol=0.05)
    assert np.all(after["constant"] == 7.0)


@pytest.mark.parametrize(("copies", "more"), [(1, "once more"), (3, "3 times more")])
def test_noise_in_words(copies: int, more: str) -> None:
    assert Noise(0.5, copies).describe == f"each row {more}, with noise of 0.5 deviations"


def test_targets_follow_their_rows_and_a_seed_is_one_noise() -> None:
    noise = Noise(1.0, 2, seed=5)
    assert noise.repeated(np.array(["x", "y"], dtype=object)).tolist() == ["x", "y"] * 3
    assert noise.repeated(np.eye(2)).tolist() == np.tile(np.eye(2), (3, 1)).tolist()
    numbers = {"a": np.arange(9.0)}
    assert np.array_equal(noise.noisy(numbers)["a"], Noise(1.0, 2, 5).noisy(numbers)["a"])
    assert not np.array_equal(noise.noisy(numbers)["a"], Noise(1.0, 2, 6).noisy(numbers)["a"])


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ([0.0, 1.0, np.nan], True),
        ([1.0, 1.0], True),
        ([0.0, 1.0, 2.0], False),
        ([0.0, 0.5], False),
        ([-1.0, 1.0], False),
        ([np.nan, np.nan], False),
    ],
)
def test_a_flag_has_no_number_but_0_and_1(values: list[float], flag: bool) -> None:
    assert is_flag(np.array(values)) == flag
    assert not is_flag(np.array(values).astype(str).astype(object))


def test_columns_that_are_to_stay_do_and_the_others_have_noise() -> None:
    before = {"flag": np.array([0.0, 1.0, np.nan, 1.0]), "number": np.arange(4.0)}
    after = Noise(1.0, 3).noisy(before, ["flag"])
    assert np.array_equal(after["flag"], np.tile(before["flag"], 4), equal_nan=True)
    assert np.all(after["number"][4:] != np.tile(before["number"], 3))


@pytest.mark.parametrize("values", [[1e200, 1.0, np.nan], [1.7e308, 1.7e308, -1.7e308, -1.7e308]])
def test_numbers_too_large_for_noise_are_refused(values: list[float]) -> None:
    before = {"plain": np.arange(float(len(values))), "giant": np.array(values)}
    with pytest.raises(InputError, match=r"^column 'giant' has numbers too large for noise \("):
        Noise(1.0, 2).noisy(before)
    assert len(Noise(1.0, 2).noisy(before, ["giant"])["giant"]) == 3 * len(values)
