"""Annual maxima pooled over years and members: how many there are, how alike, and cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from stvd.diagnostics.gev_bootstrap import Ladder, ladder, member_correlation

FEWEST_MAXIMA = 10
BLOCK = 4096  # cells at a time, so that memory does not grow with the grid


class TooFewMaxima(ValueError):
    """A return level was asked for from fewer annual maxima than can carry one."""


def said(maxima: xr.DataArray) -> str:
    """What people call the maxima."""
    return str(maxima.attrs.get("long_name", maxima.name))


def count_of(maxima: xr.DataArray, dims: Sequence[str]) -> int:
    """How many maxima are pooled along `dims`; `TooFewMaxima` if fewer than 10."""
    count = int(np.prod([maxima.sizes[d] for d in dims]))
    if count < FEWEST_MAXIMA:
        sizes = " × ".join(f"{maxima.sizes[d]} {d}" for d in dims) or "1 value"
        raise TooFewMaxima(
            f"return levels of {maxima.name} need at least {FEWEST_MAXIMA} annual maxima and there "
            f"are {count} ({sizes}); add members or complete years"
        )
    return count


def design(maxima: xr.DataArray) -> tuple[xr.DataArray, list[str], int]:
    """Maxima with both dimensions of the pool, those dimensions, and how many are pooled."""
    count = count_of(maxima, [d for d in ("member", "time") if d in maxima.dims])
    absent = [d for d in ("time", "member") if d not in maxima.dims]
    return maxima.expand_dims(absent), ["time", "member"], count


def per_cell(
    function: Callable[[np.ndarray], np.ndarray],
    maxima: xr.DataArray,
    dims: Sequence[str],
    sizes: dict[str, int],
) -> xr.DataArray:
    """A function of pooled maxima, shape (n, cell), to (cell, *sizes), lazily if `maxima` is."""

    def by_blocks(values: np.ndarray) -> np.ndarray:
        lead = values.shape[: values.ndim - len(dims)]
        pooled = values.reshape(int(np.prod(lead)), -1).T
        blocks = range(0, max(pooled.shape[1], 1), BLOCK)
        parts = [function(pooled[:, first : first + BLOCK]) for first in blocks]
        return np.concatenate(parts).reshape((*lead, *sizes.values()))

    whole = maxima.chunk(dict.fromkeys(dims, -1)) if maxima.chunks is not None else maxima
    return xr.apply_ufunc(
        by_blocks,
        whole,
        input_core_dims=[list(dims)],
        output_core_dims=[list(sizes)],
        dask="parallelized",
        dask_gufunc_kwargs={"output_sizes": sizes},
        output_dtypes=[np.float64],
        keep_attrs=False,
    )


def ladder_of(maxima: xr.DataArray, replicates: int, seed: int) -> tuple[Ladder, float]:
    """The bootstrap of this many years and members, as alike as those of some of the cells."""
    cells = maxima.transpose(..., "time", "member")
    for dim in cells.dims[:-2]:  # some 30 rows and columns say enough
        cells = cells.isel({dim: slice(None, None, max(1, cells.sizes[dim] // 32))})
    years, members = cells.shape[-2:]
    correlation = member_correlation(np.asarray(cells.values).reshape(-1, years, members))
    return ladder(years, members, correlation, replicates, seed), correlation
