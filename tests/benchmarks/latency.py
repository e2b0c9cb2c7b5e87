"""Nanoseconds a row of the C code of what `auto` makes, beside the SVM's and boosting's.

`python -m tests.benchmarks.latency [SET…]`: each model is trained on all rows of a set; ours is
exported to its C header and compiled with `cc -O2` (encoding included), the others predict all
rows at once, in their own compiled loops. Processor time, the least of five runs.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from qnn.networks.exports.c_header import to_c
from qnn.networks.quantized import QuantizedNetwork
from tests.benchmarks.nested import auto_network, load

SETS = ("wdbc", "pima")
ROWS = 20_000
MAIN = """
#include <stdio.h>
#include <time.h>
#include "network.h"
static double rows[ROWS][QNN_COLUMNS];
int main(void)
{
    double best = 1e9, sum = 0.0;
    size_t got = fread(rows, sizeof rows[0], ROWS, stdin);
    for (int run = 0; run < 5; run++) {
        clock_t begin = clock();
        for (size_t r = 0; r < got; r++)
            sum += qnn_score(rows[r]);
        double spent = (double)(clock() - begin) / CLOCKS_PER_SEC;
        best = spent < best ? spent : best;
    }
    fprintf(stderr, "%g", sum);
    printf("%.1f", 1e9 * best / got);
    return 0;
}
"""


def in_c(network: QuantizedNetwork, rows: np.ndarray) -> float:
    """Nanoseconds a row of the compiled header, rows (n, columns) as they are in the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "network.h").write_text(to_c(network))
        (place / "main.c").write_text(MAIN.replace("ROWS", str(len(rows))))
        command = ["cc", "-O2", "-o", str(place / "main"), str(place / "main.c"), "-lm"]
        subprocess.run(command, check=True)
        data = np.ascontiguousarray(rows, dtype=np.float64).tobytes()
        done = subprocess.run([str(place / "main")], input=data, capture_output=True, check=True)
    return float(done.stdout)


def in_batch(predict: Callable[[np.ndarray], object], rows: np.ndarray) -> float:
    """Nanoseconds a row of one call on all rows."""
    times = []
    for _ in range(5):
        began = time.process_time()
        predict(rows)
        times.append(time.process_time() - began)
    return 1e9 * min(times) / len(rows)


def main() -> None:
    print("| set | ours in C, with encoding | RBF-SVM | boosting |\n|---|---|---|---|")
    with threadpool_limits(1):
        for name in sys.argv[1:] or SETS:
            table, target = load(name)
            network, preprocessing, _ = auto_network((table, target), 0)
            raw = table.to_numpy(dtype=np.float64)
            many = np.tile(raw, (-(-ROWS // len(raw)), 1))[:ROWS]
            scaled = (raw - raw.mean(axis=0)) / raw.std(axis=0)
            wide = np.tile(scaled, (-(-ROWS // len(raw)), 1))[:ROWS]
            ours = in_c(replace(network, preprocessing=preprocessing), many)
            svm = in_batch(SVC(C=10).fit(scaled, target).decision_function, wide)
            trees = HistGradientBoostingClassifier(max_iter=60).fit(scaled, target)
            boosting = in_batch(trees.decision_function, wide)
            print(f"| {name} | {ours:.0f} | {svm:.0f} | {boosting:.0f} |", flush=True)


if __name__ == "__main__":
    main()
