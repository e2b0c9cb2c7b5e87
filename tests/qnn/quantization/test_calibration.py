"""The whole: a float model and rows in, a model that onnxruntime runs, with its proofs, out."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import qnn.quantization
from qnn.certificates.layers import verify_layer, verify_layer_file
from qnn.certificates.layers.allocation import Parts
from qnn.errors import InputError
from qnn.quantization import Quantized, quantize
from qnn.quantization.allocation import allocate
from qnn.quantization.graph.execution import run
from qnn.quantization.graph.reading import read_model
from qnn.quantization.runtime import check_in_runtime
from qnn.quantization.tuning import divergence, match_statistics
from tests.qnn.quantization.networks import Maker, cnn, mlp, rows

Array = np.ndarray


def outputs(made: Quantized | onnx.ModelProto, X: Array) -> Array:
    model = made.model if isinstance(made, Quantized) else made
    session = onnxruntime.InferenceSession(model.SerializeToString())
    output: Array = session.run(None, {"x": X})[0]
    return output


def agrees(made: Quantized, X: Array) -> None:
    """onnxruntime computes what we simulate, but where a code of an activation is a tie."""
    theirs, ours = outputs(made, X), made.simulate(X)
    off = np.abs(theirs - ours).reshape(len(X), -1).max(axis=1)
    assert np.mean(off > 1e-3 * np.abs(ours).max()) <= 0.01
    assert off.max() <= 0.1 * np.abs(ours).max()


@pytest.mark.parametrize("group", ["neuron", "layer"])
@pytest.mark.parametrize("method", list(qnn.quantization.METHODS))
def test_onnxruntime_runs_every_method(method: str, group: str) -> None:
    X = rows(120, (12,))
    made = quantize(mlp(), X, 3.0, method=method, certify="none", group=group, beam=8, damp=1e-2)
    agrees(made, rows(400, (12,), 1))
    assert made.allocation.spent <= made.allocation.budget
    assert made.certificates == {}
    assert divergence(outputs(mlp(), X).astype(float), made.simulate(X)) == pytest.approx(
        made.divergence, rel=1e-3, abs=1e-7
    )


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("activation_bits", [4, 8])
def test_each_width_runs(bits: int, activation_bits: int) -> None:
    X = rows(100, (12,))
    made = quantize(
        mlp(),
        X,
        8.0,
        (bits,),
        certify="none",
        activation_bits=activation_bits,
        beam=8,
        damp=1e-2,
    )
    agrees(made, rows(300, (12,), 1))
    kinds = {t.data_type for t in made.model.graph.initializer}
    stored = {2: onnx.TensorProto.INT2, 3: onnx.TensorProto.INT4, 4: onnx.TensorProto.INT4}
    assert stored.get(bits, onnx.TensorProto.INT8) in kinds


def test_a_convolutional_network_of_all_known_nodes_runs() -> None:
    X = rows(60, (2, 8, 8))
    made = quantize(cnn(), X, 4.0, certify="bound", beam=8)
    agrees(made, rows(200, (2, 8, 8), 1))
    assert len(made.certificates) == 5  # the grouped convolution has two blocks
    for name, certificate in made.certificates.items():
        proof = verify_layer(certificate, *made.rows[name])
        assert (proof.bound > 0.0).any()
    assert made.divergence < 0.2


def test_the_proofs_are_written_and_verified_from_files(tmp_path: Path) -> None:
    made = quantize(mlp(), rows(100, (12,)), 3.0, certify="joint", beam=8, most_nodes=200_000)
    made.save(tmp_path / "small.onnx")
    assert (
        outputs(onnx.load(tmp_path / "small.onnx"), rows(9, (12,))) == outputs(made, rows(9, (12,)))
    ).all()
    paths = made.save_certificates(tmp_path / "proofs")
    assert len(paths) == 3
    states = []
    for path in paths:
        states += verify_layer_file(path).state
    assert "optimal" in states
    assert made.allocation.verify() == pytest.approx(made.allocation.value)
    text = made.report()
    assert "Gemm0" in text
    assert f"{made.bytes:,} bytes" in text


def test_equal_calls_give_equal_bytes() -> None:
    X = rows(80, (12,))
    one, two = (quantize(mlp(), X, 3.0, certify="none", beam=8) for _ in range(2))
    assert one.model.SerializeToString() == two.model.SerializeToString()


def test_more_bits_are_nearer_and_larger() -> None:
    X = rows(200, (12,))
    made = [quantize(mlp(), X, b, (int(b),), certify="none", beam=16) for b in (2.0, 4.0, 8.0)]
    assert made[0].divergence > made[1].divergence > made[2].divergence
    assert made[0].bytes < made[1].bytes < made[2].bytes
    assert made[2].divergence < 1e-3


def test_rows_of_mixed_bits_save_bytes() -> None:
    sizes = (40, 64, 48, 6)
    X = rows(200, (40,))
    four = quantize(mlp(sizes), X, 4.0, (4,), certify="none", method="rtn")
    mixed = quantize(mlp(sizes), X, 3.0, certify="none", method="rtn")
    assert mixed.bytes < four.bytes
    assert len(set(mixed.allocation.bits)) > 1
    agrees(mixed, rows(300, (40,), 1))


def test_bits_by_neuron_pay_for_their_parts_and_cost_no_more_than_by_layer() -> None:
    sizes = (40, 64, 48, 6)
    X = rows(200, (40,))
    for budget in (2.3, 3.0, 5.0):
        layer, neuron = (
            quantize(mlp(sizes), X, budget, (2, 4, 8), certify="none", method="rtn", group=g)
            for g in ("layer", "neuron")
        )
        assert neuron.allocation.value <= layer.allocation.value * (1.0 + 1e-6)
        assert neuron.allocation.spent <= neuron.allocation.budget
        # Bytes beyond the codes' are those that the program counted, but for some lengths.
        weights = [
            q.bits @ np.full(len(q.bits), q.codes.q.shape[1]) for q in neuron.quantized.values()
        ]
        codes = [
            q.bits @ np.full(len(q.bits), q.codes.q.shape[1]) for q in layer.quantized.values()
        ]
        counted = (neuron.allocation.spent - sum(codes)) / 8
        assert abs(neuron.bytes - layer.bytes - counted) < 40
        assert sum(weights) <= neuron.allocation.spent
        for made in (layer, neuron):
            assert made.allocation.proven_gap < 1e-5
            assert made.allocation.gap < 1e-5
            made.allocation.verify()


@pytest.mark.parametrize("seed", range(4))
def test_highs_finds_the_enumerated_optimum_with_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.sort(rng.exponential(size=(6, 3)))[:, ::-1].copy()
    size = np.outer(rng.integers(1, 9, 6), [2.0, 4.0, 8.0])
    parts = Parts(np.array([0, 0, 0, 1, 1, 2]), np.arange(3), rng.integers(0, 9, (3, 2)) * 1.0)
    budget = float(size[:, 0].sum() * 1.8)
    found = allocate(cost, size, np.array([2, 4, 8]), budget, parts)
    best = min(
        cost[range(6), list(c)].sum()
        for c in itertools.product(range(3), repeat=6)
        if size[range(6), list(c)].sum() + parts.of(np.array(c)) <= budget
    )
    assert found.value == pytest.approx(best, rel=1e-6)
    assert found.proven == pytest.approx(best, rel=1e-9)
    assert found.spent <= budget


def test_bias_tuning_never_moves_the_network_away() -> None:
    made = quantize(mlp(), rows(150, (12,)), 2.0, (2,), certify="none", beam=8)
    assert made.divergence <= made.divergence_untuned * 1.01


def test_statistics_tuning_matches_means_and_variances() -> None:
    model, X = cnn(), rows(80, (2, 8, 8))
    made = quantize(model, X, 2.0, (2,), certify="none", method="rtn_range", tune="statistics")
    agrees(made, rows(100, (2, 8, 8), 1))
    graph = read_model(model)
    rough = {layer.name: (0.5 * layer.W, layer.b + 0.3) for layer in graph.layers}
    pairs, _ = match_statistics(graph, X.astype(float), rough, {})
    for layer in graph.layers:
        np.testing.assert_allclose(pairs[layer.name][0], layer.W, rtol=1e-6)
        np.testing.assert_allclose(pairs[layer.name][1], layer.b, atol=1e-6)


def test_the_quantized_network_keeps_its_names_and_unknown_nodes() -> None:
    make = Maker()
    x = make.node("Erf", make.node("Gemm", "x", make.weights(6, 5), transB=1))
    make.node("Gemm", x, make.weights(3, 6), transB=1, output="y")
    made = quantize(make.model((5,)), rows(60, (5,)), 4.0, certify="none", beam=8)
    agrees(made, rows(100, (5,), 1))
    assert any(node.op_type == "Erf" for node in made.model.graph.node)
    assert any("passed through in float" in note and "Erf" in note for note in made.notes)
    assert any("no gradient reaches" in note for note in made.notes)
    assert [made.model.graph.input[0].name, made.model.graph.output[0].name] == ["x", "y"]


def labelled(scores: int) -> onnx.ModelProto:
    """As scikit-learn's networks are exported: labels first, then probabilities."""
    make = Maker()
    x = make.node("Relu", make.node("Gemm", "x", make.weights(6, 5), transB=1))
    made = make.node("Softmax", make.node("Gemm", x, make.weights(3, 6), transB=1))
    make.node("ArgMax", made, output="label", axis=1, keepdims=0)
    make.node("Identity", made, output="y")
    model = make.model((5,))
    label = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["n"])
    model.graph.output.insert(0, label)
    if not scores:
        del model.graph.output[1]
    return model


def test_labels_beside_the_scores_are_kept_and_the_scores_calibrated() -> None:
    X = rows(80, (5,))
    made = quantize(labelled(1), X, 8.0, (8,), certify="none", beam=8)
    assert made.graph is not None
    assert made.graph.output == "y"
    assert not made.notes
    session = onnxruntime.InferenceSession(made.model.SerializeToString())
    label, scores = session.run(["label", "y"], {"x": X})
    assert (label == scores.argmax(axis=1)).all()
    np.testing.assert_allclose(scores, made.simulate(X), atol=1e-4)
    check_in_runtime(made, X)
    with pytest.raises(InputError, match=r"none of the model's outputs \(label\) is a tensor of"):
        quantize(labelled(0), X)


def test_too_few_rows_for_a_layer_are_said() -> None:
    few = quantize(mlp(), rows(15, (12,)), 4.0, certify="none", beam=4)
    assert any("12 inputs and only 15 calibration rows" in note for note in few.notes)
    many = quantize(mlp(), rows(60, (12,)), 4.0, certify="none", beam=4)
    assert not many.notes


def test_progress_goes_from_0_to_1() -> None:
    seen: list[float] = []
    quantize(
        mlp(), rows(40, (12,)), certify="none", method="rtn", progress=lambda _, s: seen.append(s)
    )
    assert seen[0] == 0.0
    assert seen[-1] == 1.0
    assert seen == sorted(seen)


@pytest.mark.parametrize("weighting", ["none", "fisher"])
def test_progress_goes_on_within_a_layer(weighting: str) -> None:
    seen: list[tuple[str, float]] = []

    def say(what: str, share: float) -> None:
        seen.append((what, share))

    net = mlp((12, 16, 3))
    quantize(
        net, rows(60, (12,)), method="gptq", certify="bound", weighting=weighting, progress=say
    )
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    first = [share for what, share in seen if what == "layer Gemm0"]
    # A report a neuron, and the layer has its share of the weights: 192 of 240.
    assert len(set(first)) >= 16
    assert first[0] == pytest.approx(0.1)
    assert first[-1] == pytest.approx(0.1 + 0.8 * 192 / 240)


def test_progress_goes_on_while_beams_and_dampings_are_tried() -> None:
    seen: list[float] = []
    X = rows(60, (12,))
    quantize(
        mlp((12, 16, 3)), X, certify="none", weighting="none", beam=16,
        progress=lambda what, share: seen.append(share) if what == "layer Gemm0" else None,
    )  # fmt: skip
    assert seen == sorted(seen)
    # Seven dampings and 24 steps, of a layer whose neurons share their matrix.
    assert len(set(seen)) >= 7 + 24


def test_scores_of_one_output_are_calibrated_by_squares() -> None:
    made = quantize(mlp((12, 10, 1)), rows(100, (12,)), 4.0, (4,), certify="none", beam=8)
    X = rows(200, (12,), 1)
    wanted = outputs(mlp((12, 10, 1)), X)
    assert np.mean((made.simulate(X) - wanted) ** 2) < 0.02 * wanted.var()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.ones((20, 11))}, r"shape \(20, 11\), the network takes rows of 12"),
        ({"rows": np.ones((20, 12, 1))}, "the network takes rows of 12"),
        ({"rows": np.full((20, 12), np.nan)}, "NaN or infinity"),
        ({"rows": [["a"] * 12] * 20}, "must be numbers"),
        ({"rows": np.ones((7, 12))}, "too few"),
        ({"rows": np.ones((20, 12)), "damp": 0.0}, "Gram matrix of its inputs is singular"),
        ({"budget": 1.5}, "smallest possible is 2 with"),
        ({"budget": 3.0, "bits": (4, 8)}, "smallest possible is 4 with"),
        ({"budget": np.nan}, "budget must be a positive number"),
        ({"bits": (1, 2)}, "whole numbers from 2 to 8"),
        ({"bits": ()}, "whole numbers from 2 to 8"),
        ({"bits": (2, 2)}, "different whole numbers"),
        ({"method": "best"}, "method must be one of rtn_range, rtn"),
        ({"certify": "yes"}, "certify must be one of none, bound, scale, joint"),
        ({"damp": -1.0}, "damp must be 'auto' or a number"),
        ({"activation_bits": 5}, "activation_bits must be one of 4, 8"),
        ({"holdout": 1.0}, "holdout must be a share"),
    ],
    ids=range(17),
)
def test_bad_input_is_one_line(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"rows": rows(30, (12,)), "certify": "none", "method": "rtn"}
    arguments.update(change)
    with pytest.raises(InputError, match=message) as caught:
        quantize(mlp(), **arguments)
    assert "\n" not in str(caught.value)


def test_simulation_runs_the_stored_numbers() -> None:
    made = quantize(mlp(), rows(50, (12,)), 4.0, (4,), certify="none", method="rtn")
    assert made.graph is not None
    again = run(
        made.graph, rows(5, (12,)), {n: q.weights for n, q in made.quantized.items()}, made.grids
    )
    assert (again["y"] == made.simulate(rows(5, (12,)))).all()
    for layer in made.quantized.values():
        assert (layer.codes.s == layer.codes.s.astype(np.float32)).all()
