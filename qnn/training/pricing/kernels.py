"""The compiled loops of the enumeration; see `enumeration.py` for what they prove."""

import numpy as np

from qnn.numerics.compiled import compiled


@compiled(inline="always")
def _term(s: np.int16, t: np.int16) -> np.uint16:
    return np.uint16(abs(np.int16(s + t)))


@compiled(nogil=True)
def _row_sums(sums: np.ndarray, table: np.ndarray, total: np.ndarray) -> np.uint16:
    """`total[k] = Σ_i |sums[i] + table[i, k]|` in 16 bits, and its maximum; rows by eights."""
    height, width = table.shape
    for k in range(width):
        total[k] = 0
    for i in range(0, height, 8):
        s0, s1, s2, s3 = sums[i], sums[i + 1], sums[i + 2], sums[i + 3]
        s4, s5, s6, s7 = sums[i + 4], sums[i + 5], sums[i + 6], sums[i + 7]
        t0, t1, t2, t3 = table[i], table[i + 1], table[i + 2], table[i + 3]
        t4, t5, t6, t7 = table[i + 4], table[i + 5], table[i + 6], table[i + 7]
        for k in range(width):
            total[k] = np.uint16(
                total[k]
                + _term(s0, t0[k])
                + _term(s1, t1[k])
                + _term(s2, t2[k])
                + _term(s3, t3[k])
                + _term(s4, t4[k])
                + _term(s5, t5[k])
                + _term(s6, t6[k])
                + _term(s7, t7[k])
            )
    largest = np.uint16(0)
    for k in range(width):
        largest = max(largest, total[k])
    return largest


@compiled(nogil=True)
def decode(position: int, tails: int, heads: int, u: np.ndarray) -> None:
    """Write the signs of a position `head index · 2^tails + tail` into u (d,)."""
    index = position >> tails
    gray = index ^ (index >> 1)
    for i in range(heads):
        u[i] = -1.0 if (gray >> i) & 1 else 1.0
    for i in range(tails):
        u[heads + i] = -1.0 if (position >> i) & 1 else 1.0
    u[heads + tails] = 1.0


@compiled(nogil=True)
def _head(index: int, heads: int) -> np.ndarray:
    """The signs of the Gray code's head `index`, (heads,) int64."""
    head = np.empty(heads, dtype=np.int64)
    gray = index ^ (index >> 1)
    for i in range(heads):
        head[i] = -1 if (gray >> i) & 1 else 1
    return head


@compiled(nogil=True)
def _norm(M: np.ndarray, u: np.ndarray) -> float:
    """`‖Mu‖₁`, M (d, d), u (d,)."""
    total = 0.0
    for i in range(M.shape[0]):
        entry = 0.0
        for j in range(M.shape[1]):
            entry += M[i, j] * u[j]
        total += abs(entry)
    return total


@compiled(nogil=True)
def scan_products(
    start: int,
    stop: int,
    fixed: np.ndarray,
    table: np.ndarray,
    M: np.ndarray,
    scale: float,
    floor: float,
    keep: int,
    largest: float,
    least: float,
    values: np.ndarray,
    positions: np.ndarray,
) -> int:
    """Scan the heads start … stop; the best vectors go to values and positions, their number back.

    fixed (h, height) int64: the scaled columns of M of the head's entries, 32 fraction bits. table
    (height, 2^t) int16. A vector is evaluated where its integer sum does not prove it to be below
    `min(largest, max(floor, least))`, and kept where its value reaches that.
    """
    heads, height = fixed.shape
    width = table.shape[1]
    d = M.shape[0]
    tails = d - 1 - heads
    exact = np.zeros(height, dtype=np.int64)
    sums = np.zeros(height, dtype=np.int16)
    total = np.zeros(width, dtype=np.uint16)
    u = np.empty(d)
    half = np.int64(1) << 31
    head = _head(start, heads)
    for i in range(heads):
        for row in range(height):
            exact[row] += head[i] * fixed[i, row]
    threshold = min(largest, max(floor, least))
    # Compared in floats: −inf and anything beyond 16 bits are as good as any other limit.
    limit = scale * threshold - (d + 1.0)
    count = 0
    for index in range(start, stop):
        for row in range(height):
            sums[row] = np.int16((exact[row] + half) >> 32)
        if _row_sums(sums, table, total) >= limit:
            for k in range(width):
                if total[k] < limit:
                    continue
                position = (index << tails) + k
                decode(position, tails, heads, u)
                value = _norm(M, u)
                if value < threshold:
                    continue
                count, least = _record(value, position, count, keep, least, values, positions)
                largest = max(largest, value)
                threshold = min(largest, max(floor, least))
                limit = scale * threshold - (d + 1.0)
        # The next head of the Gray code differs in the entry of the lowest bit set in index + 1.
        if index + 1 < stop:
            flipped, sign = _flip(index + 1)
            for row in range(height):
                exact[row] += 2 * sign * fixed[flipped, row]
    return count


@compiled(nogil=True)
def _record(
    value: float,
    position: int,
    count: int,
    keep: int,
    least: float,
    values: np.ndarray,
    positions: np.ndarray,
) -> tuple[int, float]:
    """Add one vector to the `count` in the buffers; their number, and what the `keep` best reach.

    When they are full the `keep` best stay, ties in order of position.
    """
    if count == len(values):
        order = np.argsort(-values, kind="mergesort")[:keep]
        values[:keep] = values[order]
        positions[:keep] = positions[order]
        count, least = keep, max(least, values[keep - 1])
    values[count] = value
    positions[count] = position
    return count + 1, least


@compiled(nogil=True)
def _flip(index: int) -> tuple[int, int]:
    """The entry in which the Gray code's head `index` differs from the one before, and its sign."""
    flipped = 0
    while (index >> flipped) & 1 == 0:
        flipped += 1
    gray = index ^ (index >> 1)
    return flipped, -1 if (gray >> flipped) & 1 else 1


@compiled(nogil=True)
def _add_row(sums: np.ndarray, row: np.ndarray, sign: int) -> tuple[np.int32, np.int32]:
    """`sums += sign · row` in 32 bits, in place; the least and the largest sum after that."""
    lowest, highest = np.int32(2**31 - 1), np.int32(-(2**31))
    if sign > 0:
        for k in range(len(sums)):
            new = np.int32(sums[k] + row[k])
            sums[k] = new
            lowest, highest = min(lowest, new), max(highest, new)
    else:
        for k in range(len(sums)):
            new = np.int32(sums[k] - row[k])
            sums[k] = new
            lowest, highest = min(lowest, new), max(highest, new)
    return lowest, highest


@compiled(nogil=True)
def _form(M: np.ndarray, u: np.ndarray) -> float:
    """`uᵀMu`, M (d, d), u (d,)."""
    total = 0.0
    for i in range(M.shape[0]):
        entry = 0.0
        for j in range(M.shape[1]):
            entry += M[i, j] * u[j]
        total += u[i] * entry
    return total


@compiled(nogil=True)
def _limits(threshold: float, trace: float, scale: float, d: int) -> tuple[float, float]:
    """Integer sums between these prove `|uᵀMu|` to be below the threshold."""
    slack = 0.25 * d * d + 2.0 + 2.0**-50 * scale * (abs(threshold) + abs(trace))
    return -0.5 * scale * (threshold + trace) + slack, 0.5 * scale * (threshold - trace) - slack


@compiled(nogil=True)
def scan_forms(
    start: int,
    stop: int,
    integers: np.ndarray,
    rows: np.ndarray,
    base: np.ndarray,
    M: np.ndarray,
    scale: float,
    floor: float,
    keep: int,
    largest: float,
    least: float,
    values: np.ndarray,
    positions: np.ndarray,
) -> int:
    """Scan `|uᵀMu|` over the heads start … stop, as `scan_products` scans `‖Mu‖₁`.

    integers (h, h) int64: the scaled entries of M between the head's entries, zeros on the
    diagonal. rows (h, 2^t) int32: twice the scaled rows' sums over the tails. base (2^t) int32: the
    tails' own pairs. Sums over pairs i < j are half of `scale · (uᵀMu − tr M)`, but for rounding.
    """
    heads, width = rows.shape
    d = M.shape[0]
    tails = d - 1 - heads
    trace = 0.0
    for i in range(d):
        trace += M[i, i]
    u, head = np.empty(d), _head(start, heads)
    # Of the head alone: its pairs, and what each entry's row gives.
    inner = np.zeros(heads, dtype=np.int64)
    own = np.int64(0)
    sums = np.empty(width, dtype=np.int32)
    for k in range(width):
        total = np.int64(base[k])
        for i in range(heads):
            total += head[i] * (rows[i, k] >> 1)
        sums[k] = total
    for i in range(heads):
        for j in range(heads):
            inner[i] += integers[i, j] * head[j]
        own += head[i] * inner[i]
    own >>= 1
    lowest, highest = sums.min(), sums.max()
    threshold = min(largest, max(floor, least))
    below, above = _limits(threshold, trace, scale, d)
    count = 0
    for index in range(start, stop):
        if float(own + highest) >= above or float(own + lowest) <= below:
            for k in range(width):
                if below < float(own + sums[k]) < above:
                    continue
                position = (index << tails) + k
                decode(position, tails, heads, u)
                value = abs(_form(M, u))
                if value < threshold:
                    continue
                count, least = _record(value, position, count, keep, least, values, positions)
                largest = max(largest, value)
                threshold = min(largest, max(floor, least))
                below, above = _limits(threshold, trace, scale, d)
        if index + 1 < stop:
            flipped, sign = _flip(index + 1)
            lowest, highest = _add_row(sums, rows[flipped], sign)
            own += 2 * sign * inner[flipped]
            for i in range(heads):
                inner[i] += 2 * sign * integers[flipped, i]
    return count
