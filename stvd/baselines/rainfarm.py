"""RainFARM, stochastic downscaling by filtered noise, as pysteps has it.

A field of noise with the spectral slope of the coarse rain is exponentiated and scaled so that every
block has its coarse mean (Rebora et al., 2006; D'Onofrio et al., 2014). Frames are independent: this
RainFARM has no time.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import xarray as xr
from numpy.random import mtrand

from stvd.baselines.fields import (
    fill_missing,
    fine_cells,
    finished,
    is_periodic,
    refined,
    without_positions,
)
from stvd.contract import time_axis
from stvd.grid import weighted_block_mean

WORD = (1 << 64) - 1
DEFAULT_SLOPE = 2.0
"""Slope of frames that have none: less than 4 cells a side, or the same rain everywhere."""

_GLOBAL_GENERATOR = threading.Lock()


class RainFARMError(ImportError):
    """pysteps is not installed."""


@dataclass(frozen=True)
class RainFARM:
    """`pysteps.downscaling.rainfarm.downscale` of every frame, tile and member.

    Around pysteps: dry frames stay dry. Missing coarse cells take the value of the nearest valid cell
    and leave missing fine cells. Without a kernel each block is scaled to its coarse mean weighted by
    the cell areas, which pysteps takes as equal. The noise is periodic in both directions, so a global
    grid has no seam in its noise, and a regional one has equal noise at opposite edges. Distances are
    counted in cells. Spectral fusion is left out: pysteps has it for square fields alone.

    Parameters
    ----------
    kernel : smoothing of the coarse field before the noise multiplies it; without one its cells show
        as squares, with one block means are kept only nearly and the tail is lighter
    slope : of the power spectrum, k^−slope; None estimates it from each coarse frame
    """

    kernel: Literal["gaussian", "tophat"] | None = None
    slope: float | None = None

    @property
    def name(self) -> str:
        return "rainfarm"

    def sample(
        self, coarse: xr.Dataset, grid: xr.Dataset, *, members: range, seed: int
    ) -> xr.DataArray:
        """As `Downscaler.sample`; lazy records are computed frame by frame.

        Raises
        ------
        RainFARMError
            If pysteps is not installed.
        ValueError
            If the fine grid is not the coarse grid with every cell divided equally.
        """
        _downscale()
        pr = coarse["pr"]
        factor = fine_cells(pr, grid)
        frames = xr.DataArray(time_axis(coarse).locate(pr["time"]), dims="time")
        tiles = xr.DataArray(np.arange(pr.sizes.get("tile", 1)), dims="tile")
        field = without_positions(pr)
        if field.chunks is not None:
            field = field.chunk(time=1)
            frames = frames.chunk(time=1)
        area = grid["areacella"].reset_coords(drop=True).drop_vars(["y", "x"], errors="ignore")
        out = xr.apply_ufunc(
            self._blocks,
            field.drop_vars(["tile"], errors="ignore"),
            frames,
            tiles if "tile" in pr.dims else 0,
            area.drop_vars(["tile"], errors="ignore"),
            kwargs={
                "members": members,
                "seed": seed,
                "factor": factor,
                "periodic_x": is_periodic(grid),
            },
            input_core_dims=[["y", "x"], [], [], ["y", "x"]],
            output_core_dims=[["member", "y", "x"]],
            exclude_dims={"y", "x"},
            dask="parallelized",
            dask_gufunc_kwargs={
                "output_sizes": {"member": len(members)} | {d: grid.sizes[d] for d in ("y", "x")}
            },
            output_dtypes=[np.float32],
        )
        return finished(out, pr, grid, members=members, comment="RainFARM (pysteps)")

    def _blocks(
        self,
        pr: np.ndarray,
        frames: np.ndarray,
        tiles: np.ndarray,
        area: np.ndarray,
        *,
        members: range,
        seed: int,
        factor: int,
        periodic_x: bool,
    ) -> np.ndarray:
        """Shape (..., y, x) to (..., member, y · factor, x · factor)."""
        lead = pr.shape[:-2]
        frames, tiles = np.broadcast_to(frames, lead), np.broadcast_to(tiles, lead)
        area = np.broadcast_to(area, (*lead, *area.shape[-2:]))
        out = np.empty((*lead, len(members), *area.shape[-2:]), np.float32)
        for at in np.ndindex(*lead):
            filled, missing = fill_missing(pr[at], periodic_x=periodic_x)
            gone = refined(missing, factor)
            for i, member in enumerate(members):
                key = (seed, member, int(tiles[at]), int(frames[at]))
                fine = self._frame(filled, area[at], factor, key)
                out[(*at, i)] = np.where(gone, np.nan, fine)
        return out

    def _frame(
        self, pr: np.ndarray, area: np.ndarray, factor: int, key: tuple[int, int, int, int]
    ) -> np.ndarray:
        """One field without gaps, shape (y, x), to shape (y · factor, x · factor)."""
        if not pr.max() > 0:
            return np.zeros(area.shape, np.float32)
        slope = self.slope
        if slope is None and (min(pr.shape) < 4 or np.ptp(pr) < 1e-6 * pr.max()):
            slope = DEFAULT_SLOPE
        pr = pr.astype(np.float64)
        with global_generator(*key), np.errstate(divide="ignore"):
            fine = _downscale()(pr, factor, alpha=slope, kernel_type=self.kernel)
        if self.kernel is None:
            mean = weighted_block_mean(fine, area, factor)
            fine = fine * refined(
                np.divide(pr, mean, out=np.zeros_like(pr), where=mean > 0), factor
            )
        return np.asarray(np.maximum(fine, 0.0), np.float32)


@contextlib.contextmanager
def global_generator(seed: int, member: int, tile: int, frame: int) -> Iterator[None]:
    """Let numpy's global functions draw from the stream of (seed, member, tile, frame), as pysteps asks.

    The generator that was there comes back as it was. One thread at a time; others that draw from the
    global functions meanwhile would draw from this stream.
    """
    counter = np.array([0, tile, member, frame & WORD], dtype=np.uint64)
    with _GLOBAL_GENERATOR:
        before = mtrand.get_bit_generator()
        mtrand.set_bit_generator(np.random.Philox(key=seed, counter=counter))
        try:
            yield
        finally:
            mtrand.set_bit_generator(before)


@cache
def _downscale() -> Callable[..., np.ndarray]:
    """pysteps' function; importing it prints where its configuration lies."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            from pysteps.downscaling.rainfarm import downscale
    except ModuleNotFoundError as error:
        raise RainFARMError(
            f"RainFARM needs pysteps ({error}): pip install 'stvd[baselines]', which wants a C compiler"
        ) from None
    return downscale
