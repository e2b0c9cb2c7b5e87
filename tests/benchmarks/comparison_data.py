"""Data of the comparison that are no files: `python -m tests.benchmarks.comparison_data FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

ROWS, COLUMNS, NEURONS, NOISE = 500, 16, 12, 0.1


def planted() -> pd.DataFrame:
    """Outputs of a random ±1 bilinear network on normal rows, with noise a tenth of their size."""
    rng = np.random.default_rng(0)
    X = np.round(rng.standard_normal((ROWS, COLUMNS)), 4)
    U, V = rng.choice([-1.0, 1.0], (2, COLUMNS, NEURONS))
    f = ((X @ U) * (X @ V)) @ rng.standard_normal(NEURONS)
    y = f / f.std() + NOISE * rng.standard_normal(ROWS)
    table = pd.DataFrame(X, columns=[f"x{j}" for j in range(COLUMNS)])
    return table.assign(target=np.round(y, 6))


def digit(label: int) -> pd.DataFrame:
    """scikit-learn's 8×8 digits, one against all."""
    X, y = load_digits(return_X_y=True)
    table = pd.DataFrame(X, columns=[f"p{j}" for j in range(X.shape[1])])
    return table.assign(target=(y == label).astype(int))


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    planted().to_csv(folder / "planted.csv", index=False)
    digit(3).to_csv(folder / "digits_3.csv", index=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
