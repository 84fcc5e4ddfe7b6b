"""Held-out events of `splits.yaml`, and scores on them that are computed once and kept.

A result is two files, `<folder>/<event>/<system>_seed<k>.json` with the scores and what made them, and
`.nc` with the sums that they follow from. It is computed again only if what made it has changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import xarray as xr
import yaml

from stvd.baselines import Downscaler
from stvd.checkpoint import Checkpoint
from stvd.engine import Engine
from stvd.evaluation import evaluate, write
from stvd.event_file import EventFile, read_event, read_source
from stvd.sampling import SamplerConfig
from stvd.score_tables import tabulate
from stvd.scores import compare, score
from stvd.source import Source
from stvd.statistics import Statistics

HERE = Path(__file__).parent
CATALOG = HERE.parent / "catalogs" / "shared.yaml"


def split(benchmark: str, part: str) -> list[str]:
    """The events of `train`, `validation` or `test` of a benchmark."""
    return list(yaml.safe_load((HERE / "splits.yaml").read_text())[benchmark][part])


@dataclass(frozen=True)
class HeldOut:
    """An event, or some frames and cells of it, read when it is first needed.

    reference : entry of `catalogs/shared.yaml`, or a file relative to the project
    frames, region : as in `stvd.event_file.read_event`; a region for files alone
    """

    reference: str
    frames: str | None = None
    region: str | None = None

    @property
    def name(self) -> str:
        return Path(self.reference).stem

    @cached_property
    def event(self) -> EventFile:
        return _read(self.reference, self.frames, self.region)


@lru_cache(maxsize=2)  # the truth of an event may take gigabytes
def _read(reference: str, frames: str | None, region: str | None) -> EventFile:
    if Path(reference).suffix in (".nc", ".zarr"):
        return read_event(HERE.parent / reference, frames=frames, region=region)
    return read_source(Source.find(reference, CATALOG), frames=frames)


@dataclass(frozen=True)
class Work:
    """What is to be scored, and where the result is kept.

    folder : of results
    members : of ensembles
    engine : where networks run
    say : told what is being done
    """

    folder: Path
    members: int = 10
    engine: Engine = field(default_factory=Engine)
    say: Callable[[str], None] = print

    def score(
        self,
        held_out: HeldOut,
        name: str,
        checkpoint: Checkpoint,
        *,
        system: str = "stvd",
        seed: int = 0,
        sampler: SamplerConfig | None = None,
        baselines: Mapping[str, Downscaler] | None = None,
        folder: Path | None = None,
        digest: str | None = None,
    ) -> Statistics | None:
        """Sums of a system on an event, from where they are kept or computed; None if it cannot run.

        Parameters
        ----------
        name : that the result is kept under
        checkpoint : that is scored, or whose windows are looked at where `system` is a baseline
        digest : of what else decides the numbers, e.g. the weights of a baseline
        """
        sampler = sampler or SamplerConfig.of(checkpoint.card.sampler)
        ours = system == "stvd"
        made_by = {
            "event": held_out.reference,
            "frames": held_out.frames,
            "region": held_out.region,
            "system": system,
            "digest": checkpoint.digest if ours else digest,
            "members": self.members,
            "seed": seed,
            "sampler": sampler.model_dump(mode="json") if ours else None,
        }
        path = self.folder / held_out.name / f"{name}_seed{seed}.json"
        if path.exists() and json.loads(path.read_text())["made_by"] == made_by:
            return read_statistics(path.with_suffix(".nc"))
        self.say(f"{held_out.name}: {name}, seed {seed}")
        found = evaluate(
            checkpoint,
            held_out.event,
            members=self.members,
            seed=seed,
            sampler=sampler,
            engine=self.engine,
            systems=[system],
            baselines=baselines,
            folder=folder,
        )
        if system not in found.statistics:
            self.say("; ".join(found.notes))
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        write_statistics(found.statistics[system], path.with_suffix(".nc"))
        write({"made_by": made_by, **found.document()}, path)
        return found.statistics[system]


def write_statistics(statistics: Statistics, path: Path) -> None:
    """Keep summed statistics in a NetCDF file."""
    statistics.to_dataset().to_netcdf(path, engine="netcdf4")


def read_statistics(path: Path) -> Statistics:
    """What `write_statistics` kept."""
    return Statistics.from_dataset(xr.load_dataset(path, engine="netcdf4"))


def averaged(runs: Sequence[Statistics]) -> Statistics:
    """The mean over several seeds of the sums on one event, for the scores of the typical seed."""
    total = runs[0].sums
    for other in runs[1:]:
        total = total + other.sums
    return replace(runs[0], sums=(total / len(runs)).assign(covered=runs[0].sums["covered"]))


def ratios(ours: Statistics, other: Statistics) -> dict[str, dict[str, Any]]:
    """Errors of one system over those of another on the same event, `tabulate`d.

    The windows of the two may differ: no seam is compared.
    """
    return tabulate(compare(ours, replace(other, config=ours.config)))


def table(statistics: Statistics) -> dict[str, dict[str, Any]]:
    """Scores of a system on an event, `tabulate`d."""
    return tabulate(score(statistics))


def cell(entry: Mapping[str, Any] | None, scale: float = 1.0, digits: int = 3) -> str:
    """`value (low–high)` of a score, in multiples of `scale`."""
    if entry is None:
        return "–"
    value, low, high = (
        None if entry[k] is None else f"{entry[k] / scale:.{digits}g}"
        for k in ("value", "low", "high")
    )
    return f"{value}" if low is None or high is None else f"{value} ({low}–{high})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
