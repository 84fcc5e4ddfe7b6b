"""How skill differs: scores by season, region, number of members and threshold, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.climate import SEASONS
from stvd.lattice import TimeAxis
from stvd.piece_statistics import ScoreConfig
from stvd.score_tables import tabulate
from stvd.scores import score
from stvd.spectrum_box import Box, spectrum_box
from stvd.statistics import Statistics, gather, merged

LEFT_OUT = ("rank_histogram", "rapsd_")
MOSTLY = 0.5  # share of a cell from which on it is scored with a region
COLUMNS = ("by", "of", "system", "score", "value", "low", "high", "units")
Progress = Callable[[int, int], None]


class Keeper(Protocol):
    """Keeps what was counted of the cells of a product, so that only new ones are counted."""

    def gather(self, contest: Contest, progress: Progress | None) -> Statistics:
        """What `Contest.count` gives for the whole record."""

    def box(self, contest: Contest) -> Box | None:
        """What `spectrum_box` gives for it."""


@dataclass(frozen=True)
class Contest:
    """A system, the truth that it is scored against, and how.

    Parameters
    ----------
    pr, truth, area, coarse, axis, config : as in `statistics.gather`
    system : what made `pr`
    keeper : of what was counted before; None counts all
    cells : bool, shape ([tile,] y, x), which cells of the product these are of; None is all
    """

    pr: xr.DataArray
    truth: xr.DataArray | None
    area: xr.DataArray
    coarse: xr.DataArray | None
    axis: TimeAxis
    config: ScoreConfig
    system: str = "stvd"
    keeper: Keeper | None = None
    cells: xr.DataArray | None = None

    def gather(self, progress: Progress | None = None) -> Statistics:
        """What the scores need."""
        contest = self.boxed()
        if contest.keeper is None:
            return contest.count(progress=progress)
        return contest.keeper.gather(contest, progress)

    def count(self, *, preceded: bool = False, progress: Progress | None = None) -> Statistics:
        """Read all that there is; the first frame is not counted where it precedes the record."""
        return gather(
            self.pr,
            self.truth,
            self.area,
            self.coarse,
            config=self.config,
            axis=self.axis,
            preceded=preceded,
            progress=progress,
        )

    def boxed(self) -> Contest:
        """With the cells of the spectrum, so that parts of the record merge."""
        if self.config.spectrum_box is not None:
            return self
        record = self.pr, self.truth, self.coarse
        box = self.keeper.box(self) if self.keeper else spectrum_box(*record)
        box = box or (0, self.pr.sizes["y"], 0, self.pr.sizes["x"])
        return replace(self, config=self.config.model_copy(update={"spectrum_box": box}))

    def at(self, times: np.ndarray | slice) -> Contest:
        """The frames at these places alone."""
        return replace(
            self,
            pr=self.pr.isel(time=times),
            truth=None if self.truth is None else self.truth.isel(time=times),
            coarse=None if self.coarse is None else self.coarse.isel(time=times),
        )

    def first(self, members: int) -> Contest:
        """The first members alone; of windows and tiles nothing is asked."""
        return replace(self, pr=self.pr.isel(member=slice(0, members)), config=_plain(self.config))

    def inside(self, share: xr.DataArray) -> Contest:
        """The cells of a region alone, in the smallest box that holds it.

        Parameters
        ----------
        share : DataArray, shape ([tile,] y, x), of each cell inside the region; those of half and more
            are scored, or where there is none, all of which any part is inside
        """
        kept = share >= MOSTLY if bool((share >= MOSTLY).any()) else share > 0
        factor = 1 if self.coarse is None else self.pr.sizes["x"] // self.coarse.sizes["x"]
        box = {d: _around(kept, d, factor if d in ("y", "x") else 1) for d in map(str, kept.dims)}
        coarse = {
            d: slice(s.start // factor, s.stop // factor) if d in ("y", "x") else s
            for d, s in box.items()
        }
        blocks = kept.isel(box).coarsen(y=factor, x=factor).any()
        whole = box["x"] == slice(0, self.pr.sizes["x"])
        config = _plain(self.config).model_copy(
            update={"spectrum_box": None, "periodic_x": self.config.periodic_x and whole}
        )
        assert self.truth is not None
        return replace(
            self,
            pr=self.pr.isel(box),
            truth=self.truth.isel(box).where(kept.isel(box)),
            area=self.area.isel(box),
            coarse=None if self.coarse is None else self.coarse.isel(coarse).where(blocks),
            config=config,
            cells=kept,
        )


def by_season(contest: Contest, progress: Progress | None = None) -> dict[str, Statistics]:
    """Statistics of each season that the record touches, of the same season of all years together.

    Their sum is that of the record, but for the steps into a season, which are in none.
    """
    month = contest.pr["time"].dt.month.values
    number = month % 12 // 3
    if len(np.unique(number)) == 1:
        return {SEASONS[int(number[0])]: contest.gather(progress)}
    contest = contest.boxed()
    found: dict[str, Statistics] = {}
    done, total = 0, number.size
    for season in np.unique(number):
        places = np.flatnonzero(number == season)
        before = done

        def told(some: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + some, total)

        found[SEASONS[int(season)]] = contest.at(places).gather(told)
        done += places.size
    return found


def whole(parts: Mapping[str, Statistics]) -> Statistics:
    """The statistics of a record from those of its seasons."""
    return merged(list(parts.values()))


def by_region(contest: Contest, regions: xr.DataArray) -> dict[str, Statistics]:
    """Statistics of each region: its cells alone, so it costs as much of the record as its box.

    Parameters
    ----------
    regions : of `regions.region_areas`, m2
    """
    bare = regions.drop_vars([c for c in regions.coords if c != "region"])
    area = xr.DataArray(contest.area.variable)
    return {
        str(name): contest.inside((bare.sel(region=name, drop=True) / area).fillna(0)).gather()
        for name in regions["region"].values
    }


def by_members(contest: Contest) -> dict[str, Statistics]:
    """Statistics of half of the members, of a quarter, and so on down to two; not of all of them."""
    counts = []
    count = contest.pr.sizes["member"] // 2
    while count > 1:
        counts.append(count)
        count //= 2
    return {str(count): contest.first(count).gather() for count in reversed(counts)}


def skill_rows(
    by: str, system: str, parts: Mapping[str, Statistics], replicates: int
) -> pd.DataFrame:
    """A row per part and score, with the interval of the block bootstrap."""
    scored = {of: tabulate(score(s, replicates=replicates)) for of, s in parts.items()}
    rows = [
        (by, of, system, name, *(entry[k] for k in ("value", "low", "high", "units")))
        for of, table in scored.items()
        for name, entry in table.items()
        if not name.startswith(LEFT_OUT) and not name.endswith("_truth")
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def threshold_rows(system: str, scored: xr.Dataset) -> pd.DataFrame:
    """The scores that have a threshold, a row for each; neighbourhoods of 8 cells."""
    return pd.DataFrame(_thresholds(system, scored), columns=list(COLUMNS))


def _thresholds(system: str, scored: xr.Dataset) -> Iterator[tuple[object, ...]]:
    at = {"fss": ("threshold", "fss_8cells"), "twcrps": ("tail", "twcrps")}
    for name, (dim, said) in at.items():
        if name not in scored:
            continue
        field = scored[name].sel(scale=8) if "scale" in scored[name].dims else scored[name]
        for threshold in field[dim].values:
            three = [float(v) for v in field.sel({dim: threshold}).sel(
                estimate=["value", "low", "high"]).values]  # fmt: skip
            if np.isfinite(three[0]):
                of = f"{threshold:g} mm/h"
                yield ("threshold", of, system, said, *three, field.attrs["units"])


def _plain(config: ScoreConfig) -> ScoreConfig:
    """Without seams of windows and tiles."""
    return config.model_copy(
        update={"window": None, "window_edges": (0,), "tile_edges_y": (), "tile_edges_x": ()}
    )


def _around(kept: xr.DataArray, dim: str, factor: int) -> slice:
    """The smallest range along a dimension, in whole coarse cells, that holds all that is kept."""
    some = np.flatnonzero(kept.any([d for d in kept.dims if d != dim]).values)
    return slice(int(some[0]) // factor * factor, -(-(int(some[-1]) + 1) // factor) * factor)
