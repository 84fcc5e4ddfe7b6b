"""What the demo makes and how it is shown; without Prefect and torch, which a second run spares."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from rich.console import Console

from flows.parameters import production
from flows.settings import Settings
from stvd.production import Production
from stvd.report import Report

PARTITIONS = (2, 3, 1)
SHOWN = ("crps", "crps_fair", "mse_mean", "emd", "pe", "spread_skill", "lsd", "block_violation")


def demonstration(
    source: str, members: int, product: str | None, checkpoint: str | None
) -> Production:
    """The demo's production: a record cut into a few equal partitions."""
    how = production(source=source, product=product, checkpoint=checkpoint, members=members)
    if how.open() is not None:
        return how
    frames = len(how.source.info.frames)
    parts = next(parts for parts in PARTITIONS if frames % parts == 0)
    return how.model_copy(update={"cell_frames": frames // parts})


def standing(how: Production, settings: Settings) -> Report | None:
    """The report of an earlier demo, if nothing has changed since."""
    product = how.open()
    report = Report.read(settings.report_folder(how.product))
    if product is None or report is None or report.snapshot != product.snapshot:
        return None
    return None if any(item.runs for item in how.plan()) else report


def show(report: Report, again: bool, console: Console) -> None:
    """Say what was made, where it is and how to look at it."""
    lines = ["Nothing to do: every partition is published already", ""] if again else [""]
    lines += [
        f"Product   {report.product}",
        f"          {report.period.replace('/', ' to ')}, {report.members} members",
        "",
        "Open it in Python:",
        "    from stvd.product import open_product",
        f'    ds = open_product("{report.product}")',
        '    ds.pr.mean("member")',
        "",
        *(f"Report    {path}" for path in report.pages.values()),
        "",
        f"Figures   {report.folder}",
        *(f"          {Path(path).name}" for path in report.figures.values()),
        "Tables    in the same folder",
        *(f"          {name}" for name in report.tables),
        "",
        *_scores(report),
        "Browse runs in Prefect, and figures and scores in MLflow:",
        "    make stack",
        "",
        f"Done in {time.time() - psutil.Process().create_time():.0f} s",
    ]
    console.print("\n".join(lines), soft_wrap=True)


def _scores(report: Report) -> list[str]:
    """A few scores beside those of the interpolation that has to be beaten."""
    rows = []
    for name in SHOWN:
        pair = [report.metrics.get(f"{system}/{name}") for system in ("stvd", "bicubic")]
        if pair[0] is not None:
            rows.append(
                f"{name:<18}" + "".join(f"{'' if n is None else f'{n:.3g}':>11}" for n in pair)
            )
    return [f"{'Scores':<18}{'STVD':>11}{'bicubic':>11}", *rows, ""] if rows else []
