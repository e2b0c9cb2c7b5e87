"""Headless Chromium and a real MLflow server, for looking at pages as a reader sees them."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from pipeline.tracking.store import Store

CHROMIUM = "/usr/bin/chromium"
# Without these, Chromium looks for Google's servers at every start.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SHOTS = Path(__file__).parents[1] / "artifacts"
SERVER_PATIENCE = 120.0
# Milliseconds that a view may take to show what it should.
PATIENCE = 60_000


@contextmanager
def browser_page(width: int = 1440, height: int = 1000) -> Iterator[Page]:
    """A fresh page in headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


@contextmanager
def mlflow_server(uri: str, folder: Path) -> Iterator[str]:
    """A real `mlflow server` on loopback over an existing store; yields its address."""
    port = free_port()
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1",
               "--port", str(port), "--backend-store-uri", uri]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_until_up(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return once the server answers; raises if it dies or takes too long."""
    deadline = time.monotonic() + SERVER_PATIENCE
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"mlflow server ended with {server.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"{url} did not answer in {SERVER_PATIENCE} s")


class MlflowReader:
    """A browser on a server of MLflow, and the experiment that its addresses need."""

    def __init__(self, page: Page, address: str, store: Store) -> None:
        self.page, self.address, self.store = page, address, store
        self.experiment = f"#/experiments/{store.experiment_id}"

    def open(self, place: str) -> Page:
        # The UI is one page: without leaving it, a new address does not load a new view.
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/{place}")
        return self.page

    def sees(self, *texts: str) -> None:
        for text in texts:
            expect(self.page.get_by_text(text, exact=False).first).to_be_visible(timeout=PATIENCE)


def keep(page: Page, name: str, *, full: bool = False) -> None:
    """Save a screenshot among the test artifacts."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=full)
