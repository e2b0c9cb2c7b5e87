"""How far a decoder's images can get: `python -m tests.benchmarks.reconstruction [--mnist FILE]`.

A variational autoencoder 784-64-8-64-784 is trained here, on Fashion-MNIST (Debian's
dataset-fashion-mnist) or on a file of MNIST digits. Of test images: the largest reconstruction loss
while each latent stays within some of the encoder's deviations of its mean, by intervals, by the
squares of the outputs' linear bounds, by the dual and by branching, beside what attacks attain; and
how many images provably stay nearer than the mean image of the training set. Processor seconds of
one thread; all bounds are proven, and each certificate is checked once more.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from threadpoolctl import threadpool_limits

from qnn.robustness import Limits, Reconstruction, certify_reconstruction
from tests.benchmarks.adversarial_training import FOLDER, Array, fashion, mnist
from tests.benchmarks.autoencoder import Autoencoder, trained
from tests.benchmarks.measure import gib, machine, peak_bytes

EFFORTS = {"interval": "interval", "crown": "squares of linear bounds", "dual": "dual",
           "exact": "branch and bound"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mnist")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--latents", type=int, default=8)
    parser.add_argument("--deviations", type=float, nargs="+", default=[0.5, 1.0, 2.0, 3.0])
    parser.add_argument("--nodes", type=int, default=500, help="of the search of an image")
    arguments = parser.parse_args()
    print(machine())
    if arguments.mnist is None and not FOLDER.is_dir():
        print("no images: apt-get install dataset-fashion-mnist, or give --mnist")
        return
    with threadpool_limits(1):
        images = mnist(arguments.mnist) if arguments.mnist else _fashion()
        (X, _), (T, _) = images
        began = time.process_time()
        model = trained(X, arguments.hidden, arguments.latents, 40)
        means, _ = model.latents(T)
        loss = ((model.decoder.scores(means) - T) ** 2).sum(axis=1).mean()
        mean_image = X.mean(axis=0)
        print(
            f"784-{arguments.hidden}-{arguments.latents}-{arguments.hidden}-784, trained in "
            f"{time.process_time() - began:.0f} s: mean loss {loss:.1f} of {len(T)} test images, "
            f"{((T - mean_image) ** 2).sum(axis=1).mean():.1f} of the mean image",
            flush=True,
        )
        for factor in arguments.deviations:
            bounds(model, T[: arguments.images], mean_image, factor, arguments.nodes)
    print(f"peak {gib(peak_bytes())}; {machine()}")


def _fashion() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return fashion("train", 6000), fashion("t10k", 500)


def bounds(model: Autoencoder, T: Array, mean_image: Array, factor: float, nodes: int) -> None:
    """Both sides of the largest loss of each image, by each means."""
    means, deviations = model.latents(T)
    thresholds = ((T - mean_image) ** 2).sum(axis=1)
    print(f"\nlatents within {factor:g} deviations, {len(T)} images")
    print("| bound | median | mean over the best attack's | below threshold | s an image |")
    print("|---|---|---|---|---|")
    found: dict[str, list[Reconstruction]] = {effort: [] for effort in EFFORTS}
    for z, s, x in zip(means, deviations, T, strict=True):
        for effort, kept in found.items():
            kept.append(
                certify_reconstruction(
                    model.decoder, z, x, factor * s, effort=effort,
                    search=Limits(nodes=nodes, gap=1e-3),
                )
            )  # fmt: skip
            kept[-1].verify(model.decoder)
    best = np.max([[one.lower_bound for one in kept] for kept in found.values()], axis=0)
    start = ((model.decoder.scores(means) - T) ** 2).sum(axis=1)
    print(f"| at the mean | {np.median(start):.1f} | | {np.mean(start <= thresholds):.0%} | |")
    print(f"| attack | {np.median(best):.1f} | 1 | {np.mean(best <= thresholds):.0%} | |")
    for effort, kept in found.items():
        proven = np.array([one.upper_bound for one in kept])
        print(
            f"| {EFFORTS[effort]} | {np.median(proven):.1f} | {np.mean(proven / best):.4g} | "
            f"{np.mean(proven <= thresholds):.0%} | "
            f"{np.mean([one.seconds for one in kept]):.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
