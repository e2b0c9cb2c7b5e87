"""What a reviewer sees of a retraining: the decision, the drift, and which version is in use."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pipeline.results.folder import RunFolder
from pipeline.retraining.run import retrain
from pipeline.sweeps.driver import SweepOptions
from pipeline.tracking.store import Store, open_store
from tests.browser.pages import PATIENCE, MlflowReader, browser_page, keep, mlflow_server
from tests.pipeline.retraining.arriving import arrive, config, home_with_store
from tests.pipeline.tracked import runs_of

pytestmark = pytest.mark.slow


class Nights(MlflowReader):
    """Two promotions and a refusal, behind a server."""

    def __init__(self, page: Page, address: str, store: Store) -> None:
        super().__init__(page, address, store)
        self.runs = runs_of(store, "sweep")


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    root: Path = tmp_path_factory.mktemp("nights")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        data, home = root / "data", home_with_store(root / "home")
        settings = config(
            data, seeds=[0, 1], widths=[4, 8], beta={"fractions": [0.3, 0.05]},
            tracking={"top": 3}
        )  # fmt: skip
        arrive(data, "day-1.parquet", seed=1, count=100)
        verdicts = []
        for k, noise in ((2, 0.0), (3, 0.0), (4, 0.8)):
            arrive(data, f"day-{k}.parquet", seed=k, count=100 if noise == 0 else 600, noise=noise)
            if noise:
                arrive(data, "day-5.parquet", seed=5, count=200)
            done = retrain(settings, str(home), SweepOptions(inline=True))
            assert done.verdict is not None
            verdicts.append(done.verdict.word)
        assert verdicts == ["promoted", "promoted", "refused"]
        store = open_store(settings, RunFolder.open(home))
        with mlflow_server(store.uri, root) as address, browser_page() as page:
            yield Nights(page, address, store)


def test_the_list_of_nights(nights: Nights) -> None:
    page = nights.open(f"{nights.experiment}/runs")
    nights.sees("matching runs", "The sweeps with their key figures as columns")
    for name in ("day-2.parquet · promoted", "day-3.parquet · promoted", "day-5.parquet · refused"):
        link = page.get_by_role("link", name=f"arriving · {name}", exact=True)
        expect(link).to_be_visible(timeout=PATIENCE)
    keep(page, "retrain_runs")
    page.set_viewport_size({"width": 2000, "height": 900})
    page = nights.open(f"{nights.experiment}/runs?viewStateShareKey=qnn")
    nights.sees("matching runs", "champion_test_accuracy", "champion_gap", "qnn.verdict")
    keep(page, "retrain_columns")
    page.set_viewport_size({"width": 1440, "height": 1000})


def test_the_decision_on_a_night(nights: Nights) -> None:
    page = nights.open(f"{nights.experiment}/runs/{nights.runs[2].info.run_id}")
    nights.sees("Retraining: refused", "refused by the gate metric", "McNemar", "day-5.parquet")
    page.get_by_text("Show more").first.click()
    nights.sees("Drift of the 200 fresh rows", "what was found")
    keep(page, "retrain_decision", full=True)


def test_the_versions_and_their_aliases(nights: Nights) -> None:
    page = nights.open("#/models/arriving")
    nights.sees("Version 3", "Version 2", "Version 1", "champion", "previous")
    keep(page, "retrain_versions")


def test_why_a_version_was_refused(nights: Nights) -> None:
    page = nights.open("#/models/arriving/versions/3")
    nights.sees("qnn.verdict", "refused by the gate metric")
    keep(page, "retrain_version")


def test_networks_side_by_side(nights: Nights) -> None:
    children = [*runs_of(nights.store, "champion"), *runs_of(nights.store, "top")]
    ids = ",".join(f'"{run.info.run_id}"' for run in children)
    page = nights.open(f'#/compare-runs?runs=[{ids}]&experiments=["{nights.store.experiment_id}"]')
    nights.sees("Parallel Coordinates Plot")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    keep(page, "retrain_compare", full=True)


def test_drift_in_charts(nights: Nights) -> None:
    page = nights.open(f"{nights.experiment}/runs/{nights.runs[1].info.run_id}/model-metrics")
    nights.sees("psi_max", "drift", "gates")
    keep(page, "retrain_drift")
