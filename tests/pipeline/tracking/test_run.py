"""A run's requests; names of columns, labels and files, held against MLflow's own checks."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name, _validate_param

from pipeline.tracking.run import TrackedRun, names_for, paths_for


@given(st.lists(st.text(max_size=260), unique=True, max_size=6))
@example(["km/", "km_", "km", "/", "", ".", "..", " ", "a/../b", "a//b", "x" * 300, "x" * 299])
@example(["年龄", "性别", "größe", "a%", "a$", "A%", "km/" + "x" * 300])
def test_mlflow_takes_every_name_and_no_two_are_one(words: list[str]) -> None:
    for found in (names_for(words), paths_for(words)):
        assert list(found) == words
        assert len({name.casefold() for name in found.values()}) == len(words)
        for name in found.values():
            _validate_metric_name(f"drift/psi/{name}")
            _validate_metric_name(name)
            _validate_param(name, "1")


@pytest.mark.parametrize("word", ["a", "年龄", "größe", "2 b", "a.b:c-d_", "class_weight.yes"])
def test_what_mlflow_takes_stays_as_it_is(word: str) -> None:
    assert names_for([word])[word] == word
    assert paths_for([f"{word}/{word}"]) == {f"{word}/{word}": f"{word}/{word}"}


def test_what_it_refuses_is_spelt_otherwise() -> None:
    assert names_for(["km/", "a/b", ".", "x (1)"]) == {
        "km/": "km_", "a/b": "a_b", ".": "_.", "x (1)": "x _1_",
    }  # fmt: skip
    assert paths_for(["w.<=50K", "w.>50K", "n/a"]) == {
        "w.<=50K": "w.__50K", "w.>50K": "w._50K", "n/a": "n/a",
    }  # fmt: skip
    first, second = names_for(["a%", "a$"]).values()
    assert first != second
    assert first.startswith("a_-")


def test_many_parameters_go_in_several_requests_and_tags_last() -> None:
    client = Mock()
    data = SimpleNamespace(tags={}, params={"p0": "0"}, metrics={})
    run = TrackedRun(client, SimpleNamespace(info=Mock(run_id="1"), inputs=None, data=data))
    parameters = {f"p{k}": str(k) for k in range(251)}
    run.log(parameters=parameters, tags={"done": "true"})
    calls = [call.kwargs for call in client.log_batch.call_args_list]
    assert [len(call["params"]) for call in calls] == [100, 100, 50]
    assert [len(call.get("tags", [])) for call in calls] == [0, 0, 1]
    client.log_batch.reset_mock()
    run.log(parameters=parameters)
    client.log_batch.assert_not_called()
