"""A certificate as a page for people, beside the file for machines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pipeline.reports.outputs import describe_outputs, kind_of_outputs
from pipeline.reports.page import render_page
from pipeline.reports.proof_words import gap_words, proof_words
from pipeline.results.record import NetworkRow
from pipeline.results.summary import percent
from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork

_WIDTH = 600.0


def render_certificate(row: NetworkRow, certificate: bytes, network: bytes) -> str:
    """The page of one network's row with the contents of its two files.

    Raises InputError where `certificate` is not a certificate file.
    """
    record = Certificate.from_bytes(certificate, str(row.bounds.certificate))
    upper = row.fit.upper_bound or 0.0
    end = max(upper, record.lower_bound, 0.0) or 1.0
    lower_x = _WIDTH * min(max(record.lower_bound, 0.0), end) / end
    upper_x = _WIDTH * min(max(upper, 0.0), end) / end
    facts = [
        ("certificate file", row.bounds.certificate, True),
        ("its SHA-256", hashlib.sha256(certificate).hexdigest(), True),
        ("network file", row.fit.network, True),
        ("its SHA-256", hashlib.sha256(network).hexdigest(), True),
        ("training matrix", record.data, True),
        ("SHA-256 of its rows [x, y]", record.data_sha256, True),
        ("rows n, columns d", f"{len(record.nu)}, {record.d}", False),
        ("β", f"{record.beta!r}", False),
        ("bound as stated", f"{record.lower_bound!r}", False),
        ("value of the relaxation", f"{row.bounds.relaxation_value!r}", False),
        ("solver of the relaxation", row.axes.solver, False),
        ("format of the file", f"{record.format}", False),
    ]
    if row.identity.output is not None:
        kind = "one class against the rest" if kind_of_outputs([row]) == "class" else "one target"
        facts.insert(0, (f"output, {kind}", f"{record.output}", False))
    return render_page(
        "certificate_page.html",
        trial=row.identity.trial,
        kind=record.kind,
        loss=record.loss,
        activation=record.activation,
        alphabet=record.alphabet,
        dataset=row.identity.dataset,
        shard=row.identity.shard,
        gap=percent(row.fit.gap),
        gap_words=gap_words(row.fit.gap),
        upper=f"{row.fit.upper_bound:.8g}",
        lower=f"{record.lower_bound:.8g}",
        lower_x=f"{lower_x:.1f}",
        upper_x=f"{upper_x:.1f}",
        gap_width=f"{max(upper_x - lower_x, 0.0):.1f}",
        n=len(record.nu),
        beta=f"{record.beta:.6g}",
        proof=proof_words(record.loss, record.activation, record.kind),
        command=f"qnn verify {row.bounds.certificate} {row.fit.network}",
        facts=facts,
    )


def render_outputs(row: NetworkRow, parts: Sequence[NetworkRow], network: bytes) -> str:
    """The page of a network of several outputs: how their certificates make one bound.

    `row` is the joined row, `parts` those of its outputs in their order, `network` its file.
    Raises InputError where `network` is not a network file.
    """
    preprocessing = QuantizedNetwork.from_bytes(network, str(row.fit.network)).preprocessing
    names = () if preprocessing is None else preprocessing.target.outputs
    facts = [
        ("network file", row.fit.network, True),
        ("its SHA-256", hashlib.sha256(network).hexdigest(), True),
        ("rows n, columns d", f"{row.identity.n:.0f}, {row.identity.d:.0f}", False),
        ("neurons, shared by the outputs", f"{row.fit.neurons:.0f}", False),
        ("β", f"{row.axes.beta!r}", False),
        ("sum of the bounds", f"{row.bounds.lower_bound!r}", False),
        ("sum of the relaxations' values", f"{row.bounds.relaxation_value!r}", False),
    ]
    return render_page(
        "outputs_page.html",
        trial=row.identity.trial,
        dataset=row.identity.dataset,
        shard=row.identity.shard,
        gap=percent(row.fit.gap),
        gap_words=gap_words(row.fit.gap),
        upper=f"{row.fit.upper_bound:.8g}",
        lower=f"{row.bounds.lower_bound:.8g}",
        n=f"{row.identity.n:.0f}",
        beta=f"{row.axes.beta:.6g}",
        outputs=describe_outputs(parts, names),
        kind=kind_of_outputs(parts),
        command=f"qnn verify {row.fit.network}",
        facts=facts,
    )
