"""The versions of a registered model: a sweep's champion becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.results.summary import Metric, Shown, percent
from pipeline.tracking import text
from pipeline.tracking.aliases import CHAMPION, is_there
from pipeline.tracking.run import TrackedRun
from pipeline.tracking.store import SWEEP_TAG, TRIAL_TAG, Store, pointed_at

CERTIFICATE_PAGE = "certificate.html"
MODEL_TAG = "qnn.model_id"


def register(
    store: Store,
    name: str,
    run: TrackedRun,
    shown: Shown,
    metric: Metric,
    sweep: str,
    against: Sequence[str] = (),
) -> str:
    """The version of the model `name` that is the network of `run`; made where there is none yet.

    `sweep`: the key of the sweep, which the version is tagged with; `against`: what speaks against
    its use. Raises what MLflow raises.
    """
    client, page = store.client, f"#/experiments/{store.experiment_id}/runs/{run.run_id}"
    _make_model(client, name)
    found = _version_of(client, name, run.run_id)
    if found is not None:
        return found
    model = run.tags[MODEL_TAG]
    # Only by the global URI does MLflow find the logged model that the source names.
    with pointed_at(store):
        made = client.create_model_version(
            name,
            source=f"models:/{model}",
            run_id=run.run_id,
            model_id=model,
            description=text.version_description(shown, metric, page, against),
            tags={
                **({"qnn.not_promoted": "; ".join(against)} if against else {}),
                "run": page,
                "certificate": f"{page}/artifacts/certificate/{CERTIFICATE_PAGE}",
                "certified_gap": percent(shown.row.fit.gap),
                TRIAL_TAG: shown.row.identity.trial,
                SWEEP_TAG: sweep,
            },
        )
    return str(made.version)


def _make_model(client: Any, name: str) -> None:
    if not is_there(client.get_registered_model, name):
        client.create_registered_model(name, description=(
            "Quantized networks with a proven bound on how far from optimal they can be. The "
            f"alias `{CHAMPION}` is on the one to use."))  # fmt: skip


def version_of_sweep(client: Any, name: str, sweep: str, trial: str) -> Any:
    """The version that the sweep with this key has registered of a trial; None without one."""
    told = {SWEEP_TAG: sweep, TRIAL_TAG: trial}.items()
    return next((one for one in _versions(client, name) if told <= one.tags.items()), None)


def _version_of(client: Any, name: str, run_id: str) -> str | None:
    return next((str(v.version) for v in _versions(client, name) if v.run_id == run_id), None)


def _versions(client: Any, name: str) -> Iterable[Any]:
    # The configuration takes no name with an apostrophe.
    found: Iterable[Any] = client.search_model_versions(f"name = '{name}'")
    return found
