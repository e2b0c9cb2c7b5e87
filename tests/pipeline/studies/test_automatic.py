import os
import re
import signal
import time

import numpy as np
import pytest

from pipeline.commands.cli import _plan_text
from pipeline.commands.sweep import sweep_command
from pipeline.configuration.reading import dump_config, load_config
from pipeline.results.folder import CONFIG_FILE
from pipeline.studies.training.automatic import (
    chosen,
    foreseen,
    is_automatic,
    stand_in,
    with_defaults,
)
from pipeline.sweeps.driver import SweepOptions, run_sweep
from pipeline.sweeps.interrupts import SIGNALS
from qnn.errors import InputError
from qnn.training import selection
from qnn.training.selection import Choice, Kind
from qnn.training.selection.kinds import LINEAR

# What leaves little to choose.
QUICK = ("widths=[4]", "loss=squared", "activation=bilinear")


@pytest.fixture
def yaml(tmp_path):
    """A CSV of two classes that thresholds tell apart, and a YAML that names nothing else."""
    rng = np.random.default_rng(0)
    X = np.exp(3.0 * rng.normal(size=(150, 2)))
    y = np.where((X[:, 0] > 1.0) != (X[:, 1] > 1.0), "in", "out")
    rows = [f"{a:.6f},{b:.6f},{label}" for (a, b), label in zip(X, y, strict=True)]
    (tmp_path / "two steps.csv").write_text("\n".join(["a,b,class", *rows]) + "\n")
    path = tmp_path / "sweep.yaml"
    path.write_text("data: {source: two steps.csv, target: class}\n")
    return path


def test_nothing_but_source_and_target_is_a_sweep_with_proofs(yaml, tmp_path):
    assert is_automatic(yaml, [])
    location = str(tmp_path / "out")
    settled = chosen(yaml, [], location)
    config = load_config(yaml, settled)
    assert config.name == "two-steps"
    assert config.preprocessing.scaling == "thermometer"
    assert config.preprocessing.compact
    assert (config.loss, len(config.beta.points), len(config.widths)) == ("logistic", 1, 1)
    outcome = run_sweep(config, location, SweepOptions(inline=True))
    assert outcome.exit_code == 0
    assert outcome.champion.fit.test_accuracy > 0.8
    assert 0.0 <= outcome.champion.fit.gap < 0.5
    # Again: what the folder has is what was chosen, without choosing, and all of it is reused.
    again = load_config(yaml, chosen(yaml, [], location))
    assert again == config
    assert run_sweep(again, location, SweepOptions(inline=True)).reused_paths > 0
    # A dry run plans with them as well, and says how much is there.
    more = ["seeds=[0,1]"]
    planned, unsettled, (note,) = foreseen(yaml, more, location)
    assert planned == load_config(yaml, chosen(yaml, more, location))
    assert (unsettled, note.endswith(f"chosen before, in {location}")) == ((), True)
    text = _plan_text(yaml, more, location)
    assert re.search(r"(\d+) of (\d+) are done, \d+ are new; extends seeds", text)
    assert "will be chosen first" not in text


def test_what_is_given_is_kept(yaml):
    overrides = ["preprocessing.scaling=standardize", "widths=[4]", "seeds=[1,2]", "name=own"]
    config = load_config(yaml, chosen(yaml, overrides, "nowhere"))
    assert config.preprocessing.scaling == "standardize"
    assert not config.preprocessing.compact
    assert (config.widths, config.seeds) == ((4,), (1, 2))
    assert config.name == "own"


@pytest.mark.parametrize(
    ("whole", "key", "value"),
    [
        ("preprocessing={scaling: quantile}", ("preprocessing", "scaling"), "quantile"),
        ("preprocessing={compact: false, bias: true}", ("preprocessing", "compact"), False),
        ("preprocessing={thresholds: 5}", ("preprocessing", "thresholds"), 5),
    ],
)
def test_a_whole_mapping_gives_its_keys_as_dotted_ones_do(yaml, whole, key, value):
    standing, unsettled = stand_in(yaml, [whole])
    assert key not in unsettled
    assert ("loss",) in unsettled
    assert getattr(standing.preprocessing, key[1]) == value
    if key == ("preprocessing", "scaling"):
        config = load_config(yaml, chosen(yaml, [whole, *QUICK], "nowhere"))
        assert config.preprocessing.scaling == value


def test_what_is_given_may_be_given_in_parts_and_taken_back(yaml):
    assert not is_automatic(yaml, ["beta={fractions: [0.1]}"])
    whole = f"data={{source: '{yaml.parent}/two steps.csv', target: class}}"
    yaml.write_text("seeds: [1]\n")
    assert stand_in(yaml, [whole])[0].name == "two-steps"
    # The mapping takes the place of what was said before it.
    yaml.write_text("data: {source: two steps.csv, target: class}\n")
    _, unsettled = stand_in(yaml, ["preprocessing.thresholds=5", "preprocessing={bias: true}"])
    assert ("preprocessing", "thresholds") in unsettled


@pytest.mark.parametrize(("given", "constant"), [(None, 32), (5, 5), ("false", 0)])
def test_the_constant_column_is_chosen_unless_it_is_given(yaml, monkeypatch, given, constant):
    monkeypatch.setattr(selection.kinds, "ENCODINGS", ("thermometer",))
    overrides = [] if given is None else [f"preprocessing.bias={given}"]
    overrides += ["activation={polynomial: {a: 0, b: 1, c: 0}}", "widths=[4]"]
    config = load_config(yaml, chosen(yaml, overrides, "nowhere"))
    assert config.preprocessing.bias == constant
    assert f"bias: {config.preprocessing.bias!r}".lower() in dump_config(config)


def test_numbers_are_not_rounded_where_that_is_refused(yaml):
    config = load_config(yaml, chosen(yaml, ["preprocessing.compact=false", "widths=[4]"], "no"))
    assert not config.preprocessing.compact


def test_columns_that_tell_nothing_are_left_out_unless_all_are_asked_for(yaml, tmp_path):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(160, 9))
    y = np.where(X[:, 2] * X[:, 6] > 0.0, "in", "out")
    rows = [f"{','.join(map(str, row))},{label}" for row, label in zip(X, y, strict=True)]
    names = [f"c{j}" for j in range(9)]
    text = "\n".join([",".join([*names, "class"]), *rows]) + "\n"
    (yaml.parent / "two steps.csv").write_text(text)
    location = str(tmp_path / "out")
    config = load_config(yaml, chosen(yaml, [], location))
    assert set(config.preprocessing.columns) == {"c2", "c6"}
    outcome = run_sweep(config, location, SweepOptions(inline=True))
    assert outcome.champion.fit.test_accuracy > 0.8
    assert outcome.champion.fit.bytes < 40
    assert "not read: c0, c1, c3, c4, c5, c7, c8" in _plan_text(yaml, [], location)
    for given in ("preprocessing.columns=null", "preprocessing.scaling=weighted"):
        _, unsettled = stand_in(yaml, [given])
        assert ("preprocessing", "columns") not in unsettled
        assert ("loss",) in unsettled
    given = ["preprocessing.columns=[c2, c6, c7]", "widths=[4]"]
    some = load_config(yaml, chosen(yaml, given, "nowhere"))
    assert some.preprocessing.columns == ("c2", "c6", "c7")


def test_a_folder_from_before_there_was_rounding_is_gone_on_with(yaml, tmp_path):
    location = tmp_path / "out"
    location.mkdir()
    overrides = ["widths=[4]", "preprocessing.scaling=standardize"]
    config = load_config(yaml, chosen(yaml, overrides, "nowhere"))
    text = dump_config(config)
    assert text.count(", compact: false") == 1
    (location / CONFIG_FILE).write_text(text.replace(", compact: false", ""))
    again = load_config(yaml, chosen(yaml, overrides, str(location)))
    assert again == config


def test_a_linear_network_is_written_as_its_polynomial(yaml):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(120, 4))
    y = np.where(X @ [2.0, -2.0, 1.0, 1.0] + rng.normal(size=120) > 0.0, "in", "out")
    rows = [f"{','.join(map(str, row))},{label}" for row, label in zip(X, y, strict=True)]
    (yaml.parent / "two steps.csv").write_text("\n".join(["a,b,c,d,class", *rows]) + "\n")
    config = load_config(yaml, chosen(yaml, ["widths=[4]"], "nowhere"))
    assert config.kinds[0].polynomial == (0.0, 1.0, 0.0)
    given = load_config(yaml, chosen(yaml, ["widths=[4]", "activation=bilinear"], "nowhere"))
    assert given.kinds[0].polynomial is None


def test_one_loss_alone_is_no_list(yaml):
    config = load_config(yaml, chosen(yaml, ["loss=hinge"], "nowhere"))
    assert (config.loss, len(config.widths)) == ("hinge", 1)


def test_a_sweep_with_a_beta_chooses_nothing(yaml):
    assert not is_automatic(yaml, ["beta.fractions=[0.1]"])
    yaml.write_text(yaml.read_text() + "beta: {fractions: [0.1]}\n")
    assert not is_automatic(yaml, [])


def test_the_plan_says_what_choosing_costs(yaml):
    _, unsettled, (line,) = foreseen(yaml, [], "nowhere")
    assert ("widths",) in unsettled
    assert "encoder, loss, beta and width will be chosen first" in line
    assert "on 120 rows, in about" in line
    _, _, (line,) = foreseen(yaml, ["preprocessing.scaling=standardize", "loss=squared"], "nowhere")
    assert "given: beta and width will be chosen first" in line


def test_several_losses_have_no_automatic_beta(yaml):
    with pytest.raises(InputError, match=r"sweep\.yaml: beta: is required where several losses"):
        chosen(yaml, ["loss=[logistic,squared]"], "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {source: nothing.csv, target: class}\n", "nothing.csv"),
        ("data: {source: two steps.csv, target: nothing}\n", "data.target"),
        ("data: {source: two steps.csv, target: class}\nshards: {kind: odd}\n", "shards.kind"),
        ("data: {target: class}\n", "data.source: is required"),
        ("data: 3\n", "data"),
    ],
)
def test_what_cannot_be_read_is_one_line(yaml, text, message):
    yaml.write_text(text)
    with pytest.raises(InputError) as error:
        chosen(yaml, [], "nowhere")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_is_made_of_any_source(yaml):
    for source, name in [
        ("s3://bucket/a folder/churn.parquet", "churn"), ("sklearn:breast_cancer", "breast_cancer"),
        ("/data/…", "sweep"), ("x/.hidden", "hidden"),
        ("s3://bucket/sales?endpoint_override=http://store:9000", "sales"),
    ]:  # fmt: skip
        yaml.write_text(f"data: {{source: '{source}', target: class}}\n")
        assert with_defaults(yaml, [])[0] == f'name="{name}"'


def test_class_weights_reach_the_choice_and_pairs_are_tried_with_them(yaml, tmp_path, monkeypatch):
    asked = []

    def answer(table, target, classes, wanted, *rest):
        asked.append(wanted)
        return Choice(Kind("standardize", 3, "logistic"), 0.1, 4, ())

    monkeypatch.setattr(selection, "choose", answer)
    for given in ("balanced", '{"out": 3}'):
        chosen(yaml, [f"class_weight={given}"], str(tmp_path / given))
    assert [one.class_weight for one in asked] == ["balanced", (1.0, 3.0)]
    assert {one.multi_class for one in asked} == {"auto"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("certify=tightened", "fits, as standardize, logistic: certify 'tightened' needs the squ"),
        ("bounds=learned", "learned bounds are for loss 'squared'"),
        ("relaxation.solver=interior-point", None),
        ("preprocessing.clip=3", None),
        ("rounding=[krivine, refined]", None),
    ],
)
def test_only_what_fits_the_rest_is_compared(yaml, monkeypatch, given, message):
    asked = []

    def answer(table, target, classes, wanted, *rest):
        asked.append(wanted.kinds(table, classes))
        return Choice(asked[0][-1], 0.1, 4, ())

    monkeypatch.setattr(selection, "choose", answer)
    if message is not None:
        for way in (foreseen, chosen):
            with pytest.raises(InputError, match=message):
                way(yaml, [given], "nowhere")
        given = [given, "loss=squared", "activation=bilinear"]
        assert load_config(yaml, chosen(yaml, given, "nowhere")).loss == "squared"
        return
    config = load_config(yaml, chosen(yaml, [given], "nowhere"))
    (compared,) = asked
    every = {(kind.scaling, kind.activation == LINEAR) for kind in compared}
    encodings = {"standardize", "weighted", "thermometer"}
    if "clip" in given:
        assert every == {(one, x) for one in encodings - {"thermometer"} for x in (False, True)}
    elif "krivine" in given:
        assert every == {(one, False) for one in encodings}
        assert config.activation == "bilinear"
    else:
        assert every == {(one, x) for one in encodings for x in (False, True)}


def test_an_interrupt_while_choosing_ends_in_its_line_and_code(yaml, monkeypatch, capsys):
    def interrupted(*question):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    monkeypatch.setattr(selection, "choose", interrupted)
    before = [signal.getsignal(signum) for signum in SIGNALS]
    try:
        code = sweep_command(
            yaml, None, (), address=None, cpus=1, max_failures=0, retry_failed=False
        )
    finally:
        for signum, handler in zip(SIGNALS, before, strict=True):
            signal.signal(signum, handler)
    assert code == 143
    assert "interrupted (SIGTERM): what is finished is kept in out/two-steps" in (
        capsys.readouterr().err
    )


def test_an_address_where_nothing_runs_is_refused_before_anything_is_chosen(yaml, monkeypatch):
    monkeypatch.setattr(selection, "choose", lambda *question: pytest.fail("chosen"))
    with pytest.raises(InputError, match="Ray Client"):
        sweep_command(
            yaml, None, (), address="ray://a:1", cpus=1, max_failures=0, retry_failed=False
        )
