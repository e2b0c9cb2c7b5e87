"""SDP-FO of jax_verify 1.0 on one target, run by `robustness_peer` in an environment of its own.

`PYTHON -m tests.benchmarks.sdp_first_order QUESTION.npz STEPS STEPS STEPS`: the settings are those
that its authors give for their PGD-trained MLP, but for the lengths of the three phases. A line a
step: its bound of the target's score less the label's (float32, not proven) and the processor
seconds since the start of the first step's compilation. Needs numpy, jax, optax, dm-tree, absl-py,
chex and the package's source; nothing of this project.
"""

from __future__ import annotations

import importlib
import importlib.util
import resource
import sys
import time
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PACKAGES = ("jax_verify", "jax_verify.src", "jax_verify.src.sdp_verify")
# Of the rates of lambda, the last layer's nu and the corner of kappa.
LAMBDA, NU, CORNER = 0.1, 0.03, 1e4


def solver() -> tuple[Any, Any]:
    """Its modules, past the package's own `__init__`, which jax of today cannot import."""
    found = importlib.util.find_spec("jax_verify")
    if found is None or found.origin is None:
        raise SystemExit("jax_verify is not installed: pip install jax-verify==1.0 --no-deps")
    root = Path(found.origin).parent.parent
    for name in PACKAGES:
        module = types.ModuleType(name)
        module.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules[name] = module
    trees: Any = jax
    trees.tree_map = trees.tree_multimap = jax.tree_util.tree_map
    own = "jax_verify.src.sdp_verify"
    return importlib.import_module(f"{own}.sdp_verify"), importlib.import_module(f"{own}.utils")


def instance(utils: Any, question: Any) -> Any:
    """The question as its solver takes it, with the bounds of neurons that we use."""
    count = int(question["layers"])
    params = [
        (question[f"W{k}"].astype(np.float32), question[f"b{k}"].astype(np.float32))
        for k in range(count)
    ]
    bounds = [utils.IntBound(lb_pre=None, ub_pre=None, lb=question["low"], ub=question["high"])]
    for k in range(count):
        low, high = question[f"low{k}"], question[f"high{k}"]
        bounds.append(
            utils.IntBound(
                lb_pre=low, ub_pre=high, lb=np.maximum(low, 0.0), ub=np.maximum(high, 0.0)
            )
        )
    bounds = [
        utils.IntBound(*(None if v is None else jnp.asarray(v, jnp.float32)[None] for v in bound))
        for bound in bounds
    ]
    made = utils.make_relu_robust_verif_instance(
        params, bounds, target_label=int(question["target"]), label=int(question["label"])
    )
    return utils.make_sdp_verif_instance(made)


def main() -> None:
    steps = [int(text) for text in sys.argv[2:5]]
    sdp_verify, utils = solver()
    with np.load(sys.argv[1], allow_pickle=False) as question:
        problem = instance(utils, dict(question))
    last = len(problem.dual_shapes) - 1
    corner = jax.nn.one_hot(jnp.array([0]), int(problem.dual_shapes[-1][1])) * CORNER

    def rate(path: tuple[Any, ...]) -> Any:
        if last in path:
            return corner
        if "lam" in path:
            return LAMBDA
        return NU if path == (last - 1, "nu") else 1.0

    began = time.process_time()

    def told(text: str) -> None:
        print(text, time.process_time() - began, flush=True)

    sdp_verify.print = told
    bound, _ = sdp_verify.solve_sdp_dual(
        problem, num_steps=sum(steps), opt_multiplier_fn=rate, use_exact_eig_train=True,
        use_exact_eig_eval=True, eval_every=1000, opt_name="adam", anneal_factor=0.1, lr_init=1e-3,
        kappa_zero_after=steps[0] // 5, steps_per_anneal=[*steps[:-1], 10**9],
    )  # fmt: skip
    told(f"Final {bound}")
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
