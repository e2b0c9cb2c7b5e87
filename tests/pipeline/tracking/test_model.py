import json
import shutil
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from mlflow.pyfunc import scoring_server

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


PLAIN = {"tenure": [1, 2, 7], "calls": [1, 2, 0], "plan": ["a", "b", "c"],
         "open": [True, False, True]}  # fmt: skip
FRAMES: dict[str, Callable[[], Any]] = {
    "whole numbers": lambda: pd.DataFrame(PLAIN),
    "doubles": lambda: pd.DataFrame({**PLAIN, "tenure": [1.0, 2.0, 7.0], "calls": [1.0, 2.0, 0.0]}),
    "nullable": lambda: pd.DataFrame(PLAIN).convert_dtypes(),
    "category": lambda: pd.DataFrame({**PLAIN, "plan": pd.Categorical(PLAIN["plan"])}),
    "pandas of arrow": lambda: pa.table(PLAIN).to_pandas(),
    "arrow types": lambda: pa.table(PLAIN).to_pandas(types_mapper=pd.ArrowDtype),
    "pyarrow": lambda: pa.table(PLAIN),
    "pyarrow batch": lambda: pa.table(PLAIN).to_batches()[0],
    "polars": lambda: pl.DataFrame(PLAIN),
    "polars category": lambda: pl.DataFrame(PLAIN, schema_overrides={"plan": pl.Categorical}),
    "columns": lambda: PLAIN,
    "rows": lambda: pd.DataFrame(PLAIN).to_dict("records"),
    "array": lambda: pd.DataFrame(PLAIN).to_numpy(dtype=object),
}


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, mlflow.pyfunc.PyFuncModel]:
    """The models of `counted`, each written by MLflow and loaded by it."""
    found = {}
    for missing in ("refuse", "impute"):
        place = tmp_path_factory.mktemp(missing)
        counted(missing).save(place / "net.npz")
        parts = model.packed(place / "net.npz", place / "code")
        with warnings.catch_warnings():
            # Of MLflow's words on types and hints, a person who trains a network needs none.
            warnings.simplefilter("error", UserWarning)
            mlflow.pyfunc.save_model(str(place / "model"), **parts)
            found[missing] = mlflow.pyfunc.load_model(str(place / "model"))
    return found


@pytest.mark.parametrize("missing", ["refuse", "impute"])
@pytest.mark.parametrize("kind", FRAMES)
def test_the_registered_model_takes_frames_as_libraries_read_them(logged, missing, kind) -> None:
    """Whole numbers, nullable ones, categories; and frames that are no frames of pandas."""
    said = counted(missing).predict(pd.DataFrame(PLAIN)).tolist()
    assert logged[missing].predict(FRAMES[kind]()).tolist() == said


GAPS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "nullable": lambda given: pd.DataFrame(given).convert_dtypes(dtype_backend="numpy_nullable"),
    "arrow types": lambda given: pd.DataFrame(given).convert_dtypes(dtype_backend="pyarrow"),
    "pyarrow": pa.table,
    "polars": pl.DataFrame,
}


@pytest.mark.parametrize("kind", GAPS)
def test_gaps_of_every_library_are_missing_values(logged, kind) -> None:
    given = {name: [values[0], None, values[2]] for name, values in PLAIN.items()}
    said = counted("impute").predict(given).tolist()
    assert logged["impute"].predict(GAPS[kind](given)).tolist() == said


@pytest.mark.parametrize("missing", ["refuse", "impute"])
def test_the_file_is_predicted_from_whoever_reads_it(logged, missing, tmp_path) -> None:
    pd.DataFrame(PLAIN).to_csv(tmp_path / "rows.csv", index=False)
    pd.DataFrame(PLAIN).to_parquet(tmp_path / "rows.parquet")
    said = counted(missing).predict(pd.DataFrame(PLAIN)).tolist()
    for reads in (pd.read_csv, pl.read_csv, pyarrow.csv.read_csv):
        assert logged[missing].predict(reads(tmp_path / "rows.csv")).tolist() == said
    for reads in (pd.read_parquet, pl.read_parquet, pyarrow.parquet.read_table):
        assert logged[missing].predict(reads(tmp_path / "rows.parquet")).tolist() == said


REQUESTS: dict[str, Callable[[pd.DataFrame], tuple[str | bytes, str]]] = {
    "dataframe_split": lambda rows: (
        json.dumps({"dataframe_split": rows.to_dict("split")}), "application/json"),
    "dataframe_records": lambda rows: (
        json.dumps({"dataframe_records": rows.to_dict("records")}), "application/json"),
    "inputs by column": lambda rows: (
        json.dumps({"inputs": rows.to_dict("list")}), "application/json"),
    "inputs by row": lambda rows: (
        json.dumps({"inputs": rows.to_dict("records")}), "application/json"),
    "instances": lambda rows: (
        json.dumps({"instances": rows.to_dict("records")}), "application/json"),
    "csv": lambda rows: (rows.to_csv(index=False), "text/csv"),
    "parquet": lambda rows: (rows.to_parquet(), "application/vnd.apache.parquet"),
}  # fmt: skip


@pytest.mark.parametrize("missing", ["refuse", "impute"])
@pytest.mark.parametrize("form", REQUESTS)
def test_mlflows_server_answers_each_form_of_request(logged, missing, form) -> None:
    """What `mlflow models serve` does with a request; columns of any type refused every CSV."""
    one = logged[missing]
    body, kind = REQUESTS[form](pd.DataFrame(PLAIN))
    answer = scoring_server.invocations(body, kind, one, one.metadata.get_input_schema())
    assert answer.status == 200
    said = counted(missing).predict(pd.DataFrame(PLAIN)).tolist()
    assert json.loads(answer.response)["predictions"] == said


def test_one_row_by_name(logged) -> None:
    row = {name: values[0] for name, values in PLAIN.items()}
    said = counted("refuse").predict(pd.DataFrame([row])).tolist()
    assert logged["refuse"].predict(row).tolist() == said


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenure": ["a", "b", "c"]}, "column 'tenure' should be numeric, but row 1 holds 'a'"),
        ({"tenure": None}, "columns missing from the data: tenure (present: calls, plan, open)"),
    ],
)
def test_a_refusal_names_the_column_in_one_line(logged, library, change, message) -> None:
    given = {name: values for name, values in {**PLAIN, **change}.items() if values is not None}
    with pytest.raises(InputError) as error:
        logged["refuse"].predict(library(given))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_a_lazy_frame_is_asked_to_be_collected(logged) -> None:
    with pytest.raises(InputError, match=r"a lazy frame has no rows yet: .*collect\(\)"):
        logged["refuse"].predict(pl.LazyFrame(PLAIN))


def test_the_model_names_its_columns_and_which_are_required(logged) -> None:
    for missing, one in logged.items():
        columns = one.metadata.metadata["columns"]
        assert [column["name"] for column in columns] == list(PLAIN)
        assert [column["holds"] for column in columns] == ["numbers", "numbers", "categories",
                                                            "numbers"]  # fmt: skip
        assert {column["required"] for column in columns} == {missing == "refuse"}


@pytest.mark.parametrize("library", [pd.DataFrame, pl.DataFrame, pa.table])
def test_an_imputing_model_fills_in_columns_that_are_left_out(logged, library) -> None:
    frame = pd.DataFrame({"tenure": [1, None], "plan": ["a", None], "open": [True, False]})
    given = {"tenure": [1, None], "plan": ["a", None], "open": [True, False]}
    with pytest.warns(UserWarning, match="columns left out, taken as missing: calls"):
        found = logged["impute"].predict(library(given))
    assert found.tolist() == counted("impute").predict(frame.assign(calls=np.nan)).tolist()
    strange = {**given, "calls": [1, 1], "plan": ["a", "elsewhere"]}
    with pytest.raises(InputError, match="not seen in training: 'plan' in 1 rows"):
        logged["impute"].predict(library(strange), {"strict": True})
