"""Files as offices write them go through a whole sweep."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.configuration.reading import parse_config
from pipeline.configuration.yaml_text import dump_yaml
from pipeline.results.folder import RunFolder
from pipeline.results.ledger import read_results
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.networks.quantized import QuantizedNetwork

ROWS = range(60)
PLANS = ("basic", '"premium, family"', "Zürich")
SITES = ("a%3Db", "Gen%C3%A8ve%2F2", "Z%C3%BCrich%201", "__HIVE_DEFAULT_PARTITION__")


def plain(folder: Path) -> str:
    lines = ["customer_id,tenure,charge,plan,churned"]
    lines += [f"C{k},{7 * k % 13},{k / 7:.2f},{PLANS[k % 3]},{_label(k)}" for k in ROWS]
    (folder / "plain.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return "plain.csv"


def indexed(folder: Path) -> str:
    """With the index of the frame that it was written from, under an empty header."""
    lines = [",tenure,charge,plan,churned"]
    lines += [f"{k},{7 * k % 13},{k / 7:.2f},{PLANS[k % 3]},{_label(k)}" for k in ROWS]
    (folder / "index.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return "index.csv"


def hive(folder: Path) -> str:
    """Partitions whose values have signs of their own, and the one without a value."""
    for part, site in enumerate(SITES):
        own = [k for k in ROWS if k % len(SITES) == part]
        place = folder / "hive" / f"site={site}"
        place.mkdir(parents=True)
        columns = {"tenure": [7 * k % 13 for k in own], "churned": [_label(k) for k in own]}
        pq.write_table(pa.table(columns), place / "0.parquet")
    return "hive"


def _label(k: int) -> str:
    return "yes" if 7 * k % 13 > 5 else "no"


@pytest.mark.parametrize(
    ("write", "exclude", "names"),
    [
        (plain, ["customer_id"], {"tenure", "charge", "plan"}),
        (indexed, [], {"tenure", "charge", "plan"}),
        (hive, [], {"tenure", "site"}),
    ],
)
def test_a_file_of_its_kind_goes_through_a_sweep(write, exclude, names, tmp_path: Path) -> None:
    missing = "impute" if write is hive else "refuse"
    tree = {
        "name": "case",
        "data": {"source": str(tmp_path / write(tmp_path)), "target": "churned",
                 "exclude": exclude, "missing": missing},
        "shards": {"kind": "kfold", "count": 2}, "beta": {"fractions": [0.1]},
        "seeds": [0], "widths": [4], "rounding": ["refined"],
    }  # fmt: skip
    out = tmp_path / "out"
    done = run_sweep(parse_config(dump_yaml(tree), "c.yaml"), str(out), SweepOptions(inline=True))
    assert (done.exit_code, done.failed) == (0, 0)
    rows = read_results(RunFolder.open(out)).to_pylist()
    assert rows
    network = QuantizedNetwork.load(out / rows[0]["network"])
    layout = network.preprocessing.layout
    assert {column.name for column in layout.kept} == names
    places = {column.name: column.categories for column in layout.kept if column.categories}
    if write is hive:
        assert {"a=b", "Genève/2", "Zürich 1"} <= set(places["site"])
    else:
        assert set(places["plan"]) == {"basic", "premium, family", "Zürich"}
