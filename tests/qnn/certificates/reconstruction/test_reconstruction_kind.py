"""Forged and damaged certificates of reconstruction: whatever field says what is not true."""

import contextlib
import copy
import hashlib
from dataclasses import fields, replace

import numpy as np
import pytest

import qnn
from qnn.certificates import read_certificate
from qnn.certificates.reconstruction import ReconstructionCertificate, verify
from qnn.errors import CertificateError, InputError
from qnn.networks.layered import LayeredNetwork
from qnn.numerics.archive import pack_arrays, unpack_arrays
from qnn.robustness import Limits, certify_reconstruction
from tests.qnn.robustness.cases import layered, quantized

EXTREMES = (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e-300, 5e-324, -5e-324, 0.0)


def made(effort: str):
    rng = np.random.default_rng(0)
    decoder = layered(rng, [3, 8, 5])
    found = certify_reconstruction(
        decoder, rng.normal(size=3), rng.normal(size=5), 0.8, effort=effort,
        search=Limits(gap=1e-3, nodes=30),
    )  # fmt: skip
    return decoder, found.certificate


EFFORTS = ("crown", "dual", "exact")
MADE = {effort: made(effort) for effort in EFFORTS}


@pytest.fixture(params=EFFORTS)
def case(request):
    return copy.deepcopy(MADE[request.param])


def refused(certificate: ReconstructionCertificate, network: object) -> str:
    with pytest.raises(CertificateError) as caught:
        verify(certificate, network)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def altered(array: np.ndarray, index: int, value: float) -> np.ndarray:
    copied = array.copy()
    copied[index] = value
    return copied


def most(decoder: LayeredNetwork, certificate: ReconstructionCertificate) -> float:
    """A loss that is attained in the certificate's own region."""
    with np.errstate(all="ignore"):
        rng = np.random.default_rng(1)
        moves = certificate.radii * rng.choice([-1.0, 0.0, 1.0], size=(200, 3))
        scores = decoder.scores(certificate.latents + moves)
        return float(((scores - certificate.target) ** 2).sum(axis=1).max())


def refused_or_true(certificate: ReconstructionCertificate, decoder: LayeredNetwork) -> None:
    """Another question may be answered by the same numbers; then what it says must hold."""
    with contextlib.suppress(CertificateError):
        assert verify(certificate, decoder) >= most(decoder, certificate) * (1.0 - 1e-12)


def test_it_is_accepted_and_survives_its_file_and_is_read_as_its_kind(case, tmp_path):
    decoder, certificate = case
    assert verify(certificate, decoder) == certificate.upper_bound
    assert qnn.verify(certificate, decoder) == certificate.upper_bound
    path = tmp_path / "certificate.npz"
    certificate.save(path)
    arrays = unpack_arrays(path.read_bytes(), "here", "certificate")
    loaded = read_certificate(arrays, "here")
    assert isinstance(loaded, ReconstructionCertificate)
    assert loaded.to_bytes() == certificate.to_bytes()
    assert f"{certificate.upper_bound:.8g}" in loaded.check(decoder.to_bytes())
    with pytest.raises(CertificateError, match="give the network's file"):
        loaded.check(None)
    assert set(arrays) == {field.name for field in fields(certificate)} | {"kind"}
    assert verify(certificate.stating(certificate.upper_bound + 1.0), decoder)


def test_a_smaller_bound_is_refused(case):
    decoder, certificate = case
    bound = certificate.upper_bound
    for wrong in (bound * (1.0 - 1e-3), 0.0, -1.0, -1e300, np.inf, -np.inf, np.nan, 5e-324):
        refused(certificate.stating(wrong), decoder)


def test_a_larger_box_is_refused(case):
    decoder, certificate = case
    refused(replace(certificate, radii=certificate.radii * 1.3), decoder)
    for index in range(3):
        for value in (np.nan, np.inf, -np.inf, 1e300, -1.0, -5e-324):
            refused(replace(certificate, radii=altered(certificate.radii, index, value)), decoder)
        for value in (0.0, 5e-324, 1e-300):
            radii = altered(certificate.radii, index, value)
            refused_or_true(replace(certificate, radii=radii), decoder)


def test_other_latents_and_targets_are_refused_or_as_true(case):
    decoder, certificate = case
    for name in ("latents", "target"):
        values = getattr(certificate, name)
        for wrong in (values[:-1], np.append(values, 0.0), np.zeros(0), values[None]):
            refused(replace(certificate, **{name: wrong}), decoder)
        refused(replace(certificate, **{name: values + 3.0}), decoder)
        for index in range(len(values)):
            for value in EXTREMES:
                changed = replace(certificate, **{name: altered(values, index, value)})
                if abs(value) > 1.0 or np.isnan(value):
                    refused(changed, decoder)
                refused_or_true(changed, decoder)


def test_every_multiplier_counts():
    for effort in ("dual", "exact"):
        decoder, certificate = MADE[effort]
        numbers = certificate.multipliers
        assert len(numbers)
        for index in range(0, len(numbers), max(1, len(numbers) // 20)):
            for value in (*EXTREMES[:3], -1e300, 1e300):
                refused(replace(certificate, multipliers=altered(numbers, index, value)), decoder)
            for value in EXTREMES[5:]:
                wrong = replace(certificate, multipliers=altered(numbers, index, value))
                refused_or_true(wrong, decoder)
        for wrong in (numbers[:-1], np.append(numbers, 0.0), np.zeros(0), -numbers, 0.5 * numbers):
            refused(replace(certificate, multipliers=wrong), decoder)


def test_trees_that_do_not_cover_are_refused(case):
    decoder, certificate = case
    splits, cuts = certificate.splits, certificate.cuts
    for index in range(min(len(splits), 12)):
        # -3 and -4 are leaves of other proofs, which say nothing of a loss.
        for value in (-3, -4, -5, 10**6, 3 + 8, -(2**62), 2**62):
            refused(replace(certificate, splits=altered(splits, index, value)), decoder)
    for wrong in (splits[:-1], np.append(splits, -1), np.zeros(0, dtype=np.int64)):
        refused(replace(certificate, splits=wrong), decoder)
        refused(replace(certificate, splits=wrong, cuts=np.zeros(len(wrong))), decoder)
    refused(replace(certificate, cuts=np.zeros(0)), decoder)
    for index in np.flatnonzero((splits >= 0) & (splits < 3))[:6]:
        for value in EXTREMES[:5]:
            refused(replace(certificate, cuts=altered(cuts, index, value)), decoder)


def test_a_bit_of_the_decoder_counts(case):
    decoder, certificate = case
    weights = [W.copy() for W in decoder.weights]
    weights[0][0, 0] = np.nextafter(weights[0][0, 0], 9.0)
    other = LayeredNetwork(tuple(weights), decoder.biases)
    assert "SHA-256 differs" in refused(certificate, other)
    for data in (b"", b"PK", decoder.to_bytes()[:-1]):
        refused(certificate, data)
        digest = hashlib.sha256(data).hexdigest()
        refused(replace(certificate, network_sha256=digest), data)


def test_networks_that_are_no_decoders_are_refused(case):
    decoder, certificate = case
    own = quantized(np.random.default_rng(2), 3, 4, "bilinear", "binary", 5).to_bytes()
    arrays = unpack_arrays(decoder.to_bytes(), "here", "network")
    thin = {
        "data0": np.ones(1), "indices0": np.zeros(1, "<i4"), "starts0": np.arange(9).clip(0, 1),
        "inputs0": np.array(3),
    }  # fmt: skip
    sparse = {name: array for name, array in arrays.items() if name != "W0"} | thin
    contents = [own, pack_arrays(sparse)]
    for name in ("W0", "b0", "W1", "b1", "layers"):
        for value in (np.zeros(0), np.full(arrays[name].shape, np.nan), np.array("text"),
                      np.full((3, 3), 1e300), np.array(-5)):  # fmt: skip
            contents.append(pack_arrays({**arrays, name: value}))
    contents.append(pack_arrays({**arrays, "W0": np.full_like(arrays["W0"], 1e300)}))
    for data in contents:
        digest = hashlib.sha256(data).hexdigest()
        refused(replace(certificate, network_sha256=digest), data)


def test_files_of_another_form_are_refused_in_one_line(case):
    _, certificate = case
    arrays = unpack_arrays(certificate.to_bytes(), "here", "certificate")
    wrong = [np.zeros((2, 2)), np.zeros(3, np.float32), np.array("text"), np.array(3),
             np.array(True), np.zeros(3, np.int32), np.array(1.0)]  # fmt: skip
    for name in arrays:
        left = {key: value for key, value in arrays.items() if key != name}
        with pytest.raises(InputError, match=f"lacks '{name}'"):
            ReconstructionCertificate.from_arrays(left, "f")
        for value in wrong:
            if (value.dtype, value.ndim) == (arrays[name].dtype, arrays[name].ndim):
                continue
            if value.dtype.kind == arrays[name].dtype.kind in "Ui" and not arrays[name].ndim:
                continue
            with pytest.raises(InputError) as caught:
                ReconstructionCertificate.from_arrays({**arrays, name: value}, "f")
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="has 'more'"):
        ReconstructionCertificate.from_arrays({**arrays, "more": np.zeros(1)}, "f")
    for name, value in (("kind", np.array("robustness")), ("format", np.array(2))):
        with pytest.raises(InputError):
            ReconstructionCertificate.from_arrays({**arrays, name: value}, "f")
    data = bytearray(certificate.to_bytes())
    for place in np.random.default_rng(0).integers(0, len(data), 60):
        damaged = data.copy()
        damaged[place] ^= 0xFF
        with contextlib.suppress(InputError):
            ReconstructionCertificate.from_bytes(bytes(damaged))


def test_the_allowances_for_rounding_are_needed_and_asked_for():
    """A proof that has no more room than one part in 1e13 is refused once they are ten times so."""
    from qnn.certificates.reconstruction import proven_loss

    decoder, certificate = MADE["crown"]
    data, bound = decoder.to_bytes(), certificate.upper_bound
    proven_loss(certificate, data, 1.0)
    with pytest.raises(CertificateError):
        proven_loss(certificate.stating(bound * (1.0 - 2.0**-40)), data, 1.0)
    with pytest.raises(CertificateError):
        proven_loss(certificate, data, 1e9)
    decoder, certificate = MADE["dual"]
    with pytest.raises(CertificateError):
        proven_loss(certificate, decoder.to_bytes(), 1e9)
