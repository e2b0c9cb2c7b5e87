"""Ten classes as one network: `python -m tests.benchmarks.digits [FRACTION…]`.

Digits of scikit-learn, every other row for training. One network of ten outputs for each fraction
of beta_max and width, and scikit-learn's classifiers on the same rows. The rows for testing choose
nothing. Prints Markdown.
"""

import sys
import time

from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from qnn.training.arms.references.cross_validation import size_in_bytes
from qnn.training.estimators import QuantizedClassifier

FRACTIONS = (0.03, 0.01, 0.003)
WIDTHS = (4, 8, 16, 32)


def main() -> None:
    X, y = load_digits(return_X_y=True)
    (X, y), test = (X[::2], y[::2]), (X[1::2], y[1::2])
    print("| model | test accuracy | neurons | uses | bytes | gap | seconds |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(1):
        for fraction in map(float, sys.argv[1:] or FRACTIONS):
            for width in WIDTHS:
                began = time.monotonic()
                model = QuantizedClassifier(
                    scaling="standardize", beta_fraction=fraction, width=width, random_state=0
                )
                network = model.fit(X, y).network_
                print(
                    f"| β/β_max {fraction:g}, {width} an output | {model.score(*test):.3f} | "
                    f"{network.neurons} | {(network.alpha != 0).sum()} | {network.size_in_bytes} | "
                    f"{model.gap_:.3f} | {time.monotonic() - began:.0f} |",
                    flush=True,
                )
        for name, reference in (
            ("logistic regression", LogisticRegression(max_iter=5000)),
            ("RBF-SVM", SVC()),
        ):
            began = time.monotonic()
            chain = make_pipeline(StandardScaler(), reference).fit(X, y)
            print(
                f"| {name} | {chain.score(*test):.3f} | | | {size_in_bytes(chain)} | | "
                f"{time.monotonic() - began:.0f} |"
            )


if __name__ == "__main__":
    main()
