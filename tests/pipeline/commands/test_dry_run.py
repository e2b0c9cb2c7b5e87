import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands.cli import main
from pipeline.results.folder import RunFolder, StoreError

ROOT = Path(__file__).parents[3]
WDBC = ROOT / "infra" / "sweeps" / "wdbc.yaml"


def qnn(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from pipeline.commands.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)


def processor_seconds() -> float:
    """Processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["qnn", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def test_a_dry_run_prints_the_plan_quickly_and_writes_nothing(tmp_path: Path) -> None:
    qnn("--help")  # the first run may have byte code to compile
    before = processor_seconds()
    done = qnn("sweep", str(WDBC), "--dry-run", folder=tmp_path)
    seconds = processor_seconds() - before
    assert (done.returncode, done.stderr) == (0, "")
    assert "trials       1728 networks from 72 SDPs, 6 paths" in done.stdout
    assert list(tmp_path.iterdir()) == []
    # Promised are 3 s on the clock; processor time is the part of it that is ours, and does not
    # depend on what else the machine is doing.
    assert seconds < 2


def test_a_dry_run_and_help_import_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pipeline.commands.cli import main\n"
        f"sys.argv = ['qnn', 'sweep', {str(WDBC)!r}, '--dry-run']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = ('ray', 'mlflow', 'cvxpy', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'numba')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_overrides_reach_the_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--set", "shards.count=5", "--set", "beta={values: [30]}", "--set", "seeds=[7]"]
    assert run(monkeypatch, "sweep", str(WDBC), "--dry-run", *sets) == 0
    assert "trials       30 networks from 5 SDPs, 5 paths" in capsys.readouterr().out


def test_a_store_that_does_not_answer_ends_no_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(folder: RunFolder, *_: object) -> None:
        raise StoreError(f"{folder.label}: cannot be read (network connection)")

    for name in ("read", "files", "exists"):
        monkeypatch.setattr(RunFolder, name, away)
    out = str(WDBC.parent)
    assert run(monkeypatch, "sweep", str(WDBC), "--dry-run", "--out", out) == 0
    assert f"folder       not looked at: {out}: cannot be read" in capsys.readouterr().out


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize("dry", [False, True])
def test_a_file_in_place_of_the_folder_is_refused_before_anything(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    dry: bool,
    automatic: bool,
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("mine")
    config = tmp_path / "auto.yaml"
    config.write_text("name: t\ndata: {source: 'sklearn:breast_cancer', target: target}\n")
    command = ["sweep", str(config if automatic else WDBC), "--out", str(taken)]
    assert run(monkeypatch, *command, *(["--dry-run"] if dry else [])) == 2
    shown = capsys.readouterr()
    assert shown.err == f"error: --out {taken}: a file lies there; give a folder\n"
    assert (shown.out, taken.read_text()) == ("", "mine")


def test_a_dry_run_says_how_a_file_was_read_and_what_is_not_learnt_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cities = ("Genève", "Bern", "Zürich")
    rows = [f"{cities[k % 3]},{k % 7},{(5 * k) % 11},{'no' if k % 3 else 'yes'}" for k in range(60)]
    text = "\n".join(["city,a,b,target", *rows]) + "\n"
    (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))
    config = tmp_path / "t.yaml"
    config.write_text(
        "name: t\ndata: {source: t.csv, target: target, exclude: [b], positive: 'no'}\n"
        "shards: {kind: kfold, count: 2}\nbeta: {fractions: [0.1]}\n"
    )
    assert run(monkeypatch, "sweep", str(config), "--dry-run") == 0
    shown = capsys.readouterr()
    assert "t.csv is not UTF-8: read as cp1252 (Latin-1); set data.encoding" in shown.err
    assert "note         left out 'b', which data.exclude lists" in shown.out
    assert "classes      rows of 'yes' 20, 'no' 40, positive is 'no'" in shown.out
    sets = ["--set", "data.features=[a]", "--set", "data.exclude=[]"]
    assert run(monkeypatch, "sweep", str(config), "--dry-run", *sets) == 0
    told = "note         left out 'city', 'b', which data.features does not list"
    assert told in capsys.readouterr().out


def test_dropped_columns_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(WDBC.with_name("ionosphere.yaml"))
    assert run(monkeypatch, "sweep", config, "--dry-run") == 0
    assert "note         dropped constant columns: V2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("beta={values: [0]}", "wdbc.yaml: beta.values[0]: must be greater than 0 (got 0)"),
        ("data.source=no.csv", "data.source: no such file or folder: no.csv (looked beside the "
         "config and in "),
        ("data.target=diagnosis", "data.target: no column 'diagnosis' in the data (columns: "),
        ("shards.count=1000", "shards.count: 1000 folds need at least as many rows, but 455 are "
         "left beside the test rows"),
        ("data.features=[mean areas]", "data.features: no column 'mean areas' in the data ("),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sets: str, message: str
) -> None:
    assert run(monkeypatch, "sweep", str(WDBC), "--dry-run", "--set", sets) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"error: {message}")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("sweep",), ("sweep", "--odd"), ("swep",), ("sweep", str(WDBC), "--dry-run", "extra")],
)
def test_usage_errors_exit_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    assert "Usage: qnn" in capsys.readouterr().err


def test_a_missing_config_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "sweep", "nowhere.yaml", "--dry-run") == 2
    assert capsys.readouterr().err == "error: nowhere.yaml: no such file\n"
