"""Nothing is unpickled or executed, no path leaves its folder, no secret is written anywhere."""

import ast
import io
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.configuration.reading import load_config, parse_config
from pipeline.logs.redact import redact
from pipeline.results.folder import RunFolder, data_file, safe_name
from pipeline.results.ledger import read_results, rows_table
from pipeline.results.verification import verify_paths
from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, unpack_arrays
from tests.pipeline.small import config_text, small_config

ROOT = Path(__file__).parents[1]
# Calls that run or build whatever a file says. `pickle.dumps` only measures a length, `yaml.load`
# is given a loader made from the safe one (pipeline/configuration/yaml_text.py).
BANNED = {
    *("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads"),
    *("shelve.open", "joblib.load", "cloudpickle.load", "cloudpickle.loads", "torch.load"),
    *("yaml.unsafe_load", "yaml.full_load", "tarfile.open", "shutil.unpack_archive"),
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def suspicious(source: str) -> list[str]:
    found = []
    for name, call in calls(ast.parse(source)):
        keywords = {word.arg: ast.unparse(word.value) for word in call.keywords}
        loads = name == "yaml.load" and keywords.get("Loader") != "_Loader"
        arrays = keywords.get("allow_pickle", "False") != "False"
        shell = name.startswith("subprocess.") and "shell" in keywords
        extracts = name.endswith((".extractall", ".extract"))
        if name in BANNED or loads or arrays or shell or extracts:
            found.append(name)
    return found


@pytest.mark.parametrize("package", ["qnn", "pipeline"])
def test_nothing_that_a_file_says_is_executed(package: str) -> None:
    assert suspicious("import numpy\nnumpy.load(f, allow_pickle=True); eval(x)") != []
    assert suspicious("yaml.load(text, Loader=yaml.Loader)") == ["yaml.load"]
    for file in (ROOT / package).rglob("*.py"):
        assert suspicious(file.read_text()) == [], file


@pytest.mark.parametrize("name", ["../up", "/etc/up", "a/../../up", "..", "results/../../up"])
def test_paths_do_not_leave_the_runs_folder(name: str, tmp_path: Path) -> None:
    folder = RunFolder.open(tmp_path / "run")
    folder.create()
    (tmp_path / "up").write_text("mine")
    for act in (
        lambda: folder.write(name, b"x"),
        lambda: folder.read(name),
        lambda: folder.remove(name),
        lambda: folder.exists(name),
        lambda: folder.files(name),
    ):
        with pytest.raises(InputError, match="leaves the run's folder"):
            act()
    assert (tmp_path / "up").read_text() == "mine"
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["../../x", "/etc/passwd", "a/b", "..", ".", "", "\\..\\x", "a\0b"]
)
def test_names_of_data_become_one_component(name: str) -> None:
    assert "/" not in safe_name(name)
    assert safe_name(name) not in ("", ".", "..")
    assert data_file(name, name).count("/") == 2


def test_a_configs_name_cannot_be_a_path(tmp_path: Path) -> None:
    for name in ("../x", "/x", "a/b", ".x", ""):
        with pytest.raises(InputError, match=r"^small\.yaml: name: "):
            small_config(tmp_path, name=name)


def test_a_config_builds_no_objects() -> None:
    with pytest.raises(InputError):
        parse_config("name: !!python/object/apply:os.system ['touch /tmp/x']", "bad.yaml")


def test_rows_and_certificates_that_point_elsewhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.npz").write_bytes(pack_arrays({"nu": np.zeros(3)}))
    run = tmp_path / "run"
    folder = RunFolder.open(run)
    row = {
        "trial": "t",
        "path": "p",
        "certificate": "../secret.npz",
        "network": "../secret.npz",
        "status": "ok",
    }
    folder.write_table("results/p.parquet", rows_table([row]))
    assert read_results(folder).num_rows == 1
    checks = [one for one in verify_paths([str(run)]) if one.file != "manifest.json"]
    assert checks
    assert not any(check.ok for check in checks)
    assert any("leaves the run's folder" in check.text for check in checks)


def test_members_of_archives_are_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escaped.npy", b"x")
    with pytest.raises((InputError, ValueError)):
        unpack_arrays(buffer.getvalue(), "evil.npz", "network")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("data.source=s3://KEY:canary-canary@b/t.csv", r"data.source: holds .*s3://\*\*\*@b/t.csv"),
        ("data.source=s3://KEY:can/ary-canary@b/t.csv", r"data.source: holds .*s3://\*\*\*@b/t"),
        ("data.source=s3://b/t.csv?secret_key=canary-canary", r"data.source: holds .*secret_key="),
        ("tracking.uri=postgresql://me:canary-canary@h/db", r"tracking.uri: holds .*//\*\*\*@h/db"),
    ],
)
def test_configs_with_credentials_are_refused(override: str, shown: str, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(config_text(tmp_path))
    with pytest.raises(InputError, match=rf"^small\.yaml: {shown}") as told:
        load_config(file, [override])
    assert "canary" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://KEY:can/ary@b/t.csv: gone", "s3://***@b/t.csv: gone"),
        ("s3://KEY:can@ary@b/t.csv", "s3://***@b/t.csv"),
        ("postgresql://me:7canary@h:5432/db", "postgresql://***@h:5432/db"),
        ("s3://canary@b/t.csv", "s3://***@b/t.csv"),
        ("s3://b/t?x=1&secret_key=canary&y=2", "s3://b/t?x=1&secret_key=***&y=2"),
        ("http://h:5000/#/me@x, s3://b/a@b.csv", "http://h:5000/#/me@x, s3://b/a@b.csv"),
        ("http://[::1]:5000/x@y", "http://[::1]:5000/x@y"),
        ("s3://KEY:canary@b/a@b.csv", "s3://***@b/a@b.csv"),
        ("file:///a:b/c@d.csv", "file:///a:b/c@d.csv"),
        ("tracking.uri: me:canary@h:5000: none", "tracking.uri: ***@h:5000: none"),
        ("uri=me:can@ary@h:5000", "uri=***@h:5000"),
        ("s3:KEY:can/ary@b/t.csv: gone", "***@b/t.csv: gone"),
        ("me@h:5000/x, models:/small@champion", "me@h:5000/x, models:/small@champion"),
        ("/runs/a:b@c and a: b@c", "/runs/a:b@c and a: b@c"),
        ("it said canary-canary twice", "it said *** twice"),
        ("it said canary-path", "it said canary-path"),
    ],
)
def test_credentials_in_a_text_are_hidden_and_nothing_else(
    text: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("db_password", "canary-canary")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "canary-path")
    assert redact(text) == shown


def test_the_audit_tells_packages_off_their_pins() -> None:
    program = (
        "import sys; sys.path.insert(0, 'infra'); import audit; pins = audit.read_pins();"
        "print(audit.differences(pins)); pins['numpy'] = '1.0'; del pins['ray'];"
        "print(len(audit.differences(pins)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "[]\n2\n", done.stdout + done.stderr


@pytest.mark.parametrize(("word", "code"), [("", 0), ("--require", 3)])
def test_an_audit_without_advisories_says_so(word: str, code: int) -> None:
    program = (
        "import sys; sys.path.insert(0, 'infra'); import audit;"
        "audit.differences = lambda pins: []; audit.advisories = lambda: None;"
        "sys.exit(audit.main())"
    )
    command = [sys.executable, "-c", program, word]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.split(":")[1]) == (code, " NOT AUDITED"), done.stderr


@pytest.mark.slow
def test_canaries_in_the_environment_are_found_nowhere(tmp_path: Path) -> None:
    canary = f"canary-{secrets.token_hex(12)}"
    names = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "SOME_API_TOKEN")
    # Sockets have short paths.
    session = Path(tempfile.mkdtemp(prefix="rc-"))
    config = tmp_path / "small.yaml"
    config.write_text(config_text(tmp_path))
    out = tmp_path / "out"
    qnn = str(Path(sys.executable).with_name("qnn"))
    environment = {**os.environ, "RAY_TMPDIR": str(session), "QNN_LOG": "json"}
    environment |= dict.fromkeys(names, canary)
    command = [qnn, "sweep", str(config), "--out", str(out), "--cpus", "1"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        # A file system that does not exist, named with the secret.
        bad = [*command[:-2], "--set", f"data.source=nofs://me:{canary}@host/{canary}.csv"]
        refused = subprocess.run(bad, capture_output=True, text=True, env=environment)
        assert refused.returncode == 2
        for text in (done.stdout, done.stderr, refused.stdout, refused.stderr):
            assert canary not in text
        written = [file for place in (out, session) for file in place.rglob("*") if file.is_file()]
        assert {"mlflow.db", "report.html", "sweep.yaml"} <= {file.name for file in written}
        assert any(session in file.parents for file in written)
        holding = [file for file in written if canary.encode() in file.read_bytes()]
        assert holding == []
        assert canary not in str(read_results(RunFolder.open(out)).to_pylist())
    finally:
        shutil.rmtree(session, ignore_errors=True)
