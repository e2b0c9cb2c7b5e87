"""A results table with the columns and the habits of a real sweep, without solving anything."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pyarrow as pa

from pipeline.results.record import RESULTS_SCHEMA

METRICS = [f"{p}_{m}" for m in ("accuracy", "rmse", "r2") for p in ("train", "validation", "test")]


def results_table(
    *,
    shards: int = 5,
    betas: int = 12,
    seeds: int = 4,
    widths: tuple[int, ...] = (8, 32, 128),
    roundings: tuple[str, ...] = ("krivine", "refined"),
    task: str = "classification",
    dataset: str = "breast_cancer",
    failures: int = 0,
    refit: bool = True,
    error: str = "InputError: training part has one class only",
    n: int = 364,
    d: int = 31,
) -> pa.Table:
    """Rows of a sweep: gaps shrink with width, the refined rounding is better, accuracy peaks."""
    rng = np.random.default_rng(7)
    fractions = np.geomspace(0.5, 0.002, betas) if betas > 1 else np.array([0.05])
    rows: list[dict[str, object]] = []
    names = [f"fold-{k:02d}" for k in range(shards)]
    plan = [(s, f) for s in names for f in fractions]
    if refit:
        plan += [("all", fractions[min(betas - 1, 2 * betas // 3)])]
    for shard, fraction in plan:
        final = shard == "all"
        shift = 1.0 if final else 1.0 + 0.03 * rng.standard_normal()
        beta_max = 61.7 * shift
        rows_n = n + 91 if final else n
        relaxation = 0.5 * rows_n * shift * (0.07 + 0.93 * (1 - (1 - fraction) ** 6) ** 0.8)
        lower = relaxation * (1 - 5e-5)
        hardness = 0.06 + 0.25 * (1 - fraction) ** 4
        for rounding in roundings:
            for width in widths:
                for seed in range(seeds):
                    own = 3.0 if rounding == "krivine" else 1.0
                    ratio = 1 + own * hardness * (8 / width) ** 0.6 * np.exp(
                        0.2 * rng.standard_normal()
                    )
                    upper = relaxation * ratio
                    used = width if rounding == "krivine" else int(width * rng.uniform(0.6, 1))
                    peak = 0.965 - 0.035 * abs(np.log10(fraction / 0.02)) - 0.05 * (ratio - 1)
                    accuracies = np.clip(peak + [0.015, 0, -0.004] + 0.012 * rng.standard_normal(3),
                                         0.4, 1)  # fmt: skip
                    key = f"{shard}{fraction:.12g}{rounding}{width}{seed}{dataset}"
                    trial = hashlib.sha256(key.encode()).hexdigest()[:16]
                    problem = hashlib.sha256(key[:20].encode()).hexdigest()[:16]
                    row: dict[str, object] = {
                        "trial": trial,
                        "path": hashlib.sha256(shard.encode()).hexdigest()[:16],
                        "certificate": f"certificates/{problem}.npz",
                        "network": f"networks/{trial}.npz",
                        "dataset": dataset,
                        "shard": shard,
                        "beta": fraction * beta_max,
                        "beta_fraction": fraction,
                        "seed": seed,
                        "width": width,
                        "rounding": rounding,
                        "loss": "squared",
                        "activation": "bilinear",
                        "second_layer": "float",
                        "alphabet": "binary",
                        "certify": "relaxation",
                        "solver": "admm",
                        "lower_bound": lower,
                        "upper_bound": upper,
                        "gap": (upper - lower) / upper,
                        "relaxation_value": relaxation,
                        "loss_value": 0.6 * upper,
                        "neurons": used,
                        "bytes": -(-2 * d * used // 8) + 8,
                        "preprocessing_bytes": 16 * d,
                        "seconds": 0.02 * width**0.5,
                        "relaxation_seconds": 0.21,
                        "rounding_seconds": 0.02 * width**0.5,
                        "status": "ok",
                        "error": None,
                        "versions": json.dumps({"qnn-sdp": "0.1.0", "numpy": "2.4.6"}),
                        "n": rows_n,
                        "d": d,
                        "beta_max": beta_max,
                    } | dict.fromkeys(METRICS)
                    parts = ("train", "validation", "test")
                    for part, accuracy in zip(parts, accuracies, strict=True):
                        if final and part == "validation":
                            continue
                        if task == "classification":
                            row[f"{part}_accuracy"] = float(accuracy)
                        else:
                            row[f"{part}_rmse"] = float(2 - 1.6 * accuracy)
                            row[f"{part}_r2"] = float(accuracy)
                    rows.append(row)
    for row in rows[:failures]:
        blank = ["lower_bound", "upper_bound", "gap", "relaxation_value", "loss_value", "neurons",
                 "bytes", "preprocessing_bytes", "certificate", "network", *METRICS]  # fmt: skip
        row |= dict.fromkeys(blank) | {"status": "failed", "error": error}
    return pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)
