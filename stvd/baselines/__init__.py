"""The systems that STVD is compared with, behind one interface: coarse in, an ensemble out."""

from __future__ import annotations

from typing import Protocol

import xarray as xr


class Downscaler(Protocol):
    """A system that makes an ensemble of fine rain from coarse fields.

    The noise of a frame is a function of (seed, member, tile, absolute frame), so a piece of a record
    has the numbers that it has in the whole.
    """

    @property
    def name(self) -> str:
        """What tables of results call it."""

    def sample(
        self, coarse: xr.Dataset, grid: xr.Dataset, *, members: range, seed: int
    ) -> xr.DataArray:
        """Downscale a record that meets the contract (`stvd.contract`).

        Parameters
        ----------
        coarse : Dataset with `pr` and what else the system needs, shape (time, [tile,] y, x)
        grid : Dataset on the fine grid with `areacella`; its attribute `periodic_x` is heeded
        members : of the ensemble; a deterministic system has one member, 0, whatever is asked for
        seed : of the ensemble, ≥ 0

        Returns
        -------
        DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1, float32, lazy if `coarse` is.
        Fine cells of a missing coarse cell are missing, or finite and not to be scored.
        """
