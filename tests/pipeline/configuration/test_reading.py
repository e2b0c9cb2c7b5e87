from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.configuration.beta import Beta
from pipeline.configuration.kinds import Kind
from pipeline.configuration.reading import SweepConfig, dump_config, load_config, parse_config
from pipeline.configuration.yaml_text import dump_yaml, parse_yaml
from pipeline.plans.studies import study_of_file
from qnn.errors import InputError

SWEEPS = Path(__file__).parents[3] / "infra" / "sweeps"
MINIMAL = """
name: small
data: {source: "sklearn:iris"}
shards: {kind: kfold, count: 3}
beta: {values: [2, 1.5]}
"""


def parse(*overrides: str) -> SweepConfig:
    return parse_config(MINIMAL, "sweep.yaml", overrides)


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_load_and_resolve(path: Path) -> None:
    study = study_of_file(path)
    config = load_config(path, [], study.config)
    assert parse_config(dump_config(config), "resolved", [], study.config) == config
    if study.name == "training":
        source = config.data.source
        assert source.startswith("sklearn:") or Path(source).is_absolute()


def test_the_default_sweep_covers_what_it_promises() -> None:
    config = load_config(SWEEPS / "wdbc.yaml")
    assert config.data.source == "sklearn:breast_cancer"
    assert config.shards.count >= 5
    assert (len(config.beta.points), config.beta.form) == (12, "fractions")
    points = [beta.written for beta in config.beta.points]
    assert (points[0], points[-1]) == (0.3, 0.002)
    ratios = [a / b for a, b in pairwise(points)]
    assert max(ratios) == pytest.approx(min(ratios), rel=1e-5)
    assert (config.seeds, config.widths) == ((0, 1, 2, 3), (8, 32, 128))


def test_defaults_and_names_that_follow_the_sweep() -> None:
    config = parse()
    assert (config.experiment, config.registered_model, config.group_column) == (
        "small",
        "small",
        None,
    )
    assert config.beta.points == (Beta(2.0, "values"), Beta(1.5, "values"))
    assert parse("tracking.experiment=other").experiment == "other"


def test_the_config_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse().name = "x"  # the point of the test: pydantic refuses


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("shards.count=1", "sweep.yaml: shards.count: must be at least 2 (got 1)"),
        ("shards.count='3'", 'sweep.yaml: shards.count: must be a whole number (got "3")'),
        ("shards.cuont=3", "sweep.yaml: shards.cuont: unknown key (known: kind, count, seed)"),
        (
            "data.mising=impute",
            "sweep.yaml: data.mising: unknown key (known: source, target, positive, features, "
            "exclude, categorical, missing, missing_values, missing_target, separator, decimal, "
            "thousands, quote, encoding, comment, constant_columns)",
        ),
        (
            "shards.kind=random",
            "sweep.yaml: shards.kind: must be one of 'kfold', 'parts', 'column' "
            '(got {"kind": "random", "count": 3})',
        ),
        ("shards={count: 3}", "sweep.yaml: shards.kind: is required: one of kfold, parts, column"),
        ("shards.kind=column", "sweep.yaml: shards.column: is required; shards.count: unknown key "
         "(known: kind, column, seed, validation_fraction)"),
        ("beta={values: [0]}", "sweep.yaml: beta.values[0]: must be greater than 0 (got 0)"),
        ("beta={values: [1, -2]}", "sweep.yaml: beta.values[1]: must be greater than 0 (got -2)"),
        ("beta={values: [.nan]}", "sweep.yaml: beta.values[0]: must be finite (got NaN)"),
        ("beta={values: []}", "sweep.yaml: beta.values: must not be empty"),
        ("beta={fractions: []}", "sweep.yaml: beta.fractions: must not be empty"),
        ("beta={fractions: [2]}", "sweep.yaml: beta.fractions[0]: must be at most 1 (got 2)"),
        (
            "beta={fractions: {start: 1, stop: 0.1, count: 1}}",
            "sweep.yaml: beta.fractions.count: must be at least 2 (got 1)",
        ),
        (
            "beta={fractions: {start: 0.1, stop: 0.1, count: 3}}",
            "sweep.yaml: beta: 0.1 occurs twice",
        ),
        ("beta={}", "sweep.yaml: beta: give either fractions or values, not both or none"),
        ("beta.fractions=[1]",
         "sweep.yaml: beta: give either fractions or values, not both or none"),
        ("seeds=[]", "sweep.yaml: seeds: must not be empty"),
        ("seeds=[1, 1]", "sweep.yaml: seeds: 1 occurs twice"),
        ("seeds=3", "sweep.yaml: seeds: must be a list (got 3)"),
        ("seeds=[-1]", "sweep.yaml: seeds[0]: must be at least 0 (got -1)"),
        ("seeds=[true]", "sweep.yaml: seeds[0]: must be a whole number (got true)"),
        (
            f"seeds=[{2**63}]",
            f"sweep.yaml: seeds[0]: must be less than 9.22337e+18 (got {2**63})",
        ),
        (
            "relaxation.time_limit=0",
            "sweep.yaml: relaxation.time_limit: must be greater than 0 (got 0)",
        ),
        (
            "relaxation.time_limit=-1",
            "sweep.yaml: relaxation.time_limit: must be greater than 0 (got -1)",
        ),
        ("certify_time_limit=.nan", "sweep.yaml: certify_time_limit: must be finite (got NaN)"),
        ("baseline_seconds=[0]", "sweep.yaml: baseline_seconds[0]: must be greater than 0 (got 0)"),
        ("widths=[8, -1]", "sweep.yaml: widths[1]: must be at least 1 (got -1)"),
        ("widths=[1.5]", "sweep.yaml: widths[0]: must be a whole number (got 1.5)"),
        ("rounding=[sign]",
         "sweep.yaml: rounding[0]: must be 'krivine', 'refined' or 'graduated' (got \"sign\")"),
        ("loss=cubic", "sweep.yaml: loss: must be"),
        ("loss_parameter=0.5",
         "sweep.yaml: loss_parameter belongs to loss huber, but loss is squared: remove it"),
        ("activation=relu", "sweep.yaml: activation: must be 'bilinear' (got \"relu\")"),
        ("activation={polynomial: {a: x}}",
         'sweep.yaml: activation.polynomial.a: must be a number (got "x")'),
        ("activation={polynomial: {}}",
         "sweep.yaml: activation.polynomial: a, b and c must not all be 0"),
        ("activation={cubic: 1}", "sweep.yaml: activation.polynomial: is required; "
         "activation.cubic: unknown key (known: polynomial)"),
        ("activation={polynomial: {a: 1}}",
         "sweep.yaml: rounding krivine needs the bilinear activation, but activation is "
         "polynomial: use rounding: [refined]"),
        ("alphabet=2", "sweep.yaml: rounding krivine makes binary weights, but alphabet is 2: use "
         "rounding: [refined], or alphabet: binary"),
        ("alphabet=8", "sweep.yaml: alphabet: must be 'binary', 'ternary', 2, 3, 4, 5, 6 or 7 "
         "(got 8)"),
        ("second_layer=9", "sweep.yaml: second_layer: must be 'float', 'common', 2, 3, 4, 5, 6, 7 "
         "or 8 (got 9)"),
        ("relaxation.tol=small", 'sweep.yaml: relaxation.tol: must be a number (got "small")'),
        ("relaxation.tol=true", "sweep.yaml: relaxation.tol: must be a number (got true)"),
        ("test.fraction=1", "sweep.yaml: test.fraction: must be less than 1 (got 1)"),
        ("preprocessing.bias=yes",
         'sweep.yaml: preprocessing.bias: must be true, false or a whole number up to 1024 '
         '(got "yes")'),
        ("preprocessing=3", "sweep.yaml: preprocessing: must be a mapping (got 3)"),
        (
            "data.positive=[1]",
            "sweep.yaml: data.positive: must be a label: text, a number, true or false (got [1])",
        ),
        ("data={}", "sweep.yaml: data.source: is required"),
        ("data.features=[target, a]", "sweep.yaml: data.target 'target' cannot be a feature too"),
        (
            "name=../up",
            "sweep.yaml: name: may hold letters, digits, '.', '_', '-', and starts with one of the "
            'first two (got "../up")',
        ),
        ("name", "--set name: write key.path=value, as in --set test.fraction=0.3"),
        ("data.source.x=1", "--set data.source.x=1: data.source is not a mapping"),
        (
            "seeds=[1",
            "--set seeds=[1: not valid YAML: expected ',' or ']', but got '<stream end>' "
            "(line 1, column 3)",
        ),
    ],
)  # fmt: skip
def test_a_bad_value_is_one_line_with_its_key(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(override)
    assert (
        str(caught.value).startswith(message)
        if message.endswith("be")
        else (str(caught.value) == message)
    )
    assert "\n" not in str(caught.value)


def test_cross_checks() -> None:
    column = "shards={kind: column, column: site}"
    assert parse(column).group_column == "site"
    for overrides, message in [
        ((column, "data.target=site"), "shards.column 'site' is the target; choose another column"),
        ((column, "data.features=[site]"), "shards.column 'site' cannot be a feature too"),
        (
            ("task=regression", "data.positive=a"),
            "data.positive names a class, but task is regression; remove it",
        ),
        (
            ("data.features=[a, b]", "data.exclude=[b]"),
            "column 'b' is both in data.features and in data.exclude",
        ),
    ]:
        with pytest.raises(InputError) as caught:
            parse(*overrides)
        assert str(caught.value) == f"sweep.yaml: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "sweep.yaml: must be a mapping of keys (name, data, shards, beta, …)"),
        ("- 1", "sweep.yaml: must be a mapping of keys (name, data, shards, beta, …)"),
        ("a: 1\na: 2", "sweep.yaml: not valid YAML: the key 'a' occurs twice (line 2, column 1)"),
        ("a: &x 1\nb: *x", "sweep.yaml: not valid YAML: the alias *x is not supported here "
         "(line 2, column 4)"),
        ("a: !!python/name:os.system", "sweep.yaml: not valid YAML: could not determine a "
         "constructor for the tag 'tag:yaml.org,2002:python/name:os.system' (line 1, column 4)"),
        ("[" * 5000, "sweep.yaml: nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_no_config_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_config(text, "sweep.yaml")
    assert str(caught.value) == message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file$"):
        load_config(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.yaml: cannot be read: is not UTF-8 text$"):
        load_config(tmp_path / "binary.yaml")


def test_sources_are_found_beside_the_config_then_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, current = tmp_path / "beside", tmp_path / "current"
    for folder in (beside, current):
        folder.mkdir()
        (folder / "both.csv").touch()
    (current / "here.csv").touch()
    monkeypatch.chdir(current)

    def source(text: str) -> str:
        (beside / "sweep.yaml").write_text(MINIMAL.replace("sklearn:iris", text))
        return load_config(beside / "sweep.yaml").data.source

    assert source("both.csv") == str(beside / "both.csv")
    assert source("here.csv") == str(current / "here.csv")
    assert source("nowhere.csv") == "nowhere.csv"
    assert source("s3://bucket/x.csv") == "s3://bucket/x.csv"
    assert source("sklearn:iris") == "sklearn:iris"


def test_overrides_create_and_replace() -> None:
    config = parse("relaxation.tol=1e-6", "test.fraction=0", "data.positive=yes", "widths=[4]")
    assert (config.relaxation.tol, config.test.fraction) == (1e-6, 0.0)
    assert (config.data.positive, config.widths) == ("yes", (4,))


def test_plain_scalars_mean_what_they_look_like() -> None:
    text = "{a: 1e-4, b: no, c: 2024-01-01, d: 007, e: 12:30, f: true, g: , h: 3, i: .5, j: 1_0}"
    assert parse_yaml(text, "x") == {
        "a": 1e-4, "b": "no", "c": "2024-01-01", "d": "007", "e": "12:30", "f": True, "g": None,
        "h": 3, "i": 0.5, "j": "1_0",
    }  # fmt: skip


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(deadline=None)
@example({"\x85": "a\x85b", "\u2028": ["\u2029 "]})
@given(plain)
def test_yaml_reads_back_what_it_wrote(data: object) -> None:
    assert parse_yaml(dump_yaml(data), "x") == data


@settings(deadline=None)
@given(
    values=st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=5, unique=True),
    seeds=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4, unique=True),
    positive=st.none() | st.text() | st.integers() | st.booleans(),
    missing_values=st.lists(st.text(), max_size=3),
)
def test_the_resolved_config_reads_back_equal(
    values: list[float], seeds: list[int], positive: object, missing_values: list[str]
) -> None:
    raw = parse_yaml(MINIMAL, "x")
    raw["beta"], raw["seeds"] = {"values": values}, seeds
    raw["data"] |= {"positive": positive, "missing_values": missing_values}
    config = parse_config(dump_yaml(raw), "x")
    again = parse_config(dump_config(config), "y")
    assert again == config
    assert dump_config(again) == dump_config(config)
    assert [beta.written for beta in again.beta.points] == sorted(values, reverse=True)


def test_every_kind_of_network_can_be_written_and_reads_back() -> None:
    config = parse(
        "loss=huber", "loss_parameter=0.5", "rounding=[refined]", "alphabet=3", "second_layer=4",
        "activation={polynomial: {a: 0.0937, b: 0.5, c: 0.4688}}",
    )  # fmt: skip
    assert config.kinds == (Kind("huber", 0.5, (0.0937, 0.5, 0.4688), "3"),)
    assert (config.alphabet, config.second_layer) == (3, 4)
    assert parse_config(dump_config(config), "again") == config
    assert parse().kinds == (Kind("squared", None, None, "binary"),)


def test_a_margin_loss_is_no_loss_of_a_regression() -> None:
    with pytest.raises(InputError) as error:
        parse("task=regression", "loss=hinge")
    assert str(error.value) == (
        "sweep.yaml: loss hinge takes two classes, but task is regression: use absolute, huber or "
        "squared"
    )


def test_a_slip_in_a_required_key_is_one_complaint() -> None:
    text = """
name: t
data: {source: t.csv}
shards: {kind: kfold, cuont: 3}
beta: {fractions: {start: 1, stop: 0.1, conut: 3}}
"""
    with pytest.raises(InputError) as error:
        parse_config(text, "t.yaml")
    assert str(error.value) == (
        "t.yaml: shards.cuont: unknown key (known: kind, count, seed); "
        "beta.fractions.conut: unknown key (known: start, stop, count)"
    )
    # Another key of another kind is no slip.
    with pytest.raises(InputError, match=r"shards\.count: is required; shards\.column: unknown"):
        parse_config(text.replace("cuont: 3", "column: site"), "t.yaml")


@pytest.mark.parametrize(
    ("key", "sign"),
    [("decimal", ","), ("separator", "|"), ("separator", ";"), ("thousands", "'"),
     ("thousands", "."), ("comment", "#"), ("comment", "%"), ("quote", '"'), ("comment", "-")],
)  # fmt: skip
def test_a_sign_alone_is_set_as_it_is_typed(key: str, sign: str) -> None:
    text = "name: t\ndata: {source: t.csv}\nshards: {kind: kfold, count: 2}\nbeta: {values: [1]}\n"
    config = parse_config(text, "t.yaml", [f"data.{key}={sign}"])
    assert getattr(config.data, key) == sign


def test_null_is_no_sign() -> None:
    text = "name: t\ndata: {source: t.csv, comment: '#'}\nshards: {kind: kfold, count: 2}\n"
    config = parse_config(text, "t.yaml", ["data.comment=~", "beta.values=[1]"])
    assert config.data.comment is None
