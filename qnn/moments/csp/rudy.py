"""The instances "rudy" of the Biq Mac library, regenerated.

They come from G. Rinaldi's generator of that name, which takes its random numbers and its random
graphs from D. E. Knuth's Stanford GraphBase: subtractive numbers x_n = x_{n−55} − x_{n−24} mod
2^31; pairs drawn until enough are different; at each vertex the newest edge first. The weights are
drawn in the order of the file by the same numbers from their start.
"""

import re

import numpy as np

from qnn.errors import InputError

Array = np.ndarray

_MASK = 2**31 - 1
# Families: density in percent, what the number of vertices counts for in the seed, weights.
_FAMILIES = {
    "g05": (50, 100, None),
    "pm1s": (10, 10, (-1, 1)),
    "pm1d": (99, 10, (-1, 1)),
    "pw01": (10, 10, (1, 10)),
    "pw05": (50, 10, (1, 10)),
    "pw09": (90, 10, (1, 10)),
    "w01": (10, 10, (-10, 10)),
    "w05": (50, 10, (-10, 10)),
    "w09": (90, 10, (-10, 10)),
}
_NAME = re.compile(r"(?P<family>[a-z0-9]+)_(?P<n>[1-9][0-9]{0,3})\.(?P<number>[0-9])")


class GraphBaseNumbers:
    """The portable random numbers of the Stanford GraphBase (program GB_FLIP), 31 bits each."""

    def __init__(self, seed: int) -> None:
        previous = shifted = seed & _MASK
        state, following, at = [0] * 56, 1, 21
        state[55] = previous
        while at:
            state[at] = following
            following = (previous - following) & _MASK
            shifted = (shifted >> 1) + (0x40000000 if shifted & 1 else 0)
            following = (following - shifted) & _MASK
            previous = state[at]
            at = (at + 21) % 55
        self.state = state
        for _ in range(5):
            self._cycle()
        # The first number of a cycle is taken with it, and these five are for warming up.
        self.left = 54

    def _cycle(self) -> None:
        state = self.state
        for i in range(1, 56):
            state[i] = (state[i] - state[i + 31 if i < 25 else i - 24]) & _MASK
        self.left = 55

    def following(self) -> int:
        """The next number, below 2^31."""
        if not self.left:
            self._cycle()
        self.left -= 1
        return self.state[self.left + 1]

    def below(self, m: int) -> int:
        """A number from 0 to m − 1, each as likely."""
        end = 2**31 - 2**31 % m
        while True:
            number = self.following()
            if number < end:
                return number % m


def parsed(name: str) -> tuple[str, int, int]:
    """Family, vertices and number of an instance's name. Raises InputError for no such name."""
    match = _NAME.fullmatch(name)
    if match is None or match["family"] not in _FAMILIES or int(match["n"]) < 3:
        families = ", ".join(_FAMILIES)
        raise InputError(
            f"{name!r} is no instance of the rudy generator: write FAMILY_N.NUMBER, as g05_60.0, "
            f"the family being one of {families}, the number 0 to 9"
        )
    return match["family"], int(match["n"]), int(match["number"])


def rudy_edges(name: str) -> tuple[int, Array, Array]:
    """Vertices n, edges (m, 2) from 0, and weights (m,), in the order of the file.

    name: "g05_60.0", "pm1d_80.3", …: family, vertices, number 0 to 9. Raises InputError for others.
    """
    family, n, number = parsed(name)
    density, factor, span = _FAMILIES[family]
    seed = factor * n + number
    edges = _random_graph(n, (n * (n - 1) * density + 100) // 200, GraphBaseNumbers(seed))
    if span is None:
        return n, edges, np.ones(len(edges))
    return n, edges, _weights(len(edges), span, GraphBaseNumbers(seed))


def rudy_text(name: str) -> str:
    """The file of an instance as the library has it, from 1 on."""
    n, edges, weights = rudy_edges(name)
    lines = [f"{n} {len(edges)} "]
    for (i, j), weight in zip(edges.tolist(), weights.tolist(), strict=True):
        lines.append(f"{i + 1} {j + 1} {int(weight)}")
    return "\n".join(lines) + "\n"


def _random_graph(n: int, m: int, numbers: GraphBaseNumbers) -> Array:
    taken: set[tuple[int, int]] = set()
    newest: list[list[int]] = [[] for _ in range(n)]
    while len(taken) < m:
        u, v = numbers.below(n), numbers.below(n)
        pair = min(u, v), max(u, v)
        if u == v or pair in taken:
            continue
        taken.add(pair)
        newest[pair[0]].append(pair[1])
    edges = [(u, v) for u in range(n) for v in reversed(newest[u])]
    return np.array(edges, dtype=np.int32).reshape(-1, 2)


def _weights(count: int, span: tuple[int, int], numbers: GraphBaseNumbers) -> Array:
    low, high = span
    if span == (-1, 1):
        return np.array([2.0 * numbers.below(2) - 1.0 for _ in range(count)])
    return np.array([float(low + numbers.below(high - low + 1)) for _ in range(count)])
