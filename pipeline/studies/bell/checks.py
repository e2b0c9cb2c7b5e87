"""`qnn verify` of a study of Bell scenarios: all from the files of the run alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.configuration.paths import is_archive
from pipeline.results.folder import CERTIFICATES, RunFolder
from pipeline.results.ledger import read_unit
from pipeline.results.verification import Check, verify_paths
from pipeline.results.verification.of_studies import judged_folder
from pipeline.studies.bell.behaviours import content_of, drawn
from pipeline.studies.bell.blocks import FILE, PLANE, counts_of
from pipeline.studies.bell.networks import network_of
from pipeline.studies.bell.rows import LEFT, ROWS, TRAINING, behaviours_of
from qnn.certificates.moments import MomentCertificate, verify_moments
from qnn.errors import CertificateError
from qnn.moments.bell import Decision, decide
from qnn.moments.bell.predictor import Predictor
from qnn.moments.hierarchy import moment_matrix
from qnn.moments.words import Scenario
from qnn.semidefinite.predictors import Network

Array = np.ndarray
Row = dict[str, Any]

# Relative gap to which bounds of a gauge that are in doubt are known, and the steps for it.
CLOSE, MOST_STEPS = 1e-6, 60
# What a row says of verdicts beside their count.
STATED = (
    "inside", "outside", "inconclusive", "decided_share", "by_steps", "by_solver", "certified",
    "refused",
)  # fmt: skip
UNCHECKED = "times and steps not checked"
NOT_CHECKED = ("settings", "times", "steps and stages", "versions")


def verify(location: str, fast: bool = False) -> Iterator[Check]:
    """A verdict on the manifest, and one a results file and a certificate.

    Raises `InputError` where there is nothing to check.

    Counts, digests and shares are computed again, each verdict is decided anew with its proof, and
    certificates are proven in rational arithmetic. `fast`: no verdict is decided anew.
    """
    if is_archive(location):
        yield from verify_paths([location], None, fast)
        return
    folder = RunFolder.open(location)
    blocks, certificates = partial(_check_block, folder, fast), partial(_check_certificate, folder)
    yield from judged_folder(folder, blocks, certificates, NOT_CHECKED, LEFT, not fast)


def _check_block(folder: RunFolder, fast: bool, file: str, named: dict[str, Row]) -> str:
    (row,) = read_unit(folder, file, ROWS).to_pylist()
    if row["status"] != "ok":
        return f"failed: {row['error']}"
    if row["set"] == TRAINING:
        return _check_network(folder, row)
    _name(row, named)
    table = folder.read_table(row["verdicts"])
    b = behaviours_of(table)
    verdict = np.array(table["verdict"].to_pylist())
    _check_figures(row, table, b, verdict)
    drawn_again = _check_drawn(row, b)
    if fast:
        return f"{len(b)} verdicts counted, not decided again"
    anew = _check_verdicts(row, table, b, verdict, network_of(row, folder))
    return f"{len(b)} verdicts decided again{anew}; {drawn_again}; {UNCHECKED}"


def _name(row: Row, named: dict[str, Row]) -> None:
    """Its certificates are distinct, and called after it and the behaviours that they are of."""
    block = range(row["first"], row["first"] + row["count"])
    files = row["certificates"] or ()
    known = {f"{CERTIFICATES}/{row['path']}-{number}.npz" for number in block}
    if len(set(files)) != len(files) or not known.issuperset(files):
        raise ValueError("it names a certificate twice, or one of no behaviour of its block")
    named |= dict.fromkeys(files, row)


def _check_network(folder: RunFolder, row: Row) -> str:
    """A trained network is one of its row's layers, for its scenario and level."""
    network = network_of(row, folder)
    if not isinstance(network, Network):
        raise ValueError("a row of a training that names no network")
    level = moment_matrix(Scenario.parse(row["scenario"]), row["level"])
    Predictor(network, level, row["model_file"])
    widths = "-".join(str(bias.size) for bias in network.biases[:-1])
    if not str(row["model"]).startswith(f"{widths} after "):
        raise ValueError(f"the row states {row['model']}, the network's layers are {widths}")
    if any(row[name] for name in ("count", "certificates", "verdicts", *STATED)):
        raise ValueError("a row of a training that states verdicts")
    return f"a network of hidden layers {widths}; not trained again, nothing rests on it"


def _check_figures(row: Row, table: pa.Table, b: Array, verdict: Array) -> None:
    """What the row says of the table beside it."""
    counts, stage = counts_of(verdict), np.array(table["stage"].to_pylist())
    steps = table["steps"].to_numpy()
    true = {
        **counts,
        "count": len(b),
        "content": content_of(b),
        "decided_share": 1.0 - counts["inconclusive"] / max(len(b), 1),
        "by_steps": int((stage == "steps").sum()),
        "by_solver": int((stage == "solver").sum()),
        "mean_steps": float(steps.mean()) if len(b) else 0.0,
        "certified": len(row["certificates"] or ()) + (row["refused"] or 0),
    }
    for name, value in true.items():
        if row[name] != value:
            raise ValueError(f"the row states {name} {row[name]}, its verdicts say {value}")
    if sum(counts.values()) != len(b):
        raise ValueError(
            f"{row['verdicts']}: has other verdicts than inside, outside, inconclusive"
        )
    if table["row"].to_pylist() != list(range(row["first"], row["first"] + len(b))):
        raise ValueError(f"{row['verdicts']}: its rows are not numbered from {row['first']}")
    if row["refused"]:
        raise ValueError(f"{row['refused']} verdicts could not be proven exactly")


def _check_drawn(row: Row, b: Array) -> str:
    """Whether the behaviours are those of their seed, where that can be said on any machine."""
    if row["set"] in (FILE, PLANE, "B"):
        return f"where the behaviours of the set {row['set']} come from not checked"
    if not np.array_equal(
        b, drawn(row["set"], len(b), row["seed"], row["first"], row["scenario"], row["level"])
    ):
        raise ValueError(f"the behaviours are not those of set {row['set']}, seed {row['seed']}")
    return "drawn again"


def _check_verdicts(
    row: Row, table: pa.Table, b: Array, verdict: Array, network: Network | str | None
) -> str:
    """Prove every stated verdict anew; bounds of gauges may differ, not contradict a proof."""
    again = decide(
        b, row["scenario"], row["level"],
        fallback=row["fallback"], steps=row["steps"], model=network,
    )  # fmt: skip
    wrong = np.flatnonzero((verdict != "inconclusive") & (verdict != again.verdict))
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"behaviour {row['first'] + i}: states {verdict[i]}, proven again is {again.verdict[i]}"
        )
    wrong = _contradicted(row, table, b, again)
    if len(wrong):
        place = row["first"] + int(wrong[0])
        raise ValueError(f"behaviour {place}: its bounds of the gauge contradict a proof")
    more = int(((verdict == "inconclusive") & (again.verdict != "inconclusive")).sum())
    return f" ({more} more than stated)" if more else ""


def _contradicted(row: Row, table: pa.Table, b: Array, again: Decision) -> Array:
    """Where stated bounds of the gauge cannot be true: (K,) places in the block.

    Those that are better than the bounds proven anew are held against the gauge itself, bounded
    from both sides to `CLOSE`.
    """
    verdict = np.array(table["verdict"].to_pylist())
    lower, upper = (table[name].to_numpy() for name in ("gauge_lower", "gauge_upper"))
    bad = ~(lower <= upper)
    bad |= (verdict == "inside") != (upper <= 1.0)
    bad |= (verdict == "outside") != (lower > 1.0)
    better = np.flatnonzero((upper < again.gauge_upper) | (lower > again.gauge_lower))
    if len(better):
        known = decide(b[better], row["scenario"], row["level"], gap=CLOSE, steps=MOST_STEPS)
        bad[better] |= (upper[better] < known.gauge_lower) | (lower[better] > known.gauge_upper)
    return np.flatnonzero(bad)


def _check_certificate(folder: RunFolder, file: str, named: dict[str, Row]) -> str:
    certificate = MomentCertificate.from_bytes(folder.read(file), file)
    row = named.get(file)
    bound = float(verify_moments(certificate, exact=True))
    words = f"{certificate.claim}, gauge bound {bound:.15g}, exact"
    if row is None:
        return f"{words}; no row names it"
    if (certificate.scenario, certificate.level) != (row["scenario"], row["level"]):
        raise CertificateError("is of another scenario or level than its row")
    place = int(file.rpartition("-")[2].removesuffix(".npz")) - row["first"]
    table = folder.read_table(row["verdicts"])
    if not 0 <= place < len(table):
        raise CertificateError("its number is of no behaviour of its block")
    if not np.array_equal(behaviours_of(table)[place], certificate.behaviour):
        raise CertificateError("its behaviour is not the one of its number in the table")
    if table["verdict"][place].as_py() != certificate.claim:
        raise CertificateError("its claim is not the verdict in the table")
    return words
