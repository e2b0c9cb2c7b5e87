"""Forged and damaged certificates: what is not true is refused, whatever field says it."""

import contextlib
import copy
from dataclasses import fields, replace

import numpy as np
import pytest

from qnn.certificates.robustness import RobustnessCertificate, verify
from qnn.errors import CertificateError, InputError
from qnn.networks.layered import LayeredNetwork
from qnn.networks.quantized import QuantizedNetwork
from qnn.numerics.archive import pack_arrays, unpack_arrays
from qnn.robustness import Limits, Prover, certify
from tests.qnn.robustness.cases import layered, prepared, quantized, row_of

EXTREMES = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, -5e-324, 0.0)


def boxed():
    rng = np.random.default_rng(0)
    network = quantized(rng, 4, 8, "bilinear", "binary", 3)
    return network, certify(network, rng.normal(size=4), 0.9, search=Limits(gap=1e-7)).certificate


def balled():
    rng = np.random.default_rng(1)
    network = quantized(rng, 4, 8, "polynomial", "ternary", 1)
    return network, certify(network, rng.normal(size=4), 0.5, "l2").certificate


def tabled():
    rng = np.random.default_rng(2)
    network, rows = prepared(rng, "thermometer")
    found = certify(
        network, row_of(rows, 0), {"age": 9.0, "dose": 1.0}, choices={"site": True},
        search=Limits(gap=1e-7),
    )  # fmt: skip
    return network, found.certificate


def rectified():
    rng = np.random.default_rng(3)
    network = layered(rng, [3, 6, 6, 3])
    found = certify(network, rng.normal(size=3), 0.7, search=Limits(gap=1e-4))
    return network, found.certificate


CASES = {"box": boxed, "ball": balled, "table": tabled, "relu": rectified}
MADE = {name: make() for name, make in CASES.items()}


@pytest.fixture(params=CASES)
def case(request):
    return copy.deepcopy(MADE[request.param])


def refused(certificate: RobustnessCertificate, network: object) -> str:
    with pytest.raises(CertificateError) as caught:
        verify(certificate, network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def altered(array: np.ndarray, index: int, value: float) -> np.ndarray:
    copied = array.copy()
    copied[index] = value
    return copied


def test_the_certificate_itself_is_accepted_and_survives_its_file(case, tmp_path):
    network, certificate = case
    assert verify(certificate, network) == certificate.lower_bound
    path = tmp_path / "certificate.npz"
    certificate.save(path)
    loaded = RobustnessCertificate.load(path)
    assert verify(loaded, network.to_bytes()) == certificate.lower_bound
    assert loaded.to_bytes() == certificate.to_bytes()
    np.load(path, allow_pickle=False)["splits"]


def test_a_better_bound_is_refused(case):
    network, certificate = case
    size = 1.0 + abs(certificate.lower_bound)
    for bound in (certificate.lower_bound + 1e-3 * size, 1e300, np.inf, np.nan):
        refused(certificate.stating(bound), network)
    lower = certificate.stating(certificate.lower_bound - 1.0)
    assert verify(lower, network) == lower.lower_bound


def test_a_larger_region_is_refused(case):
    network, certificate = case
    question = certificate.question
    wider = replace(question, radii=question.radii * 1.3)
    refused(replace(certificate, question=wider), network)
    for index in np.flatnonzero(question.radii):
        for value in (*EXTREMES[:4], -1.0):
            radii = altered(question.radii, index, value)
            refused(replace(certificate, question=replace(question, radii=radii)), network)


def test_other_questions_are_refused(case):
    network, certificate = case
    question = certificate.question
    changes = {
        "network_sha256": [question.network_sha256[::-1], ""],
        "norm": ["l1", "", "LINF"],
        "label": [-1, -2, 99, 2**62],
        "band": [np.zeros(2), np.zeros(1), np.array([np.inf, -np.inf])],
        "numbers": [question.numbers[:-1], question.numbers + 2.0, np.full(4, np.nan)],
        "lowest": [np.full(len(question.numbers), np.nan), np.full(1, -np.inf)],
        "highest": [question.numbers - 1.0],
        "categories": [(*question.categories, "a")],
        "choices": [(*question.choices, ("a",))],
        "swaps": [-1],
    }
    for name, values in changes.items():
        for value in values:
            refused(replace(certificate, question=replace(question, **{name: value})), network)
    # A number far away has bits too, and what is stated of them may be true.
    values = EXTREMES[:3] if question.categories else EXTREMES[:5]
    for index in range(len(question.numbers)):
        for value in values:
            numbers = altered(question.numbers, index, value)
            refused(replace(certificate, question=replace(question, numbers=numbers)), network)


def test_every_multiplier_counts(case):
    network, certificate = case
    numbers = certificate.multipliers
    for index in range(0, len(numbers), max(1, len(numbers) // 12)):
        for value in (*EXTREMES[:3], -1e300, 1e300):
            refused(replace(certificate, multipliers=altered(numbers, index, value)), network)
    for wrong in (numbers[:-1], np.append(numbers, 0.0), np.zeros(0), -numbers, 0.5 * numbers):
        refused(replace(certificate, multipliers=wrong), network)


def test_trees_that_do_not_cover_are_refused(case):
    network, certificate = case
    splits, cuts = certificate.splits, certificate.cuts
    for index in range(min(len(splits), 12)):
        for value in (-3, 10**6, -(2**31), 2**31 - 1):
            refused(replace(certificate, splits=altered(splits, index, value)), network)
    for wrong in (splits[:-1], np.append(splits, -1), np.zeros(0, dtype=np.int64)):
        refused(replace(certificate, splits=wrong), network)
        refused(replace(certificate, splits=wrong, cuts=np.zeros(len(wrong))), network)
    inputs = np.flatnonzero((splits >= 0) & ~np.isnan(cuts))
    for index in inputs[:4]:
        if isinstance(network, QuantizedNetwork):
            for value in EXTREMES[:5]:
                refused(replace(certificate, cuts=altered(cuts, index, value)), network)


def test_a_bit_of_the_network_counts(case):
    network, certificate = case
    if isinstance(network, LayeredNetwork):
        weights = [W.copy() for W in network.weights]
        weights[0][0, 0] = np.nextafter(weights[0][0, 0], 9.0)
        other = LayeredNetwork(tuple(weights), network.biases)
    else:
        other = replace(network, alpha=altered(network.alpha, 0, np.nextafter(0.5, 1.0)))
    assert "SHA-256 differs" in refused(certificate, other)
    for data in (b"", b"PK", network.to_bytes()[:-1]):
        refused(certificate, data)


def test_files_of_another_form_are_refused_in_one_line(case):
    _, certificate = case
    arrays = unpack_arrays(certificate.to_bytes(), "here", "certificate")
    wrong = [
        np.zeros((2, 2)),
        np.zeros(3, np.float32),
        np.array("text"),
        np.array(3),
        np.array(True),
    ]
    for name in arrays:
        with pytest.raises(InputError, match=f"lacks '{name}'"):
            RobustnessCertificate.from_arrays({k: v for k, v in arrays.items() if k != name}, "f")
        for value in wrong:
            if value.dtype == arrays[name].dtype and value.ndim == arrays[name].ndim:
                continue
            if value.dtype.kind == arrays[name].dtype.kind == "U":
                continue
            with pytest.raises(InputError) as caught:
                RobustnessCertificate.from_arrays({**arrays, name: value}, "f")
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="has 'more'"):
        RobustnessCertificate.from_arrays({**arrays, "more": np.zeros(1)}, "f")
    for name, text in (
        ("kind", "moments"), ("categories", "{"), ("choices", '[["a"], 3]'), ("categories", "[1]"),
        ("choices", "3"), ("categories", "[" * 100_000),
    ):  # fmt: skip
        with pytest.raises(InputError):
            RobustnessCertificate.from_arrays({**arrays, name: np.array(text)}, "f")
    data = bytearray(certificate.to_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 60):
        damaged = data.copy()
        damaged[place] ^= 0xFF
        with contextlib.suppress(InputError):
            RobustnessCertificate.from_bytes(bytes(damaged))


def test_every_field_of_the_record_is_in_the_file(case):
    _, certificate = case
    arrays = unpack_arrays(certificate.to_bytes(), "here", "certificate")
    names = {field.name for field in fields(certificate.question)}
    names |= {field.name for field in fields(certificate)} - {"question"}
    assert set(arrays) == names | {"format", "kind"}


def test_a_preprocessing_that_is_no_preprocessing_is_refused():
    network, certificate = copy.deepcopy(MADE["table"])
    import hashlib

    arrays = unpack_arrays(network.to_bytes(), "here", "network")
    text = str(arrays["preprocessing"])
    for broken in ("{", "[]", "{}", text.replace('"scales"', '"scale"'), "[" * 100_000,
                   text.replace('"thermometer"', '"standardize"'),
                   text.replace('"means": [0.0', '"means": [0.5'),
                   text.replace('"scales": [1.0', '"scales": [-1.0')):  # fmt: skip
        data = pack_arrays({**arrays, "preprocessing": np.array(broken)})
        question = replace(certificate.question, network_sha256=hashlib.sha256(data).hexdigest())
        refused(replace(certificate, question=question), data)


def test_networks_that_are_no_networks_are_refused(case):
    import hashlib

    network, certificate = case
    arrays = unpack_arrays(network.to_bytes(), "here", "network")
    names = [n for n in arrays if n in ("U", "V", "alpha", "polynomial", "W0", "b0", "layers")]
    for name in names:
        for value in (np.zeros(0), np.full(arrays[name].shape, np.nan), np.array("text"),
                      np.full((3, 3), 1e300), np.array(-5),
                      np.zeros((1, 2, 3), np.int8)):  # fmt: skip
            data = pack_arrays({**arrays, name: value})
            digest = hashlib.sha256(data).hexdigest()
            question = replace(certificate.question, network_sha256=digest)
            refused(replace(certificate, question=question), data)


@pytest.mark.parametrize("scale", [1e300, 1e150, 1e-150, 1e-300, 5e-324])
def test_extreme_scales_are_proven_or_refused_and_never_wrong(scale):
    from fractions import Fraction

    rng = np.random.default_rng(4)
    network = quantized(rng, 3, 5, "bilinear", "binary", 1)
    x = rng.normal(size=3)
    for alpha_scale, x_scale in ((scale, 1.0), (1.0, scale), (scale, 1.0 / max(scale, 1e-300))):
        scaled = replace(network, alpha=network.alpha * alpha_scale)
        if not np.isfinite(scaled.alpha).all() or not np.isfinite(x * x_scale).all():
            continue
        try:
            found = Prover(scaled).certify(x * x_scale, 0.1 * x_scale)
        except (InputError, CertificateError):
            continue
        point = [Fraction(v) for v in (x * x_scale).tolist()]
        value = sum(
            Fraction(a)
            * sum(p * int(u) for p, u in zip(point, U, strict=True))
            * sum(p * int(v) for p, v in zip(point, V, strict=True))
            for a, U, V in zip(scaled.alpha.tolist(), scaled.U.T, scaled.V.T, strict=True)
        )
        label = found.certificate.question.label
        assert Fraction(found.lower_bound) <= (value if label else -value)
