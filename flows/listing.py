"""Tables that the command line prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from flows.settings import Settings
from stvd.catalog import list_sources
from stvd.partition import Mode, Partition
from stvd.product import Product
from stvd.production import Production
from stvd.published_tables import SUFFIX
from stvd.source import Source, catalog_files


def products(settings: Settings) -> Table:
    """The products in the folder of products."""
    table = Table("product", "source", "members", "partitions", "snapshot")
    for folder in sorted(Path(settings.product_uri("x")).parent.glob("[!.]*")):
        if folder.name.endswith(SUFFIX):
            continue
        product = Product.open(folder)
        spec, ledger = product.spec, product.ledger()
        table.add_row(
            folder.name, spec.source, str(spec.members), str(len(ledger)), product.snapshot
        )
    return table


def partitions(name: str, settings: Settings) -> Table:
    """What is published of one product."""
    product = Product.open(settings.product_uri(name), storage=settings.storage)
    table = Table("partition", "period", "seconds", "written", "snapshot")
    for key, entry in product.ledger().items():
        period = str(product.spec.axis.period(entry.frames))
        table.add_row(key, period, f"{entry.seconds:.0f}", entry.written_at, entry.snapshot)
    return table


def quarantined(name: str, settings: Settings) -> Table:
    """What was sampled for a product and not believed."""
    from stvd.product.quarantine import quarantined

    uri = settings.product_uri(name)
    axis = Product.open(uri, storage=settings.storage).spec.axis
    table = Table("branch", "period", "findings", "written", "snapshot")
    for branch, held in quarantined(uri, storage=settings.storage).items():
        period = axis.period(Partition.from_id("", held.partition).frames)
        table.add_row(branch, str(period), "\n".join(held.findings), held.written_at, held.snapshot)
    return table


def plan(
    production: Production, start: str | None, end: str | None, mode: Mode
) -> tuple[Table, str]:
    """What is to be done, and why; and what it will cost."""
    from stvd.generate import changed_today, fingerprint_today  # torch takes seconds to import

    look = partial(fingerprint_today, production) if mode == "stale" else None
    changed = changed_today(production) if mode == "stale" else None
    planned = production.plan(start=start, end=end, mode=mode, fingerprint_of=look, changed=changed)
    table = Table("partition", "period", "action", "reason")
    for item in planned:
        period = str(production.axis.period(item.partition.frames))
        table.add_row(item.partition.id, period, item.action, item.reason)
    return table, production.estimate(planned).sentence(datetime.now(UTC))


def sources(settings: Settings) -> Table:
    """The coarse records of the catalogs."""
    table = Table("source", "catalog")
    for file in catalog_files(settings.catalog):
        for name in list_sources(file):
            if not name.endswith(("_grid", "_truth")):
                table.add_row(name, str(file))
    return table


def source(reference: str, settings: Settings) -> Table:
    """One record, in full."""
    record = Source.find(reference, settings.catalog, settings.data_root)
    table = Table("", reference)
    table.add_row("period", str(record.axis.period(record.info.frames)))
    table.add_row("frames", f"{len(record.info.frames)} of {record.axis.step_seconds} s")
    for key, value in record.info.model_dump(exclude={"name", "axis", "frames"}).items():
        table.add_row(key, ", ".join(value) if isinstance(value, tuple) else str(value))
    return table


def scores(document: Mapping[str, Any], *, intervals: bool) -> Table:
    """Scores of all systems of an evaluation; what holds for the truth or one rank is left out.

    Parameters
    ----------
    document : as `stvd.evaluation.Evaluation.document` makes it
    intervals : show them too, which takes a wide console
    """
    systems: Mapping[str, Mapping[str, Any]] = document["scores"]
    table = Table("score", "units")
    table.columns[0].no_wrap = True
    for system in systems:
        table.add_column(system, justify="right", no_wrap=True)
    names = dict.fromkeys(n for found in systems.values() for n in found)
    for name in names:
        if name.startswith("rank_histogram") or re.search(r"_truth$|^rapsd_\d", name):
            continue
        units = next(found[name]["units"] for found in systems.values() if name in found)
        shown = (_estimate(found.get(name), intervals) for found in systems.values())
        table.add_row(name, units, *shown)
    return table


def comparison(document: Mapping[str, Any], score: str = "crps_fair") -> Table:
    """One error of stvd over that of every other system."""
    table = Table("", f"{score} of stvd over theirs", "90% interval")
    for name, found in document["comparison"].items():
        if entry := found.get(score):
            bounds = [entry[k] for k in ("low", "high")]
            said = "too few frames" if None in bounds else "{:.3f} to {:.3f}".format(*bounds)
            table.add_row(name, f"{entry['value']:.3f}", said)
    return table


def _estimate(entry: Mapping[str, Any] | None, interval: bool) -> str:
    if entry is None:
        return "–"
    value = f"{entry['value']:.3g}"
    if not interval or entry["low"] is None or entry["high"] is None:
        return value
    return f"{value} ({entry['low']:.2g} to {entry['high']:.2g})"
