"""Annual statistics of checkpoints and the classical baselines, against those of the truth.

    python benchmarks/annual.py runs/year_t63.nc --checkpoint stvd=runs/gcm_t63 --members 2 --windows independent

The record is worked on in spans of `--span` frames, whose states (`stvd.diagnostics.accumulate`) are kept in
`runs/annual`: interrupted, it goes on where it stopped. `--spans 0:6` makes some of them alone, so that two
processes can share a record. What is printed is of all spans that are there; a part of a year is named so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from held_out import markdown
from matplotlib.figure import Figure
from scores.probability import crps_for_ensemble

from stvd.checkpoint import Checkpoint, write_atomically
from stvd.diagnostics.accumulate_store import partition_states
from stvd.diagnostics.canvas import Canvas
from stvd.diagnostics.colours import amount_scale
from stvd.diagnostics.maps import sheet
from stvd.diagnostics.tables import area_mean, tables_of_states
from stvd.engine import Engine
from stvd.event_file import EventFile, read_event
from stvd.sampling import SamplerConfig
from stvd.systems import records

INDICES = {  # quantity and digits of its mean
    "pr_total": 0,
    "wet_day_fraction": 3,
    "sdii": 2,
    "r10mm": 1,
    "r20mm": 2,
    "rx1day": 1,
    "rx5day": 1,
    "rx1step": 2,
    "cdd": 1,
    "cwd": 1,
}
LENGTH = ("n_frames", "command")
"""Attributes of a record that change as it grows."""
BASELINES = ("bicubic", "quantile_mapping", "rainfarm")


@dataclass(frozen=True)
class Year:
    """A record whose states are counted span by span.

    kept : folder of the states of all systems
    sampler : in place of that of each checkpoint
    """

    file: Path
    span: int
    members: int
    kept: Path
    sampler: dict[str, Any]

    @cached_property
    def opened(self) -> xr.Dataset:
        return xr.open_dataset(self.file, decode_times=False)

    def spans(self, chosen: str | None) -> list[str]:
        """The frames of each span, `a:b`, of those that are chosen."""
        frames = self.opened.sizes["time"]
        all_of_them = [f"{a}:{min(a + self.span, frames)}" for a in range(0, frames, self.span)]
        if chosen is None:
            return all_of_them
        first, last = chosen.split(":")
        return all_of_them[int(first) : int(last)]

    def path(self, system: str, span: str) -> Path:
        return self.kept / self.file.stem / system / f"{span.replace(':', '-')}.nc"

    def count(self, span: str, models: dict[str, Path], engine: Engine) -> None:
        """Keep the states of a span, of the truth and of every system that has none."""
        event = None
        for system, made_by in self.made_by(span, models).items():
            path = self.path(system, span)
            if path.exists():
                with xr.open_dataset(path) as kept:
                    if json.loads(kept.attrs["made_by"]) == made_by:
                        continue
            print(f"{span} {system}", flush=True)
            event = event or read_event(self.file, frames=span)
            for pr in self.rain(system, event, models, engine):
                states = partition_states(pr, event.axis).assign_attrs(made_by=json.dumps(made_by))
                path.parent.mkdir(parents=True, exist_ok=True)
                states.to_netcdf(path.with_suffix(".partial"), engine="netcdf4")
                path.with_suffix(".partial").replace(path)

    def made_by(self, span: str, models: dict[str, Path]) -> dict[str, dict[str, Any]]:
        """What decides the states of every system."""
        says = {k: str(v) for k, v in self.opened.attrs.items() if k not in LENGTH}
        here: dict[str, Any] = {"frames": span, "record": says}
        found = {"truth": here}
        for system in BASELINES:
            found[system] = here | {"members": self.members if system == "rainfarm" else 1}
        first = Checkpoint.load(next(iter(models.values())))
        found["quantile_mapping"]["digest"] = first.digest
        for name, folder in models.items():
            card = Checkpoint.load(folder).card
            sampler = SamplerConfig.of(card.sampler, **self.sampler).model_dump(mode="json")
            found[name] = here | {
                "members": self.members, "digest": card.digest, "sampler": sampler
            }  # fmt: skip
        return found

    def rain(
        self, system: str, event: EventFile, models: dict[str, Path], engine: Engine
    ) -> Iterator[xr.DataArray]:
        """What a system makes of the event, if it can be run."""
        if system == "truth":
            yield event.truth.expand_dims(member=[0])
            return
        folder = models.get(system, next(iter(models.values())))
        checkpoint = Checkpoint.load(folder)
        made, notes = records(
            checkpoint,
            event,
            members=self.members,
            sampler=SamplerConfig.of(checkpoint.card.sampler, **self.sampler),
            engine=engine,
            systems=["stvd" if system in models else system],
            folder=folder,
        )
        print(*notes, sep="\n", end="\n" if notes else "")
        yield from made.values()

    def annual(self, system: str, spans: list[str], area: xr.DataArray) -> xr.Dataset | None:
        """Quantities of the year, or of the part of it whose states are there; None without any.

        Raises
        ------
        ValueError
            If the record is of several years.
        """
        paths = [self.path(system, span) for span in spans]
        states = [xr.load_dataset(path) for path in paths if path.exists()]
        if not states:
            return None
        found = tables_of_states(states, area, cycles=False)
        years = found.period_to_date if found.annual is None else found.annual
        if years is None or years.sizes["time"] != 1:
            raise ValueError(f"{self.file} is not of one year: give a record that is")
        return years.isel(time=0)


def compared(found: xr.DataArray, truth: xr.DataArray, area: xr.DataArray) -> tuple[float, float]:
    """Mean over the area less that of the truth, and the fair CRPS, both in per cent of that of the truth.

    Of a system with one member the CRPS is the absolute error.
    """
    both = (found.notnull().all("member") & truth.notnull()).rename("both")
    mean = float(area_mean(truth.where(both), area))
    bias = float(area_mean(found.mean("member").where(both), area)) / mean - 1
    crps = crps_for_ensemble(
        found, truth, "member", method="fair" if found.sizes["member"] > 1 else "ecdf",
        preserve_dims="all",
    )  # fmt: skip
    return 100 * bias, 100 * float(area_mean(crps.where(both), area)) / mean


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--checkpoint", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--windows", help="in place of those of each checkpoint")
    parser.add_argument("--span", type=int, default=240, help="frames")
    parser.add_argument("--spans", help="a:b of them alone")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs/annual"))
    parser.add_argument("--figure", type=Path, help="of maps of the largest day, PNG")
    parser.add_argument("--out", type=Path, help="Markdown file; printed by default")
    given = parser.parse_args()

    models = {n: Path(f) for n, f in (pair.split("=", 1) for pair in given.checkpoint)}
    year = Year(given.file, given.span, given.members, given.runs, {"windows": given.windows})
    spans = year.spans(given.spans)
    for span in spans:
        year.count(span, models, Engine(device=given.device))
    grid = read_event(given.file, frames="0:1").grid
    area = grid["areacella"]
    everything = {name: year.annual(name, spans, area) for name in ("truth", *models, *BASELINES)}
    found = {name: table for name, table in everything.items() if table is not None}
    text = summary(found, area)
    if given.out:
        write_atomically(given.out.absolute(), text.encode())
    print(text)
    if given.figure:
        maps(found, grid).savefig(given.figure, dpi=110)


def summary(systems: dict[str, xr.Dataset], area: xr.DataArray) -> str:
    """Bias and CRPS of every index, in per cent of the truth."""
    truth = systems["truth"].squeeze("member", drop=True)
    others = {name: found for name, found in systems.items() if name != "truth"}
    start, stop = np.datetime_as_string(truth["time_bnds"].values, unit="D")
    rows = []
    for name, digits in INDICES.items():
        if name not in truth:  # fewer days than it takes
            continue
        about = truth[name].attrs
        row = [
            f"`{name}`, {about['units']}",
            f"{float(area_mean(truth[name], area)):.{digits}f}",
        ]
        for found in others.values():
            bias, crps = compared(found[name], truth[name], area)
            row.append(f"{bias:+.1f}, {crps:.1f}")
        rows.append(row)
    head = ["", "truth", *others]
    return f"### {start} to {stop}: bias, CRPS in per cent\n\n{markdown(head, rows)}\n"


def maps(systems: dict[str, xr.Dataset], grid: xr.Dataset, name: str = "rx1day") -> Figure:
    """An index of the truth and of one member of every system but interpolation, on one scale."""
    fields = {
        system: found[name].isel(member=0)
        for system, found in systems.items()
        if system != "bicubic"
    }
    truth = fields["truth"]
    scale = amount_scale(truth.values, str(truth.attrs["units"]))
    what = str(truth.attrs["long_name"])
    return sheet(fields, Canvas(truth, grid), scale, what, width=4.4)


if __name__ == "__main__":
    main()
