"""The checker reads a network's file as the network does, or refuses it: it is not read loosely."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from qnn.certificates.robustness import Question, RobustnessCertificate, verify
from qnn.certificates.robustness.regions import MISSING_WORDS
from qnn.errors import CertificateError, InputError
from qnn.features import tables
from qnn.features.preprocessing import FeatureLayout
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import pack_arrays, unpack_arrays

NONE = np.zeros(0)


def of_a_column(values: np.ndarray, **options: object) -> QuantizedNetwork:
    """A network of one neuron, ``x'u x'v``, on a table of one column."""
    table = {"c": values}
    layout = FeatureLayout.from_table(table, **options)
    fitted = layout.fit(table, np.arange(len(values)) > 1, (False, True))
    weights = np.ones((layout.d, 1), dtype=np.int8)
    return QuantizedNetwork(weights, weights, np.ones(1), preprocessing=fitted)


def of_texts(**options: object) -> QuantizedNetwork:
    return of_a_column(np.array(["a", "b", "c", "a"], dtype=object), scaling="none", **options)


def with_record(network: QuantizedNetwork, change) -> bytes:
    """The network's file with another preprocessing record."""
    arrays = unpack_arrays(network.to_bytes(), "here", "network")
    record = json.loads(str(arrays["preprocessing"]))
    change(record)
    return pack_arrays({**arrays, "preprocessing": np.array(json.dumps(record))})


def claimed(data: bytes, own: tuple[str | None, ...], choices=((),)) -> RobustnessCertificate:
    """That the score is at least −1 whatever category of the choices the row has: a square."""
    digest, band = hashlib.sha256(data).hexdigest(), np.full(2, np.nan)
    question = Question(digest, "linf", NONE, NONE, NONE, NONE, own, choices, 1, 1, band)
    cells = 1 + len(set(choices[0]) - set(own))
    splits = np.full(cells, -1)
    return RobustnessCertificate(question, -1.0, splits, np.zeros(cells), NONE)


def of_numbers(data: bytes, x: float, radius: float) -> RobustnessCertificate:
    digest, infinite = hashlib.sha256(data).hexdigest(), np.array([np.inf])
    around = np.array([x]), np.array([radius]), -infinite, infinite
    question = Question(digest, "linf", *around, (), (), 0, 1, np.full(2, np.nan))
    return RobustnessCertificate(question, -1.0, np.array([-1]), np.zeros(1), NONE)


def test_the_words_for_missing_values_are_those_of_the_tables():
    assert MISSING_WORDS == tables.MISSING_WORDS


@pytest.mark.parametrize("missing", ["impute", "refuse"])
def test_text_that_the_network_reads_as_missing_is_no_category(missing):
    network = of_texts(missing=missing, missing_values=("unknown",))
    data = network.to_bytes()
    assert verify(claimed(data, ("a",), (("b", "c"),)), data) == -1.0
    # No training row has it, and the network reads it as none of its categories.
    assert verify(claimed(data, ("zebra",), (("b",),)), data) == -1.0
    for word in ("NA", "", "unknown"):
        with pytest.raises(CertificateError, match="reads as missing"):
            verify(claimed(data, (word,)), data)
        with pytest.raises(CertificateError, match="no category of its column"):
            verify(claimed(data, ("a",), ((word,),)), data)
    with pytest.raises(CertificateError, match="no category of its column"):
        verify(claimed(data, ("a",), (("b", "zebra"),)), data)
    if missing == "impute":
        assert verify(claimed(data, (None,), (("b",),)), data) == -1.0


def test_a_word_for_missing_values_that_is_a_category_is_one():
    values = np.array(["a", "NA", "a", "NA"], dtype=object)
    network = of_a_column(values, scaling="none", categorical=["c"], missing="impute")
    data = network.to_bytes()
    assert verify(claimed(data, ("a",), (("NA",),)), data) == -1.0
    assert verify(claimed(data, ("NA",)), data) == -1.0


@pytest.mark.parametrize(
    "categories", [["a", "b", "a"], [1, 2, 3], "abc", {"a": 0, "b": 1, "c": 2}, ["a", None, "c"]]
)
def test_categories_are_a_list_of_distinct_texts(categories):
    def change(record):
        record["layout"]["columns"][0]["categories"] = categories
        record["fill"] = [None]

    data = with_record(of_texts(), change)
    for own in ("a", "ab", "1"):
        with pytest.raises(CertificateError, match="preprocessing cannot be read"):
            verify(claimed(data, (own,)), data)


@pytest.mark.parametrize("thresholds", [[2.0, np.nan, 1.0], [1.0, 2.0, np.inf], [2.0, 1.0, 3.0]])
def test_thresholds_are_finite_and_ascend(thresholds):
    network = of_a_column(np.arange(8.0), scaling="thermometer", thresholds=3)
    data = network.to_bytes()
    with pytest.raises(CertificateError, match=r"not proven|missing"):
        verify(of_numbers(data, 1.5, 2.0), data)

    def change(record):
        record["encoder"]["thresholds"] = [thresholds]

    data = with_record(network, change)
    with pytest.raises(CertificateError, match="preprocessing cannot be read"):
        verify(of_numbers(data, 1.5, 2.0), data)


@pytest.mark.parametrize("name", ["knots", "scores", "slopes"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 10**400, None])
def test_tables_of_scores_are_finite(name, value):
    network = of_a_column(np.arange(8.0), scaling="quantile")

    def change(record):
        record["encoder"][name][0][3] = value

    data = with_record(network, change)
    with pytest.raises(CertificateError, match="preprocessing cannot be read"):
        verify(of_numbers(data, 6.0, 0.5), data)


@pytest.mark.parametrize("name", ["means", "scales", "fill"])
def test_a_number_beyond_all_floats_is_refused_by_the_checker_and_the_network(name):
    def change(record):
        record[name] = [10**400]

    data = with_record(of_a_column(np.arange(4.0)), change)
    with pytest.raises(CertificateError, match="preprocessing cannot be read"):
        verify(of_numbers(data, 1.0, 0.5), data)
    with pytest.raises(InputError, match="not a preprocessing record"):
        QuantizedNetwork.from_bytes(data)


def test_an_unknown_scaling_is_refused():
    data = with_record(of_texts(), lambda record: record["layout"].update(scaling="other"))
    with pytest.raises(CertificateError, match="preprocessing cannot be read"):
        verify(claimed(data, ("a",)), data)


@pytest.mark.parametrize(
    "starts", [[0, 2**63 - 1, -2, 2], [0, 600_000_000, 2], [0, -(2**63), 2], [0, 1], [1, 2], [0, 3]]
)
def test_columns_of_a_sparse_layer_that_lie_beyond_its_entries_are_refused(starts):
    """Before anything of their stated length is made."""
    arrays = {
        "layers": np.asarray(1), "data0": np.ones(2), "indices0": np.array([0, 1]),
        "inputs0": np.asarray(2), "starts0": np.array([0, 1, 2]), "b0": np.zeros(2),
    }  # fmt: skip
    data = pack_arrays(arrays)
    certificate = of_numbers(data, 0.0, 0.0)
    two = {name: np.zeros(2) for name in ("numbers", "radii")}
    two |= {"lowest": np.full(2, -np.inf), "highest": np.full(2, np.inf)}
    question = replace(certificate.question, **two)
    linear = replace(certificate, question=question, splits=np.array([-4]))
    assert verify(linear, data) == -1.0
    other = pack_arrays(
        {**arrays, "starts0": np.array(starts), "b0": np.zeros(max(len(starts) - 1, 1))}
    )
    question = replace(question, network_sha256=hashlib.sha256(other).hexdigest())
    with pytest.raises(CertificateError, match="no sparse matrix"):
        verify(replace(linear, question=question), other)
