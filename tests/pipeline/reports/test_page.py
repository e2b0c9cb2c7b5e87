import re
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.commands.cli import main
from pipeline.configuration.reading import SweepConfig, dump_config, parse_config
from pipeline.logs.redact import redact
from pipeline.reports.certificate import render_certificate
from pipeline.reports.page import ReportInput, collect, render_report, write_report
from pipeline.reports.tables import best_table
from pipeline.results import summary
from pipeline.results.folder import CONFIG_FILE, RunFolder
from pipeline.results.measures import PartMeasures
from pipeline.results.record import RESULTS_SCHEMA, NetworkRow
from qnn.certificates import Certificate
from qnn.errors import InputError
from tests.pipeline.synthetic import results_table
from tests.qnn.certificates.test_old_files import FOLDER as CERTIFICATES

EVIL = "<script>alert(1)</script>"
CONFIG = """
name: wdbc
data: {{source: "{source}", target: "{target}"}}
shards: {{kind: kfold, count: 5}}
beta: {{fractions: [0.5, 0.05, 0.005]}}
"""


def config(source: str = "sklearn:breast_cancer", target: str = "target") -> SweepConfig:
    return parse_config(CONFIG.format(source=source, target=target), "sweep.yaml")


class Outline(HTMLParser):
    """Tags by name, with their attributes, and the text of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.page = page
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def page(**changes: object) -> Outline:
    content = {"results": results_table(seeds=1, betas=3), "config": config(), **changes}
    return Outline(render_report(ReportInput(**content)))


@pytest.mark.parametrize(
    ("activation", "alphabet", "choices"),
    [
        ("bilinear", "binary", 4),
        ("bilinear", "ternary", 9),
        ("bilinear", "3", 64),
        ("polynomial", "binary", 2),
        ("polynomial", "ternary", 3),
        ("polynomial", "2", 4),
    ],
)
def test_how_many_choices_of_weights_there_are(
    activation: str, alphabet: str, choices: int
) -> None:
    rows = results_table(seeds=1, betas=2).to_pylist()
    rows = [{**row, "activation": activation, "alphabet": alphabet} for row in rows]
    shown = page(results=pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA))
    assert f"the weights of a neuron of d inputs are one of {choices}d choices." in shown.text
    assert f"one of {choices}<sup>d</sup> choices" in shown.page


def test_the_headline_is_the_final_refit_with_the_lowest_objective() -> None:
    table = results_table(seeds=2, betas=3)
    rows = [row for row in table.to_pylist() if row["shard"] == "all"]
    best = min(rows, key=lambda row: row["upper_bound"])
    text = page(results=table).text
    assert f"{100 * best['test_accuracy']:.1f} %" in text
    assert f"training objective of {best['upper_bound']:.6g}" in text
    assert f"gets below {best['lower_bound']:.6g}" in text
    assert best["certificate"] in text
    assert "qnn verify ." in text


@pytest.mark.parametrize(
    ("stored", "words"),
    [("float", "as float64"), ("8", "of 8 bits"), ("common", "of one size"), (None, "as float64")],
)
def test_the_headline_says_how_the_second_layer_is_stored(stored: str | None, words: str) -> None:
    table = results_table(seeds=1, betas=3)
    place = table.schema.get_field_index("second_layer")
    column = pa.array([stored] * table.num_rows, table.schema.field(place).type)
    text = page(results=table.set_column(place, table.schema.field(place), column)).text
    assert f"weights as bits, second layer {words}" in text


def test_nothing_is_loaded_from_anywhere() -> None:
    outline = page()
    assert not outline.named("link")
    assert not any("src" in script for script in outline.named("script"))
    assert not outline.named("img")
    assert len(outline.named("figure")) == 6
    figures = [tag for tag in outline.named("div") if tag.get("role") == "img"]
    assert len(figures) == 6
    assert all(tag["aria-label"] for tag in figures)
    pictures = [str(tag["class"]) for tag in outline.named("svg")]
    assert pictures.count("wide") == pictures.count("narrow") > 6
    inside = ("#", "networks/", "certificates/")
    assert all(str(link["href"]).startswith(inside) for link in outline.named("a"))


def test_the_contents_are_the_sections() -> None:
    outline = page()
    sections = [tag["id"] for tag in outline.named("section")]
    contents = outline.page.split("<nav")[1].split("</nav>")[0]
    assert re.findall(r'href="#([a-z-]+)"', contents) == sections
    assert {"champion", "figures", "best", "proof", "data", "run"} <= set(sections)


def test_what_a_row_is_stands_beside_its_figures() -> None:
    outline = page(results=results_table(seeds=2, betas=3))
    heads = [tag for tag in outline.named("th") if tag.get("scope") == "row"]
    assert heads
    said = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', outline.page)
    assert any(
        re.fullmatch(r"β / β max 0\.\d+, width \d+, refined, fold-\d+, seed \d", one)
        for one in said
    )
    # Each with a link to its network's file.
    rows = results_table(seeds=2, betas=3).to_pylist()
    files = {str(link["href"]) for link in outline.named("a")} & {row["network"] for row in rows}
    assert len(files) >= 10


def test_the_chosen_network_has_the_mean_that_chose_it() -> None:
    results = results_table(seeds=1, betas=3)
    data = summary.frame(results)
    champion = summary.champion_of(data)
    assert champion is not None
    axes = champion.row.axes
    searched = summary.searched(data)
    same = searched[(searched["beta_fraction"] == axes.beta_fraction)
                    & (searched["width"] == axes.width)
                    & (searched["rounding"] == axes.rounding)]  # fmt: skip
    mean = same["validation_accuracy"].mean()
    assert summary.mean_of_setting(data, champion) == pytest.approx(mean, rel=1e-12)
    table = best_table(data, summary.metric_of(data), champion)
    place = [column["title"] for column in table["columns"]].index(
        "validation accuracy, mean of setting"
    )
    first = table["rows"][0]
    assert first["chosen"]
    assert first["cells"][place]["text"] == f"{100 * mean:.1f} %"


@pytest.mark.parametrize(
    ("betas", "widths", "head", "detail"),
    [
        (1, (8,), "One network of the only setting, in", "The only setting, averaged"),
        (2, (8,), "One network of each of the 2 settings, in", "All 2 settings, averaged"),
        (13, (8, 32), "One network of each of the best 25 of 26 settings", "All 26 settings"),
    ],
)
def test_the_two_tables_count_settings_alike(
    betas: int, widths: tuple[int, ...], head: str, detail: str
) -> None:
    results = results_table(seeds=1, shards=2, betas=betas, widths=widths, roundings=("refined",))
    text = page(results=results).text
    assert head in text
    assert detail in text


def test_precision_and_recall_say_of_which_class_they_are() -> None:
    rows = results_table(seeds=1, betas=3).to_pylist()
    shares = {"test_precision": 0.5, "test_recall": 0.25, "test_balanced_accuracy": 0.6}
    results = pa.Table.from_pylist([{**row, **shares} for row in rows], schema=RESULTS_SCHEMA)
    text = page(results=results, positive="'yes'").text
    assert "precision of class 'yes'" in text
    assert "recall of class 'yes'" in text
    assert "accuracy of class" not in text
    assert "of class" not in page(results=results).text


@pytest.mark.parametrize("classes", [("'no'", "'yes'"), ("'a<b'", "'b'", "'c'")])
def test_counts_stand_by_true_and_by_predicted_class(classes: tuple[str, ...]) -> None:
    size = len(classes)
    counts = [1000 + 7 * k for k in range(size**2)]
    told = {"test_confusion": counts, "test_rows": sum(counts), "test_f1": 0.5}
    rows = [{**row, **told} for row in results_table(seeds=1, betas=2).to_pylist()]
    results = pa.Table.from_pylist(rows, schema=RESULTS_SCHEMA)
    text = page(results=results, classes=classes).page
    table = text.split('aria-label="Confusion matrix of the test rows"')[1].split("</table>")[0]
    heads = re.findall(r"<button[^>]*>([^<]*)<", table)
    assert [unescape(head) for head in heads] == [
        "true class", *(f"predicted {name}" for name in classes)
    ]  # fmt: skip
    lines = [re.findall(r"<t[hd][^>]*>([^<]*)</t", line) for line in table.split("<tr>")[2:]]
    assert [unescape(line[0]) for line in lines] == list(classes)
    shown = [[int(cell.replace(",", "")) for cell in line[1:]] for line in lines]
    assert shown == np.reshape(counts, (size, size)).tolist()
    # Without a network that names them, they are numbered; without counts there is no table.
    assert "predicted class 2" in page(results=results).text
    assert "Confusion" not in page(classes=classes).page


def test_a_figure_that_is_not_drawn_is_not_described() -> None:
    text = page(results=results_table(seeds=1, betas=3, widths=(8,))).text
    assert "The sweep has one width; list several under “widths”" in text
    assert "How far the best network found with at most so many neurons" not in text
    assert "How much width does a small gap need?" not in text


def test_baselines_stand_beside_ours_also_where_they_are_better() -> None:
    ours = results_table(seeds=1, betas=2, shards=2)
    arm = [
        {**row, "rounding": "rbf_svm", "test_accuracy": 0.999, "validation_accuracy": 0.999,
         "trial": f"svm{k}", "upper_bound": None, "lower_bound": None, "gap": None,
         **dict.fromkeys(("beta", "beta_fraction", "width", "loss"))}
        for k, row in enumerate(ours.to_pylist()[:12:6])
    ]  # fmt: skip
    outline = page(results=pa.concat_tables([ours, pa.Table.from_pylist(arm, ours.schema)]))
    assert "Best on the test rows, in the mean over the shards: RBF-SVM, accuracy 99.9 %" in (
        outline.text
    )
    names = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', outline.page.split('id="arms"')[1])
    assert names[:3] == ["ours: relaxation, refined", "ours: Krivine rounding alone", "RBF-SVM"]
    assert 'id="arms"' not in page().page


def test_an_arm_that_had_several_times_has_a_row_for_each() -> None:
    ours = results_table(seeds=1, betas=2, shards=2, refit=False)
    arm = [
        {**row, "rounding": "annealing", "trial": f"{seconds}{row['trial']}",
         "baseline_seconds": seconds, "test_accuracy": accuracy, "seconds": seconds}
        for seconds, accuracy in ((0.02, 0.75), (0.3, 0.999))
        for row in ours.to_pylist() if row["rounding"] == "refined"
    ]  # fmt: skip
    timed = parse_config(
        CONFIG.format(source="x.csv", target="y")
        + "baselines: [annealing]\nbaseline_seconds: [0.02, 0.3]\n",
        "sweep.yaml",
    )
    results = pa.concat_tables([ours, pa.Table.from_pylist(arm, ours.schema)])
    outline = page(results=results, config=timed)
    section = outline.page.split('id="arms"')[1].split("</section>")[0]
    names = re.findall(r'<th scope="row"[^>]*>([^<]*)</th>', section)
    assert names[2:] == ["simulated annealing, 0.02 s", "simulated annealing, 0.3 s"]
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in section.split("<tr>")[-2:]]
    # Of two shards, two β and three widths.
    assert [one[4:7] for one in cells] == [["0", "12", "0"]] * 2
    assert [one[0] for one in cells] == ["75.0 %", "99.9 %"]
    assert [one[-1] for one in cells] == ["0.02", "0.30"]
    assert "the shards: simulated annealing, 0.3 s, accuracy 99.9 %" in outline.text


@pytest.mark.parametrize(("counted", "words"), [(200, "200 rows"), (None, "the rows")])
def test_test_rows_that_a_column_marks_are_told_as_such(counted: int | None, words: str) -> None:
    rows = [{**row, "test_rows": counted} for row in results_table(seeds=1, betas=3).to_pylist()]
    marked = parse_config(
        CONFIG.format(source="x.csv", target="y") + "test: {column: held}\n", "sweep.yaml"
    )
    text = page(results=pa.Table.from_pylist(rows, RESULTS_SCHEMA), config=marked).text
    assert f"{words} that the column held marks, never used to choose anything" in text
    assert "20 % of the rows" not in text
    assert "20 % of the rows, never used to choose anything" in page().text


def test_names_from_the_data_are_escaped() -> None:
    results = results_table(seeds=1, betas=2, dataset=EVIL, failures=2, error=f"InputError: {EVIL}",
                            roundings=("krivine", EVIL))  # fmt: skip
    outline = page(
        results=results, config=config(target=EVIL), features=("plain", EVIL), location=EVIL
    )
    assert len(outline.named("script")) == 1
    # Data set, target, feature, error, location, rounding.
    assert outline.text.count(EVIL) >= 6


def test_only_the_pages_own_script_may_run() -> None:
    policies = [meta for meta in page().named("meta") if "http-equiv" in meta]
    assert "default-src 'none'" in str(policies[0]["content"])
    assert re.search(r"script-src 'sha256-[\w+/=]{44}'", str(policies[0]["content"]))


def test_failures_are_listed_with_their_errors() -> None:
    text = page(results=results_table(seeds=1, betas=2, failures=3)).text
    assert "3 of 66 trials failed" in text
    assert "training part has one class only" in text


def test_a_sweep_in_which_everything_failed_has_a_report() -> None:
    results = results_table(shards=1, betas=1, seeds=1, failures=6, refit=False)
    outline = page(results=results)
    assert "No network was finished" in outline.text
    assert not outline.named("img")


def test_regression_is_told_in_rmse() -> None:
    text = page(results=results_table(task="regression", seeds=1, betas=2)).text
    assert "test RMSE" in text
    assert "accuracy" not in text.replace("anything about accuracy on new rows", "")


def test_equal_inputs_give_equal_pages() -> None:
    content = ReportInput(results_table(seeds=1, betas=2), config())
    assert render_report(content) == render_report(content)


def test_secrets_do_not_reach_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-from-environment")
    source = "s3://KEYID:canary-in-uri@bucket/table.csv?token=canary-in-query"
    error = "OSError: canary-from-environment refused"
    results = results_table(seeds=1, betas=2, failures=1, error=error)
    text = page(results=results, config=config(source=source)).text
    assert "canary" not in text
    assert "s3://***@bucket/table.csv" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://AB:CD@bucket/x", "s3://***@bucket/x"),
        ("http://me:pw@host:5000/a?b=1", "http://***@host:5000/a?b=1"),
        ("gs://b/x?access_token=abc&endpoint=e", "gs://b/x?access_token=***&endpoint=e"),
        ("s3://bucket/x?secret_key='abc'", "s3://bucket/x?secret_key='abc'"),
        ("mail@host is no URI", "mail@host is no URI"),
        ("file:///tmp/a@b", "file:///tmp/a@b"),
    ],
)
def test_redacted_text(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("metric", "words"),
    [("accuracy", "the most frequent class alone: 92.5 %"),
     ("balanced_accuracy", "any one class alone: 50 %"), ("f1", None)],
)  # fmt: skip
def test_one_class_alone_is_told_in_the_metric(metric: str, words: str | None) -> None:
    told = {"test_majority_share": 0.925, "test_confusion": [30, 7, 2, 1], "test_rows": 40,
            "test_f1": 0.5, "test_balanced_accuracy": 0.759}  # fmt: skip
    rows = results_table(seeds=1, betas=3).to_pylist()
    results = pa.Table.from_pylist([{**row, **told} for row in rows], schema=RESULTS_SCHEMA)
    text = page(results=summary.written_as(results, "fractions", metric)).text
    assert f"test {summary.METRICS[metric].label} on 40 rows" in text
    assert ("class alone" in text) == (words is not None)
    assert words is None or words in text


def test_test_rows_of_one_class_have_no_balanced_accuracy() -> None:
    told = {"test_majority_share": 1.0, "test_rows": 80, "test_balanced_accuracy": 0.971,
            "test_balanced_accuracy_low": 0.913, "test_balanced_accuracy_high": 0.993,
            "test_accuracy": 0.971}  # fmt: skip
    rows = results_table(seeds=1, betas=3).to_pylist()

    def shown(*confusion: int) -> Outline:
        changed = [{**row, **told, "test_confusion": confusion} for row in rows]
        results = pa.Table.from_pylist(changed, schema=RESULTS_SCHEMA)
        return page(results=summary.written_as(results, "fractions", "balanced_accuracy"))

    one, both = shown(78, 2, 0, 0), shown(70, 2, 0, 8)
    assert "–test balanced accuracy (its 80 rows are of one class)" in one.text
    assert "91.3 to 99.3 %" not in one.text
    assert "any one class alone" not in one.text
    assert "91.3 to 99.3 %" in both.text
    tables = [said.page.split('aria-label="The best networks"')[1].split("</table>")[0]
              for said in (one, both)]  # fmt: skip
    assert tables[0].count("97.1 %") < tables[1].count("97.1 %")


def test_a_class_without_test_rows_is_none_that_could_be_right() -> None:
    part = PartMeasures(majority_share=0.75, confusion=(3, 0, 0, 0, 0, 0, 1, 0, 0))
    assert part.of_one_class("balanced_accuracy") == 0.5
    assert PartMeasures(confusion=(0, 0, 0, 0)).of_one_class("balanced_accuracy") is None


def test_noise_in_the_training_rows_is_a_fact() -> None:
    noisy = CONFIG.format(source="a", target="b") + "noise: {deviation: 0.5, copies: 2}\n"
    text = page(config=parse_config(noisy, "sweep.yaml")).text
    assert "each row 2 times more, with noise of 0.5 deviations of its columns;" in text
    assert "noise in training rows" not in page().text


@pytest.mark.parametrize("weights", [None, np.ones(40)])
def test_the_proof_is_stated_with_weights_where_the_certificate_has_them(
    tmp_path: Path, weights: np.ndarray | None
) -> None:
    folder = run_folder(tmp_path)
    row = folder_row(folder)
    stored = Certificate.load(CERTIFICATES / "diagonal_bilinear.npz")
    own = stored.stating(loss="logistic", loss_parameter=None, weights=weights).to_bytes()
    folder.write(str(row.bounds.certificate), own)
    report = Outline(Path(write_report(folder)).read_text()).text
    certificate = Outline(render_certificate(row, own, b"")).text
    weighted = "Σ wᵢ H(yᵢνᵢ / wᵢ), H the binary entropy, the negative"
    plain = "Σ H(yᵢνᵢ), H the binary entropy, the negative"
    assert (weighted in certificate, plain in certificate) == (weights is not None, weights is None)
    assert ("0 ≤ yᵢνᵢ ≤ wᵢ" in certificate) == (weights is not None)
    for text in (report, certificate):
        assert ("the weight wᵢ of each training row, a vector ν" in text) == (weights is not None)


def test_without_a_certificate_the_config_says_whether_rows_are_weighted(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    assert not collect(folder).weighted
    config_of_classes = CONFIG.format(source="a", target="b") + "class_weight: balanced\n"
    folder.write(CONFIG_FILE, config_of_classes.encode())
    assert collect(folder).weighted


def folder_row(folder: RunFolder) -> NetworkRow:
    shown = summary.champion_of(summary.frame(collect(folder).results))
    assert shown is not None
    return shown.row


def run_folder(where: Path) -> RunFolder:
    folder = RunFolder.open(where)
    folder.create()
    table = results_table(seeds=1, betas=2, shards=2)
    for path in sorted(set(table["path"].to_pylist())):
        rows = [row for row in table.to_pylist() if row["path"] == path]
        folder.write_table(f"results/{path}.parquet", RESULTS_SCHEMA.empty_table().from_pylist(
            rows, schema=RESULTS_SCHEMA))  # fmt: skip
    folder.write(CONFIG_FILE, dump_config(config()).encode())
    return folder


def test_the_report_comes_from_the_folder_alone(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    place = write_report(folder)
    first = Path(place).read_text()
    assert place == str(tmp_path / "run" / "report.html")
    assert "sklearn:breast_cancer" in first
    write_report(folder)
    assert Path(place).read_text() == first


def test_a_damaged_config_does_not_stop_the_report(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    folder.write(CONFIG_FILE, b"name: [")
    assert "breast_cancer" in Path(write_report(folder)).read_text()


@pytest.mark.parametrize("name", ["empty", "absent"])
def test_a_folder_without_results_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        write_report(RunFolder.open(tmp_path / name))
    assert str(caught.value) == (
        f"{tmp_path / name}: no results here; give the folder of a sweep (the one that holds "
        "results/*.parquet)"
    )
    assert not (tmp_path / "absent").exists()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run_folder(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["qnn", "report", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert capsys.readouterr().out == f"{tmp_path}/run/report.html\n"
    monkeypatch.setattr(sys, "argv", ["qnn", "report", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {tmp_path}/none: no results here;")
    assert told.count("\n") == 1
