"""What a published partition holds, in a few numbers and two small figures."""

from __future__ import annotations

from dataclasses import dataclass

import dask
import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.diagnostics.maps import panel
from stvd.diagnostics.plots import area_mean_series
from stvd.piece_statistics import MM_PER_HOUR, ScoreConfig

WET = ScoreConfig().wet * MM_PER_HOUR
SPACE = ("tile", "y", "x")


@dataclass(frozen=True)
class PartitionSummary:
    """Area-weighted statistics of the members of a partition.

    area_mean : DataArray, shape (member, time), kg m-2 s-1
    highest : largest value, kg m-2 s-1
    wet_share : share of area, time and members with 0.1 mm h-1 or more
    spread : root of the mean variance of the members, kg m-2 s-1; NaN of one member
    """

    area_mean: xr.DataArray
    highest: float
    wet_share: float
    spread: float

    @property
    def wettest(self) -> int:
        """Index of the frame with most rain on average."""
        return int(np.argmax(self.area_mean.mean("member").values))

    def numbers(self) -> dict[str, float]:
        """The statistics by name, rates in mm h-1."""
        return {
            "pr_mean_mmh": float(self.area_mean.mean()) / MM_PER_HOUR,
            "pr_max_mmh": self.highest / MM_PER_HOUR,
            "pr_spread_mmh": self.spread / MM_PER_HOUR,
            "wet_share": self.wet_share,
        }


def summarise(pr: xr.DataArray, area: xr.DataArray) -> PartitionSummary:
    """Read a partition once, chunk by chunk.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, lazily or in memory
    area : DataArray, shape ([tile,] y, x), m2
    """
    weights = (area / area.sum()).astype(np.float64).reset_coords(drop=True)
    space = [d for d in SPACE if d in pr.dims]
    members = pr.sizes["member"]
    lazy = {
        "area_mean": xr.dot(pr, weights, dim=space),
        "highest": pr.max(),
        "wet": xr.dot((pr >= WET).astype(np.float64), weights, dim=space).mean(),
    }
    if members > 1:
        variance = pr.astype(np.float64).var("member", ddof=1)
        lazy["variance"] = xr.dot(variance, weights, dim=space).mean()
    (found,) = dask.compute(lazy)
    return PartitionSummary(
        area_mean=found["area_mean"],
        highest=float(found["highest"]),
        wet_share=float(found["wet"]),
        spread=float(found["variance"]) ** 0.5 if members > 1 else float("nan"),
    )


def figures(
    summary: PartitionSummary,
    pr: xr.DataArray,
    coarse: xr.DataArray,
    grid: xr.Dataset,
    title: str,
) -> dict[str, Figure]:
    """Rain over time, and maps of the wettest frame, by the name of the file.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x)
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), of the same frames
    """
    index = summary.wettest
    moment, below = (field.isel(time=index).compute() for field in (pr, coarse))
    return {
        "area_mean": area_mean_series(summary.area_mean, title=title),
        "wettest": panel(moment, below, grid=grid, title=f"{title} · wettest frame"),
    }
