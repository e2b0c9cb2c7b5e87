from collections import Counter

import numpy as np
import pytest

from qnn.networks.alphabets import Alphabet, get_alphabet
from qnn.networks.exports.c_header import to_c
from qnn.networks.exports.planes import to_planes
from tests.qnn.networks.exports.cases import KINDS, network


@pytest.mark.parametrize("alphabet", ["binary", "ternary", "2", "3", "4", "7"])
def test_planes_sum_to_the_weights(alphabet: str) -> None:
    known = get_alphabet(alphabet)
    weights = np.random.default_rng(0).choice(known.levels, (70, 5))
    planes = to_planes(weights, alphabet)
    signs = np.where(planes.bits, 1, -1)
    total = np.einsum("pdm,p->dm", signs, np.array(planes.scales))
    np.testing.assert_array_equal(total * known.divisor, weights * planes.divisor)


def test_bit_k_of_the_words_is_feature_k() -> None:
    weights = np.random.default_rng(1).choice([-1, 1], (130, 3))
    words = to_planes(weights, "binary").words()
    assert words.shape == (1, 3, 3)
    for j in range(3):
        found = [int(words[0, j, k // 64]) >> (k % 64) & 1 for k in range(3 * 64)]
        assert found == [*(weights[:, j] > 0).astype(int).tolist(), *[0] * 62]


@pytest.mark.parametrize(("activation", "alphabet"), KINDS)
def test_bits_reach_the_header_without_becoming_numbers(
    activation: str, alphabet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stored levels become words of bits in one step: nothing decodes, composes or encodes them."""
    stored = network("thermometer", activation, alphabet)
    expected = to_c(stored)

    def refused(*arguments: object) -> None:
        raise AssertionError("a detour")

    for way in ("decode", "compose", "encode"):
        monkeypatch.setattr(Alphabet, way, refused)
    asked = Counter[bytes]()
    planes = Alphabet.planes
    monkeypatch.setattr(
        Alphabet, "planes", lambda own, levels: asked.update([bytes(levels)]) or planes(own, levels)
    )
    assert to_c(stored) == expected
    assert set(asked.values()) == {1}
