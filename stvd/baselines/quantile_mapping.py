"""Bicubic interpolation, then empirical quantile mapping to the climatology of fine rain."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stvd.baselines.fields import fine_cells
from stvd.baselines.interpolation import interpolate, refine
from stvd.checkpoint import write_atomically
from stvd.event import Event
from stvd.intensity import BINS, LOWEST, intensity_histogram, quantiles

FILE = "quantile_mapping.json"
RAREST = 1e-6  # the table ends at the 99.9999th percentile


class QuantileMapping(BaseModel):
    """F_fine⁻¹(F_interpolated(P)): interpolated rain gets the distribution that fine rain has.

    Both distributions are those of all cells and frames of the training events together. The map is
    linear between the quantiles of the table, 0 stays 0, and beyond the table the ratio of its last
    pair holds.

    Parameters
    ----------
    format : of the file
    factor : fine cells a coarse cell and axis, of the training events
    events : that the table was fitted on
    interpolated, observed : kg m-2 s-1, the quantiles of interpolated and of fine rain at the same
        levels, from (0, 0); the first increase strictly, the second do not fall
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str] = "quantile_mapping"

    format: Literal[1] = 1
    factor: int = Field(ge=1)
    events: tuple[str, ...]
    interpolated: tuple[float, ...] = Field(min_length=2)
    observed: tuple[float, ...]

    @model_validator(mode="after")
    def _table_is_a_map(self) -> QuantileMapping:
        if len(self.interpolated) != len(self.observed):
            raise ValueError(
                f"{len(self.interpolated)} interpolated and {len(self.observed)} observed quantiles "
                "are no pairs"
            )
        if self.interpolated[0] != 0 or self.observed[0] != 0:
            raise ValueError("the first pair must be (0, 0): dry stays dry")
        if not all(a < b < float("inf") for a, b in pairwise(self.interpolated)):
            raise ValueError("the interpolated quantiles must increase strictly")
        if not all(a <= b < float("inf") for a, b in pairwise(self.observed)):
            raise ValueError("the observed quantiles must not fall")
        return self

    @classmethod
    def read(cls, path: str | Path) -> QuantileMapping:
        """Read the table from its file, or from the folder of a checkpoint that has one.

        Raises
        ------
        ValueError
            If it is missing or is not such a table; unknown keys are refused.
        """
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise ValueError(
                f"{path} does not exist: fit it with fit_quantile_mapping on the training events"
            )
        try:
            return cls.model_validate_json(path.read_text())
        except ValidationError as error:
            raise ValueError(f"{path} is no quantile mapping of format 1: {error}") from None

    def write(self, path: str | Path) -> Path:
        """Write the table to a file, or as `quantile_mapping.json` into a folder; returns its path."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        write_atomically(path, (self.model_dump_json(indent=1) + "\n").encode())
        return path

    def forward(self, rate: np.ndarray) -> np.ndarray:
        """Map interpolated rates, kg m-2 s-1, any shape, NaN stays; in the type of `rate`."""
        ratio = self.observed[-1] / self.interpolated[-1]
        mapped = np.interp(rate, self.interpolated, self.observed)
        return np.where(rate > self.interpolated[-1], ratio * rate, mapped).astype(rate.dtype)

    def sample(
        self, coarse: xr.Dataset, grid: xr.Dataset, *, members: range, seed: int
    ) -> xr.DataArray:
        """As `Downscaler.sample`; `ValueError` for another factor than that of the training."""
        if (factor := fine_cells(coarse["pr"], grid)) != self.factor:
            raise ValueError(
                f"factor {factor}: the quantile mapping was fitted at factor {self.factor}; fit one "
                "for this grid"
            )
        out = xr.apply_ufunc(
            self.forward,
            interpolate(coarse, grid, method="bicubic"),
            dask="parallelized",
            output_dtypes=[np.float32],
            keep_attrs=True,
        )
        return out.assign_attrs(comment="bicubic interpolation and empirical quantile mapping")


def fit_quantile_mapping(events: Sequence[Event], *, levels: int = 500) -> QuantileMapping:
    """Fit the table on training events.

    Every event weighs the same, as in training, whatever its size; cells and frames without data
    count on neither side. The levels are spaced evenly in the logarithm of the share of area and
    time that exceeds them, from 1 to 1e-6, so that every decade of the tail has as many.

    Parameters
    ----------
    events : of one factor
    levels : quantiles in the table

    Raises
    ------
    ValueError
        If the factors of the events differ, or it does not rain in them.
    """
    factors = {e.truth.shape[-1] // e.coarse.shape[-1] for e in events}
    if len(factors) != 1:
        raise ValueError(
            f"the events have different factors {sorted(factors)}: fit one mapping each"
        )
    factor = factors.pop()
    counted = [_histograms(event, factor) for event in events]
    shares = [pair / pair.sum(-1, keepdims=True) for pair in counted if pair.sum() > 0]
    both = np.sum(shares, axis=0) if shares else np.zeros((2, BINS + 1))
    exceeded = np.geomspace(1.0, RAREST, levels)
    table = quantiles(both, (1 - exceeded).tolist()).T
    table = np.vectorize(lambda rate: float(f"{rate:.6g}"))(table)
    table[table < LOWEST] = 0.0  # a rate in the histogram's lowest bin is no rain
    # Levels at which the interpolated quantile is 0 or repeats add nothing to a map of rates.
    rises = np.diff(table[:, 0], prepend=0.0) > 0
    table = np.concatenate([[[0.0, 0.0]], table[rises]])
    if len(table) < 2:
        raise ValueError(
            f"it does not rain in {', '.join(e.name for e in events) or 'no event'}: no quantile "
            "mapping can be fitted"
        )
    return QuantileMapping(
        factor=factor,
        events=tuple(e.name for e in events),
        interpolated=tuple(table[:, 0].tolist()),
        observed=tuple(table[:, 1].tolist()),
    )


def _histograms(event: Event, factor: int) -> np.ndarray:
    """Histograms of interpolated and of fine rain over the cells where both are known."""
    pair = np.zeros((2, BINS + 1))
    for coarse, truth in zip(event.coarse[:, 0], event.truth, strict=True):
        fine = refine(coarse, factor=factor, periodic_x=event.periodic_x)
        known = np.isfinite(fine) & np.isfinite(truth)
        for histogram, field in zip(pair, (fine, truth), strict=True):
            histogram += intensity_histogram(field[known], np.ones(1))
    return pair
