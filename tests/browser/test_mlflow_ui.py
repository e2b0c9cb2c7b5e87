"""What a reviewer sees in MLflow, in a real browser on a real server over the embedded store."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker as tracking
from pipeline.tracking.store import Store, open_store
from tests.browser.pages import PATIENCE, MlflowReader, browser_page, keep, mlflow_server
from tests.pipeline.small import small_config
from tests.pipeline.tracked import new_folder, runs_of

pytestmark = pytest.mark.slow


class Reviewer(MlflowReader):
    """A browser on the server, and the ids that its addresses need."""

    def __init__(self, page: Page, address: str, store: Store) -> None:
        super().__init__(page, address, store)
        (self.sweep,) = runs_of(store, "sweep")
        (self.champion,) = runs_of(store, "champion")

    def run(self, run: Any, rest: str = "") -> str:
        return f"{self.experiment}/runs/{run.info.run_id}{rest}"


@pytest.fixture(scope="module")
def reviewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewer]:
    root = tmp_path_factory.mktemp("ui")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        config = small_config(root, tracking={"top": 3}, certify="exact")
        folder = new_folder(root / "run")
        outcome = run_sweep(
            config, folder.location, SweepOptions(inline=True), start_tracking=tracking.start
        )
        assert outcome.tracking_error is None
        store = open_store(config, folder)
        with mlflow_server(store.uri, root) as address, browser_page() as page:
            yield Reviewer(page, address, store)


def test_the_runs_of_an_experiment(reviewer: Reviewer) -> None:
    page = reviewer.open(f"{reviewer.experiment}/runs")
    reviewer.sees("matching runs")
    expect(page.get_by_role("link", name="small", exact=True).first).to_be_visible()
    keep(page, "mlflow_runs")


def test_the_sweeps_page(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.sweep))
    reviewer.sees("Finished", "champion · ", "The chosen network", "How to check it", "qnn verify")
    keep(page, "mlflow_sweep", full=True)


def test_the_curves_along_beta(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.sweep, "/model-metrics"))
    reviewer.sees("lower_bound", "upper_bound", "gap")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    keep(page, "mlflow_curves")


def test_the_table_of_networks(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.sweep, "/artifacts/results/table.json"))
    reviewer.sees("View as table", "validation_accuracy", "test_accuracy")
    keep(page, "mlflow_table")


def test_a_figure(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.sweep, "/artifacts/figures/bounds.png"))
    reviewer.sees("figures/bounds.png")
    picture = page.locator("img[src^='blob:'], img[src*='artifact'], .image-outer-container img")
    expect(picture.first).to_be_visible(timeout=PATIENCE)
    keep(page, "mlflow_figure")


def test_the_report_beside_the_run(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.sweep, "/artifacts/report.html"))
    frame = page.frame_locator("iframe").first
    heading = frame.get_by_role("heading", name="How the bound was proven")
    expect(heading).to_be_visible(timeout=PATIENCE)
    # Which of its two widths shows depends on the frame's.
    expect(frame.locator("figure svg:visible").first).to_be_visible(timeout=PATIENCE)
    keep(page, "mlflow_report")


def test_the_certificate_as_a_page(reviewer: Reviewer) -> None:
    place = "/artifacts/certificate/certificate.html"
    page = reviewer.open(reviewer.run(reviewer.champion, place))
    frame = page.frame_locator("iframe").first
    expect(frame.get_by_role("heading", name="What is proven")).to_be_visible(timeout=PATIENCE)
    expect(frame.get_by_role("heading", name="How to check it")).to_be_visible(timeout=PATIENCE)
    keep(page, "mlflow_certificate")


def test_the_registered_version(reviewer: Reviewer) -> None:
    page = reviewer.open("#/models/small/versions/1")
    reviewer.sees("champion", "No network of any width gets below", "certified_gap")
    run = reviewer.champion.info.run_id
    assert page.locator(f"a[href*='{run}']").count() >= 1
    keep(page, "mlflow_version")


def test_the_networks_beside_each_other(reviewer: Reviewer) -> None:
    """Parallel coordinates: a line for each of the best networks, from its settings to its gap."""
    runs = [run.info.run_id for run in runs_of(reviewer.store, "top")]
    assert len(runs) == 3
    chosen = {"runs": json.dumps(runs), "experiments": json.dumps([reviewer.store.experiment_id])}
    page = reviewer.open(f"#/compare-runs?{urlencode(chosen)}")
    reviewer.sees("Comparing 3 Runs", "Parallel Coordinates Plot")
    expect(page.locator(".js-plotly-plot .parcoords").first).to_be_attached(timeout=PATIENCE)
    keep(page, "mlflow_parallel")


def test_the_bounds_close_in_over_time(reviewer: Reviewer) -> None:
    page = reviewer.open(reviewer.run(reviewer.champion, "/model-metrics"))
    reviewer.sees("over_time", "lower_bound", "upper_bound")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=PATIENCE)
    keep(page, "mlflow_over_time")
