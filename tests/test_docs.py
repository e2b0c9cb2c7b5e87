"""What the documents show runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.configuration.reading import parse_config
from pipeline.configuration.retraining import RetrainConfig
from pipeline.studies.distributed.config import DistributedConfig
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.tracking import tracker
from qnn.features.scalings import SCALINGS
from qnn.losses import LOSSES
from qnn.networks.alphabets import ALPHABETS
from qnn.training.arms import ARMS
from qnn.training.relaxation import SOLVERS
from tests.benchmarks import scaling
from tests.pipeline.tracked import new_folder

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", flags=re.MULTILINE)


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("document", ["README.md", "docs/networks.md"])
def test_python_examples_run(document: str) -> None:
    code = blocks(document, "python")
    assert code
    for block in code:
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "<= any network; this one:" in done.stdout


def test_the_example_of_the_hierarchy_page_runs() -> None:
    (block,) = blocks("docs/hierarchy.md", "python")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    first, again, colours = done.stdout.splitlines()
    assert first.startswith("536.0 is the maximum: True")
    assert again == "proven again: 536.0"
    assert colours == "6.0 <= any assignment <= 6.0"


def test_the_examples_of_the_large_scale_page_run(tmp_path: Path) -> None:
    (text,) = blocks("docs/large_scale.md", "yaml")
    config = parse_config(text, str(tmp_path / "clicks.yaml"), (), DistributedConfig)
    assert config.distributed.actors == 8
    (code,) = blocks("docs/large_scale.md", "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "True"]


def test_the_table_of_larger_sizes_is_computed_from_what_was_measured() -> None:
    text = (ROOT / "docs/large_scale.md").read_text(encoding="utf-8")
    assert "\n".join(scaling.lines()) + "\n" in text
    assert scaling.gathered(8) == (8, 8)
    assert scaling.gathered(1000) == (1000 + 125 + 16 + 2, 7 + 7 + 7 + 2)


def test_the_examples_of_the_exports_page_run(tmp_path: Path) -> None:
    block, from_mlflow = blocks("docs/exports.md", "python")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "largest difference of scores" in done.stdout
    folder = new_folder(tmp_path / "out" / "churn")
    lines = ["tenure,plan,churned"]
    lines += [f"{k % 13},{'abc'[k % 3]},{'yes' if k % 13 > 5 else 'no'}" for k in range(60)]
    (tmp_path / "churn.csv").write_text("\n".join(lines) + "\n")
    config = parse_config(
        f"name: churn\ndata: {{source: {tmp_path}/churn.csv, target: churned}}\n"
        "shards: {kind: kfold, count: 2}\nbeta: {fractions: [0.1]}\nseeds: [0]\nwidths: [4]\n"
        "rounding: [refined]\ntracking: {top: 0}\n",
        "churn.yaml",
    )
    run_sweep(config, folder.location, SweepOptions(inline=True), start_tracking=tracker.start)
    done = subprocess.run(
        [sys.executable, "-c", from_mlflow], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    columns, labels, scores = done.stdout.splitlines()
    assert columns == "['tenure', 'plan']"
    assert set(re.findall("yes|no", labels)) <= {"yes", "no"}
    assert len(re.findall(r"\d\.\d", scores)) == 3


def test_the_example_of_the_post_training_page_runs() -> None:
    (block,) = blocks("docs/post_training.md", "python")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("proven gap") == 2


def test_the_example_of_the_bell_page_runs() -> None:
    (block,) = blocks("docs/bell.md", "python")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "{'inside': 500, 'outside': 500, 'inconclusive': 0}" in done.stdout
    assert "local 2.0" in done.stdout


def test_the_example_of_the_robustness_page_runs(tmp_path: Path) -> None:
    block = "\n".join(blocks("docs/robustness.md", "python"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("robust ")
    assert "<= largest loss <=" in done.stdout


def test_the_yaml_of_the_readme_is_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "churn.csv").write_text("a,churned\n1,yes\n")
    for block in blocks("README.md", "yaml"):
        config = parse_config(block, str(tmp_path / "churn.yaml"))
        assert config.name == "churn"


def test_the_checker_of_the_formats_page_accepts_a_run_and_catches_tampering(
    tmp_path: Path,
) -> None:
    checker, _ = blocks("docs/formats.md", "python")
    data = ROOT / "tests" / "data" / "pima.csv"
    config = parse_config(
        f"name: docs\ndata: {{source: {data}, positive: pos}}\n"
        "shards: {kind: parts, count: 2, validation_fraction: 0.5}\n"
        "beta: {fractions: [0.3, 0.1]}\nseeds: [0]\nwidths: [4]\n",
        str(tmp_path / "docs.yaml"),
    )
    out = tmp_path / "out"
    run_sweep(config, str(out), SweepOptions(inline=True))

    def check() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", checker, str(out)], capture_output=True, text=True
        )

    done = check()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9  # 2 shards x 2 beta x 2 roundings, and the champion
    assert all(" ok " in line for line in lines)

    import pyarrow.parquet as pq

    for path in (out / "data").rglob("*.parquet"):
        table = pq.read_table(path)
        column = table["x0"].to_numpy().copy()
        column[0] += 1e-9
        pq.write_table(table.set_column(0, "x0", [column]), path)
    done = check()
    assert done.returncode == 1
    assert " ok " not in done.stdout


@pytest.mark.parametrize(
    "document", [path.relative_to(ROOT) for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]]
)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target, place in LINK.findall(text):
        page = (ROOT / document).parent.joinpath(target) if target else ROOT / document
        assert page.exists(), f"{document}: {target}"
        assert not place or place in anchors(page), f"{document}: {target}#{place}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {words.replace(" ", "-") for words in plain}


def test_the_yaml_of_the_retraining_page_is_the_defaults() -> None:
    (block,) = blocks("docs/retraining.md", "yaml")
    sweep = "name: x\ndata: {source: x}\nshards: {kind: kfold, count: 2}\nbeta: {values: [1]}\n"
    config = parse_config(sweep + block, "retraining.md")
    assert config.retrain == RetrainConfig()


@pytest.mark.parametrize(
    ("document", "registry"),
    [
        ("docs/networks.md", LOSSES),
        ("docs/networks.md", ALPHABETS),
        ("docs/solvers.md", SOLVERS),
        ("docs/encoders.md", SCALINGS),
        ("docs/comparison.md", ARMS),
    ],
    ids=["losses", "alphabets", "solvers", "scalings", "arms"],
)
def test_tables_of_choices_are_those_of_the_registries(document: str, registry: Any) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    first = re.findall(r"^\| (`[^|]*) \|", text, flags=re.MULTILINE)
    listed = [name for cell in first for name in re.findall(r"`([\w-]+)`", cell)]
    names = [name for name in registry if isinstance(name, str)]
    assert [name for name in names if name not in listed] == []
