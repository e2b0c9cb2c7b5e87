import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.tracking import model
from qnn.errors import InputError
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.quantized import QuantizedNetwork

# Only these may be imported from qnn's dependencies by a model: everything else is blocked.
BLOCKED = ("sklearn", "scipy", "numba", "cvxpy", "scs", "clarabel", "ray", "typer", "matplotlib",
           "pipeline")  # fmt: skip


def table(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "height": rng.normal(170, 10, rows),
            "colour": rng.choice(["red", "green", "blue"], rows),
            "weight": rng.normal(70, 8, rows),
        }
    )


def network(missing: str = "refuse", regression: bool = False) -> QuantizedNetwork:
    data = table()
    layout = FeatureLayout.from_table(data, missing=missing)
    target = data["weight"].to_numpy() if regression else np.where(data["height"] > 170, "tall",
                                                                   "small")  # fmt: skip
    preprocessing = layout.fit(data, target, None if regression else ("small", "tall"))
    rng = np.random.default_rng(1)
    U, V = (rng.choice([-1, 1], (layout.d, 3)).astype(np.int8) for _ in range(2))
    return QuantizedNetwork(U=U, V=V, alpha=np.full(3, 0.1), preprocessing=preprocessing)


def test_the_example_is_a_typical_row_that_predicts() -> None:
    one = network()
    example = model.example_row(one)
    assert list(example.columns) == ["height", "colour", "weight"]
    assert example["height"].iloc[0] == np.median(table()["height"])
    assert example["colour"].iloc[0] == table()["colour"].mode().iloc[0]
    assert one.predict(example)[0] in ("small", "tall")


def test_a_network_without_preprocessing_is_refused() -> None:
    bare = QuantizedNetwork(
        U=np.ones((2, 1), np.int8), V=np.ones((2, 1), np.int8), alpha=np.ones(1)
    )
    with pytest.raises(InputError, match="no preprocessing; train it in a sweep"):
        model.example_row(bare)


@pytest.mark.parametrize("regression", [False, True])
def test_the_code_that_travels_predicts_alone(tmp_path: Path, regression: bool) -> None:
    """The copied package, in a process where the solvers' dependencies cannot be imported."""
    one = network("impute", regression)
    one.save(tmp_path / "net.npz")
    data = table(10)
    data.to_parquet(tmp_path / "rows.parquet")
    package = model.copy_code(tmp_path / "code")
    script = f"""
    import sys
    class Block:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {BLOCKED!r}:
                raise ImportError("blocked: " + name)
    sys.meta_path.insert(0, Block())
    sys.path.insert(0, {str(package.parent)!r})
    import numpy as np
    import pandas as pd
    from qnn.networks import quantized
    assert quantized.__file__.startswith({str(package)!r}), quantized.__file__
    network = quantized.QuantizedNetwork.load({str(tmp_path / "net.npz")!r})
    rows = pd.read_parquet({str(tmp_path / "rows.parquet")!r})
    np.save({str(tmp_path / "out.npy")!r}, network.scores(rows))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, cwd=tmp_path)
    assert np.array_equal(np.load(tmp_path / "out.npy"), one.scores(data))


def test_the_copied_code_has_no_caches(tmp_path: Path) -> None:
    package = model.copy_code(tmp_path)
    assert {file.suffix for file in package.rglob("*") if file.is_file()} == {".py"}
    shutil.rmtree(package)


def counted(missing: str) -> QuantizedNetwork:
    data = {
        "tenure": np.arange(10.0),
        "calls": np.arange(10) % 3,
        "plan": np.array(list("aabbccaabb"), dtype=object),
        "open": np.arange(10) % 2 == 0,
    }
    layout = FeatureLayout.from_table(data, missing=missing)
    preprocessing = layout.fit(data, np.array(list("xy" * 5)), ["x", "y"])
    rng = np.random.default_rng(1)
    U, V = (rng.choice([-1, 1], (layout.d, 3)).astype(np.int8) for _ in range(2))
    return QuantizedNetwork(U, V, np.array([0.3, -0.2, 0.1]), preprocessing=preprocessing)


FRAMES = {
    "whole numbers": {"tenure": [1, 2, 7], "calls": [1, 2, 0]},
    "doubles": {"tenure": [1.0, 2.0, 7.0], "calls": [1.0, 2.0, 0.0]},
    "nullable": {"tenure": pd.array([1, 2, 7], dtype="Int64"), "open": pd.array(
        [True, False, True], dtype="boolean")},
    "category": {"plan": pd.Categorical(["a", "b", "c"])},
}  # fmt: skip


@pytest.mark.parametrize("missing", ["refuse", "impute"])
@pytest.mark.parametrize("kind", [*FRAMES, "arrow", "arrow types"])
def test_the_registered_model_takes_frames_as_libraries_read_them(missing: str, kind: str) -> None:
    """Through MLflow's own check of the signature, which refused int64 where it had seen double."""
    import pyarrow as pa
    from mlflow.models.utils import _enforce_schema

    plain = {"tenure": [1, 2, 7], "calls": [1, 2, 0], "plan": ["a", "b", "c"],
             "open": [True, False, True]}  # fmt: skip
    frame = pd.DataFrame({**plain, **FRAMES.get(kind, {})})
    if kind.startswith("arrow"):
        mapper = pd.ArrowDtype if kind == "arrow types" else None
        frame = pa.table(plain).to_pandas(types_mapper=mapper)
    one = counted(missing)
    checked = _enforce_schema(frame, model.input_schema(one))
    assert one.predict(checked).tolist() == one.predict(pd.DataFrame(plain)).tolist()


def test_a_refusal_names_the_column_in_one_line() -> None:
    from mlflow.models.utils import _enforce_schema

    frame = pd.DataFrame({"tenure": ["a", "b"], "calls": [1, 2], "plan": ["a", "b"],
                          "open": [True, False]})  # fmt: skip
    one = counted("refuse")
    with pytest.raises(InputError) as error:
        one.predict(_enforce_schema(frame, model.input_schema(one)))
    assert str(error.value).startswith("column 'tenure' should be numeric, but row 1 holds 'a'")
    assert "\n" not in str(error.value)


def test_columns_of_an_imputing_model_are_not_required(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from pipeline.tracking.loaded_model import NetworkModel

    one = counted("impute")
    assert not any(column.required for column in model.input_schema(one).inputs)
    assert all(column.required for column in model.input_schema(counted("refuse")).inputs)
    one.save(tmp_path / "net.npz")
    loaded = NetworkModel()
    loaded.load_context(SimpleNamespace(artifacts={"network": str(tmp_path / "net.npz")}))
    frame = pd.DataFrame({"tenure": [1, None], "plan": ["a", None], "open": [True, False]})
    with pytest.warns(UserWarning, match="columns left out, taken as missing: calls"):
        found = loaded.predict(None, frame)
    assert found.tolist() == one.predict(frame.assign(calls=np.nan)).tolist()
    strange = frame.assign(calls=1, plan=["a", "elsewhere"])
    with pytest.raises(InputError, match="not seen in training: 'plan' in 1 rows"):
        loaded.predict(None, strange, {"strict": True})
