"""`qnn quantize`: a file that onnxruntime runs, proofs for `qnn verify`, faults in a line."""

import builtins
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from onnx import TensorProto, helper
from typer.testing import CliRunner

from pipeline.commands.cli import app, main
from qnn.certificates import layers
from qnn.errors import CertificateError, InputError
from qnn.quantization import Quantized, quantize
from qnn.quantization.runtime import check_in_runtime
from tests.qnn.quantization.networks import Maker, cnn, mlp, rows


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def saved(folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def calibration(folder: Path, X: np.ndarray) -> Path:
    np.save(folder / "rows.npy", X)
    return folder / "rows.npy"


def test_the_file_runs_and_its_certificates_are_proven(tmp_path: Path) -> None:
    X, net = rows(60, (8,)), mlp((8, 6, 3))
    out, proofs = tmp_path / "small.onnx", tmp_path / "proofs"
    model, data = saved(tmp_path, net), calibration(tmp_path, X)
    result = run(
        *("quantize", model, "--calibration", data, "--budget", "3", "--out", out),
        *("--certificates", proofs),
    )
    assert result.exit_code == 0, result.output
    assert all(word in result.stdout for word in ("Gemm0", "bytes", "bound %", "each proven"))
    assert f"bytes of {model.stat().st_size:,} (" in result.stdout
    session = onnxruntime.InferenceSession(str(out))
    again = quantize(net, X, 3.0, certify="none")
    wanted = again.simulate(X)
    assert np.abs(session.run(None, {"x": X})[0] - wanted).max() < 0.1 * np.abs(wanted).max()
    assert out.read_bytes() == again.model.SerializeToString(deterministic=True)
    files = sorted(proofs.glob("*.layer.npz"))
    assert len(files) == 2
    for file in files:
        evidence = file.with_name(file.name.replace(".layer.", ".rows."))
        checked = run("verify", file, "--data", evidence)
        assert checked.exit_code == 0, checked.output
        assert "layer Gemm" in checked.output
        foreign = next(other for other in files if other != file)
        other = foreign.with_name(foreign.name.replace(".layer.", ".rows."))
        assert run("verify", file, "--data", other).exit_code == 1
    for target, said in ((proofs, "2 files, all verified"), (files[0], "1 files, all verified")):
        checked = run("verify", target)
        assert (checked.exit_code, said in checked.output) == (0, True), checked.output
    rest = files[0].with_name(files[0].name.replace(".layer.", ".rows."))
    rest.write_bytes(files[1].with_name(files[1].name.replace(".layer.", ".rows.")).read_bytes())
    checked = run("verify", proofs)
    assert (checked.exit_code, "2 files, 1 FAILED" in checked.output) == (1, True), checked.output
    rest.unlink()
    checked = run("verify", proofs)
    assert (checked.exit_code, "give its file with --data" in checked.output) == (1, True)
    kept = {"net.onnx", "proofs", "rows.npy", "small.onnx"}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_rows_are_read_alike_from_every_kind_of_file(tmp_path: Path) -> None:
    X, model = rows(40, (12,)), saved(tmp_path, mlp())
    names = [f"x{k}" for k in range(12)]
    np.savetxt(tmp_path / "r.csv", X, "%.9g", ",", header=",".join(names), comments="")
    pq.write_table(pa.table(dict(zip(names, X.T, strict=True))), tmp_path / "columns.parquet")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), 12)
    pq.write_table(pa.table({"x": lists}), tmp_path / "lists.parquet")
    calibration(tmp_path, X)
    made = set()
    for name in ("r.csv", "columns.parquet", "lists.parquet", "rows.npy"):
        result = run(
            *("quantize", model, "--calibration", tmp_path / name, "--method", "rtn"),
            *("--certify", "none", "--out", tmp_path / "q.onnx"),
        )
        assert result.exit_code == 0, result.output
        made.add((tmp_path / "q.onnx").read_bytes())
    assert len(made) == 1


def test_flat_rows_of_images_take_the_network_s_shape(tmp_path: Path) -> None:
    X = rows(20, (2, 8, 8))
    arguments = ("--method", "rtn", "--certify", "none", "--budget", "8", "--bits", "8")
    outputs = []
    for one in (X, X.reshape(20, -1)):
        data = calibration(tmp_path, one)
        result = run(
            *("quantize", saved(tmp_path, cnn()), "--calibration", data, *arguments),
            *("--out", tmp_path / "q.onnx"),
        )
        assert result.exit_code == 0, result.output
        outputs.append((tmp_path / "q.onnx").read_bytes())
    assert outputs[0] == outputs[1]


def test_a_network_of_one_row_at_a_time_is_checked_so(tmp_path: Path) -> None:
    model = mlp()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    made = quantize(model, rows(20, (12,)), 8.0, (8,), "rtn", "none")
    assert check_in_runtime(made, rows(20, (12,))) < 0.1


def test_a_model_that_onnxruntime_computes_otherwise_is_refused() -> None:
    X = rows(40, (12,))
    made = quantize(mlp(), X, 8.0, (8,), "rtn", "none")
    other = quantize(mlp(seed=1), X, 8.0, (8,), "rtn", "none")
    mixed = Quantized(**(vars(made) | {"model": other.model}))
    with pytest.raises(InputError, match="onnxruntime differs from the quantized network by"):
        check_in_runtime(mixed, X)
    made.model.graph.node[0].op_type = "NoSuchNode"
    with pytest.raises(InputError, match="onnxruntime does not run the quantized network"):
        check_in_runtime(made, X)


def test_layers_of_like_names_have_certificates_of_their_own(tmp_path: Path) -> None:
    model = mlp()
    for node, name in zip(model.graph.node, ("a/b", "r", "a_b", "r", "a/b"), strict=True):
        node.name = name
    made = quantize(model, rows(40, (12,)), 4.0, (4,), "rtn", "bound")
    paths = made.save_certificates(tmp_path)
    assert len({path.name for path in paths}) == 3
    assert len(list(tmp_path.iterdir())) == 6


def refused(folder: Path, *more: str | Path, model: Path | None = None) -> str:
    """The one line that is said; nothing is written."""
    before = sorted(path.name for path in folder.iterdir())
    network = model or folder / "net.onnx"
    out = () if "--out" in more else ("--out", folder / "q.onnx")
    result = run("quantize", network, *out, *more)
    assert isinstance(result.exception, InputError), result.output
    assert sorted(path.name for path in folder.iterdir()) == before
    assert "\n" not in str(result.exception)
    return str(result.exception)


def old_opset() -> onnx.ModelProto:
    make = Maker()
    make.node("MatMul", "x", make.weights(12, 4), output="y")
    model = make.model((12,))
    model.opset_import[0].version = 5
    return model


def two_inputs() -> onnx.ModelProto:
    model = mlp()
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 3]))
    return model


def test_a_bad_model_is_a_line(tmp_path: Path) -> None:
    data = calibration(tmp_path, rows(30, (12,)))
    assert "No such file" in refused(tmp_path, "--calibration", data)
    (tmp_path / "net.onnx").write_bytes(b"not a network at all")
    assert "not an ONNX model" in refused(tmp_path, "--calibration", data)
    saved(tmp_path, old_opset())
    assert "opset 5" in refused(tmp_path, "--calibration", data)
    saved(tmp_path, two_inputs())
    assert "has 2 inputs" in refused(tmp_path, "--calibration", data)


NAN = np.where(np.arange(360).reshape(30, 12) == 77, np.nan, rows(30, (12,)))


@pytest.mark.parametrize(
    ("X", "more", "said"),
    [
        (rows(30, (11,)), (), "the network takes rows of 12"),
        (NAN, (), "NaN or infinity"),
        (np.full((30, 12), 1e300), (), "NaN or infinity"),
        (rows(5, (12,)), (), "5 calibration rows are too few"),
        (np.ones((30, 12)), (), "layer Gemm0: the Gram matrix of its inputs is singular"),
        (np.array([["a"] * 12] * 30), (), "holds no rows of numbers"),
        (np.float64(3.0), (), "holds no rows of numbers"),
        (rows(30, (12,)), ("--budget", "1.9"), "smallest possible is 2"),
        (rows(30, (12,)), ("--bits", "3,8"), "smallest possible is 4"),
        (rows(30, (12,)), ("--bits", "two"), "--bits: must be whole numbers"),
        (rows(30, (12,)), ("--damp", "much"), "--damp: must be auto"),
        (rows(30, (12,)), ("--damp", "nan"), "damp must be"),
        (rows(30, (12,)), ("--activation-bits", "5"), "must be one of 4, 8"),
        (rows(30, (12,)), ("--certificates", "p", "--certify", "none"), "nothing is proven"),
    ],
    ids=range(14),
)
def test_bad_rows_and_options_are_a_line(
    tmp_path: Path, X: np.ndarray, more: tuple[str, ...], said: str
) -> None:
    saved(tmp_path, mlp())
    data = calibration(tmp_path, X)
    assert said in refused(tmp_path, "--calibration", data, "--method", "rtn", *more)


def test_bad_files_of_rows_are_a_line(tmp_path: Path) -> None:
    saved(tmp_path, mlp())

    def of(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return refused(tmp_path, "--calibration", tmp_path / name)

    pickled = io.BytesIO()
    np.save(pickled, np.array([[{}] * 12] * 30, dtype=object), allow_pickle=True)
    whole = io.BytesIO()
    np.save(whole, rows(30, (12,)))
    header = whole.getvalue().replace(b"(30, 12)", b"(3000000000000, 12)".ljust(8))
    for content in (pickled.getvalue(), whole.getvalue()[:-1], b"", b"\x93NUMPY", header):
        assert "not a sound .npy file" in of("r.npy", content)
    assert "no such file" in refused(tmp_path, "--calibration", tmp_path / "none.npy")
    assert "no such file" in refused(tmp_path, "--calibration", tmp_path / "none.csv")
    assert "files named *.csv" in of("r.txt", b"1,2\n")
    assert "first line holds numbers" in of("r.csv", b"0.5,1.5\n1,2\n")
    assert "column 'b' does not hold numbers" in of("r.csv", b"a,b\n1,x\n")
    assert "column 'b' has missing values" in of("r.csv", b"a,b\n1,\n")
    assert "has no rows" in of("r.csv", b"a,b\n")
    assert "cannot be read" in of("r.parquet", b"no parquet")


def test_places_that_cannot_be_written_are_a_line(tmp_path: Path) -> None:
    model, data = saved(tmp_path, mlp()), calibration(tmp_path, rows(30, (12,)))
    given = ("--calibration", data)
    assert "its folder does not exist" in refused(tmp_path, *given, "--out", tmp_path / "no" / "q")
    assert "is a folder" in refused(tmp_path, *given, "--out", tmp_path)
    assert "is the float network itself" in refused(tmp_path, *given, "--out", model)
    full = refused(tmp_path, *given, "--certificates", tmp_path)
    assert "is no empty folder" in full
    assert "is the calibration rows' file itself" in refused(tmp_path, *given, "--out", data)
    both = ("--out", tmp_path / "q.onnx", "--certificates", tmp_path / "q.onnx")
    assert "a file and a folder" in refused(tmp_path, *given, *both)
    nowhere = refused(tmp_path, *given, "--certificates", tmp_path / "no" / "proofs")
    assert "does not exist" in nowhere


def test_the_current_folder_takes_the_certificates_where_it_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = saved(tmp_path, mlp()), calibration(tmp_path, rows(30, (12,)))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = run(
        *("quantize", model, "--calibration", data, "--method", "rtn", "--certify", "bound"),
        *("--out", "q.onnx", "--certificates", "."),
    )
    assert result.exit_code == 0, result.output
    there = sorted(path.name for path in (tmp_path / "empty").iterdir())
    assert "q.onnx" in there
    assert sorted(Path().glob("*.layer.npz"))
    assert not [name for name in there if name.startswith(".")]


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    saved(tmp_path, mlp())
    data = calibration(tmp_path, rows(30, (12,)))
    there = builtins.__import__

    def gone(name: str, *more: Any, **named: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return there(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", gone)
    said = refused(tmp_path, "--calibration", data)
    assert said == f"the package {package} is not installed: pip install 'qnn-sdp[export]'"


def test_nothing_stays_of_a_run_that_fails_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, mlp())
    data = calibration(tmp_path, rows(30, (12,)))

    def full(self: Quantized, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Quantized, "save", full)
    more = ("--certify", "bound", "--certificates", tmp_path / "proofs", "--method", "rtn")
    assert "No space left" in refused(tmp_path, "--calibration", data, *more)


def test_a_certificate_that_proves_nothing_ends_it_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(tmp_path, mlp())
    data, proofs = calibration(tmp_path, rows(30, (12,))), tmp_path / "proofs"

    def refuse(path: Path) -> None:
        raise CertificateError("the bound is not proven")

    monkeypatch.setattr(layers, "verify_layer_file", refuse)
    words = ["quantize", str(tmp_path / "net.onnx"), "--calibration", str(data), "--method", "rtn"]
    words += ["--certify", "bound", "--certificates", str(proofs), "--budget", "4"]
    target = tmp_path / "small.onnx"
    monkeypatch.setattr(sys, "argv", ["qnn", *words, "--out", str(target)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: the bound is not proven"
    assert not target.exists()
    assert not proofs.exists()
