"""`qnn robustness` of a decoder: both sides of every image, proofs, one line on faults."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from pipeline.commands.cli import app
from pipeline.commands.robustness.files import share
from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from qnn.robustness import Limits, certify_reconstruction
from tests.qnn.robustness.cases import layered, quantized

Array = np.ndarray
N = 5


def table(path: Path, values: Array, letter: str) -> Path:
    columns = {f"{letter}{j}": column for j, column in enumerate(values.T)}
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder, latents, their deviations and images near what it makes of them."""
    place, rng = tmp_path_factory.mktemp("decoder"), np.random.default_rng(0)
    decoder = layered(rng, [2, 8, 6])
    decoder.save(place / "decoder.npz")
    latents = rng.normal(size=(N, 2))
    table(place / "latents.parquet", latents, "z")
    table(place / "deviations.parquet", rng.uniform(0.05, 0.3, size=(N, 2)), "z")
    images = decoder.scores(latents) + 0.2 * rng.normal(size=(N, 6))
    table(place / "images.parquet", images, "p")
    return place


def read(path: Path) -> Array:
    return pq.read_table(path).to_pandas().to_numpy()


def arguments(folder: Path, *more: object) -> list[str]:
    files = [folder / "decoder.npz", folder / "latents.parquet", "--images",
             folder / "images.parquet"]  # fmt: skip
    return ["robustness", *map(str, [*files, *more])]


def run(folder: Path, *more: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments(folder, *more))
    assert result.exit_code == code, result.output
    return result.stdout


def test_images_certificates_and_the_sentence(folder: Path, tmp_path: Path) -> None:
    out, proofs = tmp_path / "r.parquet", tmp_path / "proofs"
    said = run(folder, "--radius", "1.5", "--deviations", folder / "deviations.parquet",
               "--threshold", "1.0", "--out", out, "--certificates", proofs)  # fmt: skip
    decoder = LayeredNetwork.load(folder / "decoder.npz")
    files = ("latents", "images", "deviations")
    cases = zip(*(read(folder / f"{name}.parquet") for name in files), strict=True)
    rows = pq.read_table(out).to_pylist()
    for row, (z, x, s) in zip(rows, cases, strict=True):
        found = certify_reconstruction(decoder, z, x, 1.5 * s, 1.0, search=Limits(seconds=60.0))
        assert (row["status"], row["proven"], row["attack"]) == (
            found.verdict, found.upper_bound, found.lower_bound,
        )  # fmt: skip
        assert (row["certificate"] is None) == (row["status"] != "robust")
    kinds = {row["status"] for row in rows}
    assert kinds >= {"robust", "vulnerable"}
    robust = 100 * np.mean([row["status"] == "robust" for row in rows])
    assert said.startswith(f"{robust:.4g} % of the images provably stay within a reconstruction")
    assert "within ±1.5 deviations of each latent" in said
    kept = sorted(proofs.glob("row-*.npz"))
    assert f"qnn verify {proofs}/row-*.npz --data {folder / 'decoder.npz'}" in said
    result = CliRunner().invoke(
        app, ["verify", *map(str, kept), "--data", str(folder / "decoder.npz")]
    )
    assert result.exit_code == 0
    assert f"{len(kept)} files, all verified" in result.output


def test_without_a_threshold_every_bound_is_kept(folder: Path, tmp_path: Path) -> None:
    proofs = tmp_path / "proofs"
    said = run(folder, "--radius", "z1=0.3", "--certificates", proofs, "--limit", "3",
               "--effort", "dual")  # fmt: skip
    assert said.startswith("half of the images provably stay within a reconstruction loss of ")
    assert "±0.3 of z1" in said
    assert len(list(proofs.glob("row-*.npz"))) == 3
    said = run(folder, "--radius", "0.1", "--unit", "range", "--limit", "1")
    assert "±0.1 of the range of each latent" in said


def test_a_share_that_is_required(folder: Path) -> None:
    asked = ("--radius", "0.01", "--threshold", "9", "--limit", "2", "--require")
    run(folder, *asked, "100")
    run(folder, *asked[:3], "0.001", *asked[4:], "1", code=1)


def test_a_share_of_29_in_100_is_29() -> None:
    assert all(share([True] * k + [False] * (100 - k)) == k for k in range(101))


def test_a_decoder_of_shares_is_refused_and_a_classifier_of_them_is_said(
    folder: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    values = {"W": rng.normal(size=(2, 4)), "V": rng.normal(size=(4, 6))}
    nodes = [helper.make_node("MatMul", ["x", "W"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("MatMul", ["r", "V"], ["s"]),
             helper.make_node("Softmax", ["s"], ["y"])]  # fmt: skip
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
            for name, size in (("x", 2), ("y", 6))]  # fmt: skip
    constants = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in values.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "soft.onnx").write_bytes(made.SerializeToString())
    words = ["robustness", str(tmp_path / "soft.onnx"), str(folder / "latents.parquet")]
    words += ["--radius", "0", "--limit", "1"]
    result = CliRunner().invoke(app, [*words, "--images", str(folder / "images.parquet")])
    assert "soft.onnx: ends with a Softmax" in str(result.exception)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "soft.onnx: its last Softmax is left out" in result.stderr


def refused(folder: Path, tmp_path: Path, *more: object) -> str:
    out, proofs = tmp_path / "out.parquet", tmp_path / "proofs"
    radius = () if "--radius" in more else ("--radius", "0.1")
    more = (*more, *radius, "--out", out, "--certificates", proofs)
    result = CliRunner().invoke(app, arguments(folder, *more))
    assert isinstance(result.exception, InputError), result.output
    assert not out.exists()
    assert not proofs.exists()
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_bad_input_is_a_line(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for more, said in (
        (("--norm", "l2"), "--norm l2 does not go with --images"),
        (("--unit", "scale"), "--unit scale does not go"),
        (("--limits", "0", "1"), "--limits does not go"),
        (("--largest",), "--largest does not go"),
        (("--target", "z0"), "--target does not go"),
        (("--require", "5"), "--require without --threshold"),
        (("--radius", "w=1"), "no numeric column 'w'"),
        (("--radius", "-1"), "--radius: must be a number"),
        (("--images", tmp_path / "no.csv"), "no.csv: no such file"),
        (("--deviations", tmp_path / "no.csv"), "no.csv: no such file"),
    ):
        assert said in refused(folder, tmp_path, *more)
    files = {
        "narrow": (rng.normal(size=(N, 5)), "has 5 columns, but the network has 6 outputs"),
        "short": (rng.normal(size=(2, 6)), "has 2 rows, but"),
        "missing": (np.where(np.eye(N, 6) > 0, np.nan, 0.0), "missing values"),
    }
    for name, (values, said) in files.items():
        path = table(tmp_path / f"{name}.parquet", values, "p")
        assert said in refused(folder, tmp_path, "--images", path)
    negative = table(tmp_path / "negative.parquet", -np.eye(N, 2), "z")
    message = refused(folder, tmp_path, "--deviations", negative)
    assert "row 1 has a negative deviation" in message
    both = ("--deviations", folder / "deviations.parquet", "--unit", "range")
    assert "give one of them" in refused(folder, tmp_path, *both)


def test_what_is_no_decoder_or_has_no_images_is_refused(folder: Path, tmp_path: Path) -> None:
    quantized(np.random.default_rng(2), 2, 3, "bilinear", "binary", 1).save(tmp_path / "q.npz")
    rows = str(folder / "latents.parquet")
    images = ["--images", str(folder / "images.parquet"), "--radius", "1"]
    for given, said in (
        ([str(tmp_path / "q.npz"), rows, *images], "is no decoder"),
        ([str(folder / "decoder.npz"), rows, "--radius", "1", "--threshold", "1"], "go with"),
    ):
        result = CliRunner().invoke(app, ["robustness", *given])
        assert said in str(result.exception)
