"""A certificate as a page for people, beside the file for machines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from markupsafe import Markup

from pipeline.logs.shell import verify_line
from pipeline.reports.figures.chart import Axis, Chart, Level, Panel, Tiles
from pipeline.reports.figures.palette import AMBER, BLUE, INK, RULE
from pipeline.reports.figures.svg import pictures
from pipeline.reports.frame import render_page
from pipeline.reports.outputs import kind_of_outputs, outputs_table
from pipeline.reports.proof_words import gap_words, proof_words
from pipeline.results.record import NetworkRow
from pipeline.results.summary import percent
from qnn.certificates.record import Certificate
from qnn.networks.quantized import QuantizedNetwork


def render_certificate(row: NetworkRow, certificate: bytes, network: bytes) -> str:
    """The page of one network's row with the contents of its two files.

    Raises InputError where `certificate` is not a certificate file.
    """
    record = Certificate.from_bytes(certificate, str(row.bounds.certificate))
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
        facts.insert(0, (f"output, {_output_words(network)}", f"{record.output}", False))
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
        bar=_bar(record.lower_bound, row.fit.upper_bound or 0.0),
        n=len(record.nu),
        beta=f"{record.beta:.6g}",
        proof=proof_words(record.loss, record.activation, record.kind, record.weights is not None),
        command=verify_line(str(row.bounds.certificate), str(row.fit.network)),
        facts=facts,
    )


def _bar(lower: float, upper: float) -> Markup:
    """The bound, the network and the gap between them, on one line from 0."""
    end = max(upper, lower, 0.0) or 1.0
    first, last = (min(max(value, 0.0), end) for value in (lower, upper))
    tiles = [Tiles([a], [b], [-0.1], [0.3], colour)
             for a, b, colour in ((0.0, first, RULE), (first, last, AMBER)) if b > a]  # fmt: skip
    levels = (Level(first, INK, upright=True), Level(last, BLUE, upright=True))
    words = "grey: no network lies here; amber: what is open between the bound and this network"
    panel = Panel(Axis("objective", low=0.0, high=1.02 * end), Axis(), (*tiles, *levels),
                  rows=(words,))  # fmt: skip
    picture = pictures(Chart((panel,)))[0]
    return picture.wide + picture.narrow


def _output_words(network: bytes) -> str:
    """What the network of one of several outputs tells."""
    preprocessing = QuantizedNetwork.from_bytes(network, "network").preprocessing
    classes = None if preprocessing is None else preprocessing.classes
    if classes is None:
        return "one target"
    return "one class against the rest" if classes == (False, True) else "two classes"


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
        outputs=outputs_table(row, parts, names),
        kind=kind_of_outputs(row, parts),
        command=verify_line(str(row.fit.network)),
        facts=facts,
    )
