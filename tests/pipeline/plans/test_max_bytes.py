"""`max_bytes` of a sweep: what is chosen fits, and a width that could exceed it is refused."""

from pathlib import Path

import pytest

from pipeline.configuration.descriptions import description
from pipeline.configuration.reading import load_config
from pipeline.plans.plan import plan_of
from pipeline.studies.training.automatic import chosen, foreseen
from pipeline.sweeps.driver import SweepOptions, run_sweep
from qnn.errors import InputError
from qnn.networks.quantized import QuantizedNetwork
from tests.pipeline.classes import classes_config, write_classes


def test_the_plan_says_the_limit_and_refuses_widths_beyond_it(tmp_path: Path) -> None:
    text = plan_of(classes_config(tmp_path, max_bytes=500)).describe()
    assert "max_bytes" in text
    assert "500" in text
    with pytest.raises(InputError, match=r"width 8 can take \d+ bytes .* at most \d neurons fit"):
        plan_of(classes_config(tmp_path, max_bytes=150))
    with pytest.raises(InputError, match="not even one neuron fits"):
        plan_of(classes_config(tmp_path, max_bytes=10))
    with pytest.raises(InputError, match="max_bytes"):
        classes_config(tmp_path, max_bytes=0)


def test_names_of_columns_and_classes_are_not_counted_and_the_key_says_so(tmp_path: Path) -> None:
    config, file = classes_config(tmp_path, max_bytes=150), tmp_path / "classes.csv"
    with pytest.raises(InputError) as short:
        plan_of(config)
    file.write_text(file.read_text().replace("p,q", "p of a longer name,q").replace("<", "<" * 99))
    with pytest.raises(InputError) as long:
        plan_of(config)
    assert str(long.value) == str(short.value)
    told = description("training", "SweepConfig", "max_bytes")
    assert told is not None
    assert "no names of columns, categories or classes" in told


def test_a_sweep_that_names_nothing_else_ends_in_a_network_that_fits(tmp_path: Path) -> None:
    write_classes(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text("data: {source: classes.csv, target: target}\nmax_bytes: 120\n")
    location = str(tmp_path / "out")
    # Before there is a choice, a plain setting is planned, which would not fit.
    standing, unsettled, (note,) = foreseen(path, ["activation=bilinear"], location)
    assert unsettled
    assert "within 120 bytes" in note
    assert "trials" in plan_of(standing).describe()
    config = load_config(path, chosen(path, ["activation=bilinear"], location))
    outcome = run_sweep(config, location, SweepOptions(inline=True))
    assert outcome.exit_code == 0
    assert outcome.champion is not None
    file = tmp_path / "out" / str(outcome.champion.fit.network)
    network = QuantizedNetwork.load(file)
    assert network.preprocessing is not None
    assert network.size_in_bytes + network.preprocessing.bytes_of_numbers <= 120


def test_a_limit_is_checked_before_the_choice_only_where_the_choice_cannot_keep_it(
    tmp_path: Path,
) -> None:
    write_classes(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text("data: {source: classes.csv, target: target}\nmax_bytes: 10\n")
    # No network fits: the sweep refuses it as it chooses, and so does its plan.
    for ask in (chosen, foreseen):
        with pytest.raises(InputError, match=r"max_bytes is 10, but the smallest network"):
            ask(path, ["activation=bilinear"], "nowhere")
    encoder = {"scaling": "standardize", "thresholds": 4, "compact": "false"}
    given = [*(f"preprocessing.{key}={value}" for key, value in encoder.items()), "widths=[8]"]
    with pytest.raises(InputError, match="of 8 neurons an output, may take") as said:
        foreseen(path, given, "nowhere")
    least = str(said.value).partition("may take ")[2].split()[0]
    open_yet = foreseen(path, [*given, f"max_bytes={least}"], "nowhere")[0]
    assert open_yet.max_bytes is None
    fixed = [*given, "activation=bilinear", "multi_class=one_vs_rest"]
    standing, unsettled, _ = foreseen(path, fixed, "nowhere")
    assert set(unsettled) == {("loss",), ("beta", "fractions")}
    with pytest.raises(InputError, match="not even one neuron fits"):
        plan_of(standing)


def test_a_width_that_is_given_fits_with_what_is_chosen(tmp_path: Path) -> None:
    write_classes(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text("data: {source: classes.csv, target: target}\nwidths: [4]\n")
    overrides = ["activation=bilinear", "multi_class=one_vs_rest"]
    with pytest.raises(InputError, match="of 4 neurons an output, may take") as said:
        chosen(path, [*overrides, "max_bytes=10"], "nowhere")
    least = str(said.value).partition("may take ")[2].split()[0]
    config = load_config(path, chosen(path, [*overrides, f"max_bytes={least}"], "nowhere"))
    assert config.widths == (4,)
    assert "trials" in plan_of(config).describe()
