"""The rows of a run by the files that they name; faults that need no proof are told here."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pipeline.configuration.reading import parse_config
from pipeline.configuration.settings import SweepConfig
from pipeline.results.folder import CONFIG_FILE, RESULTS, RunFolder, decode_table
from pipeline.results.ledger import LOST_SUFFIX, unit_id_of
from pipeline.results.record import Bounds, NetworkRow, as_results, rows_of
from pipeline.results.verification.statements import check_plan
from pipeline.results.verification.verdict import Check, Failure, fault
from qnn.errors import InputError
from qnn.training.arms import REFERENCES, WIDTHLESS

# Arms whose rows have figures but no quantized network, so no file to check.
UNCERTIFIED = (*WIDTHLESS, *REFERENCES)


class Rows:
    """`certified`: the rows that name a certificate; `networks`: the one that names a network."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder, self.config = folder, _config_of(folder)
        self.certified: dict[str, list[NetworkRow]] = defaultdict(list)
        self.networks: dict[str, NetworkRow] = {}

    def read(self, files: Sequence[str]) -> Iterator[Check]:
        """Read the results; yields a verdict for each file of them that is not sound."""
        for file in files:
            if not file.startswith(f"{RESULTS}/") or not file.endswith(".parquet"):
                continue
            try:
                rows = rows_of(as_results(decode_table(self.folder.read(file), file)))
                lost = file.endswith(LOST_SUFFIX)
                texts = _not_lost(rows) if lost else self._faults(file, rows)
            except Exception as error:  # damaged files make readers raise errors of any kind
                yield Check(file, False, fault(error).removeprefix(f"{file}: "))
                continue
            for text in texts:
                yield Check(file, False, text)

    def _faults(self, file: str, rows: Sequence[NetworkRow]) -> list[str]:
        parts = ((*self._misplaced(file, row), *self._take(row)) for row in rows)
        return [text for part in parts for text in part]

    def _misplaced(self, file: str, row: NetworkRow) -> Iterator[str]:
        """A row lies in its path's file, and is one that the sweep asked for."""
        if row.identity.path != unit_id_of(file):
            yield f"trial {row.identity.trial} belongs to another path"
        if self.config is not None:
            try:
                check_plan(row, self.config)
            except Failure as failure:
                yield str(failure)

    def _take(self, row: NetworkRow) -> Iterator[str]:
        trial, bounds, network = row.identity.trial, row.bounds, row.fit.network
        if bounds.certificate:
            self.certified[bounds.certificate].append(row)
        for name in bounds.certificates or ():
            # Checked even where the row of its own output is gone.
            self.certified.setdefault(name, [])
        if not row.fit.ok:
            return
        if row.axes.rounding in UNCERTIFIED:
            if bounds != Bounds() or network or row.fit.gap is not None:
                yield f"trial {trial}: no proof speaks of such an arm"
        elif not network or not bounds.files:
            yield f"trial {trial} names no network or certificate"
        elif network in self.networks:
            yield f"trial {trial}: its network is another's too"
        else:
            self.networks[network] = row

    def order(self, file: str) -> tuple[str, str]:
        """Sort key that keeps files of one training matrix together."""
        row = self.networks.get(file) or next(iter(self.certified.get(file, [])), None)
        return ("" if row is None else row.identity.data_file, file)


def _not_lost(rows: Sequence[NetworkRow]) -> list[str]:
    """Rows of a file of lost work that say that it was done: nothing proves them."""
    return [f"trial {row.identity.trial} is lost, but did not fail" for row in rows if row.fit.ok]


def _config_of(folder: RunFolder) -> SweepConfig | None:
    """What the folder's sweep asked for; None where there is none that this version reads."""
    try:
        return parse_config(folder.read(CONFIG_FILE).decode(), CONFIG_FILE)
    except (OSError, UnicodeDecodeError, InputError):
        return None
