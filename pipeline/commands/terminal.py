"""The end of a sweep on the terminal: the best networks, then where to look."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.configuration.metric import Metric
from pipeline.reports.sizes import counted_words, whole_words
from pipeline.results.fitness import common_class
from pipeline.results.summary import (
    OURS,
    Shown,
    beside_ours,
    best_networks,
    best_shown,
    beta_axis,
    champion_of,
    frame,
    metric_of,
    percent,
    problems,
    searched,
)
from pipeline.sweeps.driver import SweepOutcome

SHOWN = 8
# From so many columns on, each row has its network's file.
_WIDE = 120


def print_outcome(outcome: SweepOutcome, console: Console) -> None:
    """Print the table of the best networks, the champion, and where the files are.

    Of a study that makes no networks, its findings, and where the files are.
    """
    if "rounding" not in outcome.results.schema.names:
        _where(outcome, console)
        return
    data = frame(outcome.results)
    metric = metric_of(data)
    axis = beta_axis(searched(data))
    dataset = "" if not len(data) else escape(f"{data['dataset'].iloc[0]}: ")
    table = Table(
        title=f"{dataset}best networks, one a setting, by mean validation {metric.label}",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    several = len(problems(data)) > 1
    wide = console.width >= _WIDE
    table.add_column("shard", overflow="fold")
    if several:
        table.add_column("problem", overflow="fold")
    for head in ("β" if axis.column == "beta" else "β/β max", "width"):
        table.add_column(head, justify="right")
    table.add_column("rounding")
    for head in ("gap", "mean valid.", "valid.", "test", "neurons", "bytes"):
        table.add_column(head, justify="right")
    if wide:
        table.add_column("file", no_wrap=True)

    def add(shown: Shown, mean: float | None, style: str | None = None) -> None:
        identity, axes, fit = shown.row.identity, shown.row.axes, shown.row.fit
        table.add_row(
            escape(identity.shard),
            *([shown.problem] if several else []),
            f"{getattr(axes, axis.column):.4g}",
            f"{axes.width}",
            axes.rounding,
            percent(fit.gap),
            metric.text(mean),
            metric.text(shown.measured("validation", metric)),
            metric.text(shown.measured("test", metric)),
            f"{fit.neurons}",
            f"{fit.bytes}",
            *([escape(str(fit.network))] if wide else []),
            style=style,
        )

    for _, row in best_networks(data, SHOWN).iterrows():
        shown = Shown.of(row.to_dict())
        add(shown, shown.setting_validation)
    refit = outcome.champion
    champion = None if refit is None else champion_of(data, refit.identity.trial)
    if champion is not None:
        table.add_section()
        add(champion, outcome.choice.mean, style="bold")
    console.print(table)
    _print_arms(outcome, metric, console)
    for caution in outcome.cautions:
        console.print(f"not promoted: {caution}", markup=False, highlight=False, style="bold")
    if outcome.champion is not None:
        console.print("last row: the chosen setting, refitted on all rows but the test rows")
    last = champion or next(iter(best_shown(data, 1)), None)
    common = None if last is None else common_class(last.row, metric)
    if common is not None:
        console.print(f"note: {common}", markup=False, highlight=False)
    _where(outcome, console, last)


def _print_arms(outcome: SweepOutcome, metric: Metric, console: Console) -> None:
    """The arms that the sweep ran beside ours, the better first, whichever that is."""
    arms = beside_ours(outcome.results)
    if not len(arms):
        return
    table = Table(
        title=f"ours and the baselines, each at its best mean validation {metric.label}; means",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("")
    for head in ("networks", "valid.", "test", "gap", "bytes"):
        table.add_column(head, justify="right")
    for row in arms.to_dict("records"):
        table.add_row(
            str(row["arm"]),
            f"{row['networks']}",
            metric.text(row[metric.column("validation")]),
            metric.text(row[metric.column("test")]),
            percent(row["gap"]),
            f"{row['bytes']:.0f}",
            style="bold" if row["arm"] == OURS else None,
        )
    console.print(table)


def _where(outcome: SweepOutcome, console: Console, shown: Shown | None = None) -> None:
    def line(head: str, text: str) -> None:
        console.print(f"{head:<9}{text}", markup=False, highlight=False, soft_wrap=True)

    for head, text in outcome.findings:
        line(head, text)
    if outcome.failed:
        line("failed", f"{outcome.failed} trials; see the column error in results/*.parquet")
    if outcome.report is not None:
        line("report", outcome.report)
    if shown is not None:
        line("network", f"{outcome.location.rstrip('/')}/{shown.row.fit.network}")
        whole = f"with its encoding this network has {whole_words(shown.row)}"
        line("bytes", f"{counted_words(shown.row)}; {whole}")
    line("results", f"{outcome.location}/results")
    if outcome.tracking_command is not None:
        line("mlflow", outcome.tracking_command)
    times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in outcome.timings.items())
    line("times", times)
