"""What the demo makes and how it is shown; without Prefect and torch, which a second run spares."""

from __future__ import annotations

from rich.console import Console

from flows.parameters import production
from flows.settings import Settings
from stvd.production import Production
from stvd.report import Report

PARTITIONS = 4
SHOWN = ("crps_fair", "mse_mean", "emd", "pe", "spread_skill", "lsd", "block_violation")


def demonstration(
    source: str, members: int, product: str | None, checkpoint: str | None
) -> Production:
    """The demo's production: a record cut into about four partitions."""
    how = production(source=source, product=product, checkpoint=checkpoint, members=members)
    if how.open() is not None:
        return how
    quarter = max(1, len(how.source.info.frames) // PARTITIONS)
    window = how.window()
    return how.model_copy(update={"cell_frames": max(window, quarter // window * window)})


def standing(how: Production, settings: Settings) -> Report | None:
    """The report of an earlier demo, if nothing has changed since."""
    product = how.open()
    report = Report.read(settings.report_folder(how.product))
    if product is None or report is None or report.snapshot != product.snapshot:
        return None
    return None if any(item.runs for item in how.plan()) else report


def show(report: Report, seconds: float, again: bool, console: Console) -> None:
    """Say what was made, where it is and how to look at it."""
    lines = ["[bold]Nothing to do: every partition is published[/bold]"] if again else []
    lines += [
        f"Product    {report.product}",
        f"           {report.period}, {report.members} members",
    ]
    lines += [
        "",
        "Open it in Python:",
        "    from stvd.product import open_product",
        f'    ds = open_product("{report.product}")',
        '    ds.pr.mean("member")',
        "",
    ]
    lines += [f"{title:<11}{path}" for title, path in report.figures.items()]
    lines += [f"{title:<11}{path}" for title, path in report.tables.items()]
    if scores := {name: number for name in SHOWN if (number := report.metrics.get(f"stvd/{name}"))}:
        lines += ["", f"{'score':<18}{'STVD':>11}{'bicubic':>11}"]
        for name, number in scores.items():
            baseline = report.metrics.get(f"bicubic/{name}")
            lines += [f"{name:<18}{number:>11.3g}" + (f"{baseline:>11.3g}" if baseline else "")]
    lines += [
        "",
        "Browse the flow runs in Prefect and the figures in MLflow:",
        "    make stack",
        f"Done in {seconds:.0f} s",
    ]
    console.print("\n".join(lines), soft_wrap=True)
