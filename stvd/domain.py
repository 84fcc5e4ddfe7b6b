"""The fine grid of a source: its faces, what lies around each, and what is fixed on them.

A field on it has its faces stacked along y, shape (..., tile·y, x), which is what `stvd.halo` cuts
into pieces; a grid without tiles is one face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stvd.conditioning import Channels
from stvd.halo import HaloIndex, Joins, extend_faces, find_joins
from stvd.sampling import SamplerConfig
from stvd.structure import scaling_exponent, squared_increments

REACH = 2
"""Coarse cells around a face that its interpolation looks at."""


@dataclass(frozen=True)
class Domain:
    """Where a source lies.

    Parameters
    ----------
    channels : that make x
    joins : between faces; a face without is sampled by itself
    area : Tensor, shape (tile, y, x), m2
    statics : Tensor, shape (static, tile, y, x), physical units, or None without statics
    tiled : the source has a dimension `tile`
    periodic_x : x is a whole circle of longitude
    texture : scaling exponent of the fine rain that is wanted; None is the usual one
    """

    channels: Channels
    joins: Joins
    area: Tensor
    statics: Tensor | None
    tiled: bool
    periodic_x: bool
    texture: float | None = None

    @classmethod
    def of(
        cls,
        grid: xr.Dataset,
        channels: Channels,
        *,
        periodic_x: bool,
        joined: bool,
        texture: float | None = None,
    ) -> Domain:
        """Read a grid that meets the contract; faces are joined by their positions if `joined`."""
        tiled = "tile" in grid["areacella"].dims
        located = {"tile", "y", "x"} == set(grid["lat"].dims) if "lat" in grid.coords else False
        position = (
            [grid[name].transpose("tile", "y", "x").values for name in ("lat", "lon")]
            if located
            else []
        )
        return cls(
            channels=channels,
            joins=find_joins(*position) if joined and position else {},
            area=on_faces(grid["areacella"]),
            statics=torch.stack([on_faces(grid[name]) for name in channels.statics])
            if channels.statics
            else None,
            tiled=tiled,
            periodic_x=periodic_x,
            texture=texture,
        )

    @property
    def tiles(self) -> int:
        return len(self.area)

    @property
    def shape(self) -> tuple[int, int]:
        """Cells (y, x) of a face."""
        return self.area.shape[1], self.area.shape[2]

    def pieces(self, sampler: SamplerConfig, multiple: int) -> HaloIndex:
        """The pieces in which a network is run whose sides must be multiples of `multiple`.

        They depend on the grid and on the sampler alone, as the numbers depend on them.

        Raises
        ------
        ValueError
            If a circle of longitude, taken whole, is no multiple.
        """
        index = HaloIndex.of(
            (self.tiles, *self.shape),
            self.joins,
            halo=-(-sampler.halo // multiple) * multiple,
            tile=sampler.tile,
            multiple=multiple,
            periodic_x=self.periodic_x,
        )
        if index.wrap_x and self.shape[1] % multiple:
            raise ValueError(
                f"a circle of {self.shape[1]} cells cannot be padded: the model needs a multiple of "
                f"{multiple}"
            )
        return index

    def inputs(self, coarse: Tensor) -> Tensor:
        """Build x of whole windows, interpolated over the edges between faces.

        Parameters
        ----------
        coarse : Tensor, shape (window, time, variable, tile, y / factor, x / factor), physical units

        Returns
        -------
        Tensor, shape (window, time, channel, tile·y, x)
        """
        statics, exponent, edge = self.statics, None, 0
        if self.joins:
            edge = REACH * self.channels.factor
            if self.channels.roughness:  # one for all faces, so that it has no step between them
                every = squared_increments(coarse[:, :, 0]).mean((1, 2))
                exponent = scaling_exponent(every)[:, None].expand(-1, self.tiles)
            coarse = _around(coarse, self.joins, REACH)
            statics = None if statics is None else _around(statics, self.joins, edge)
        x = self.channels.inputs(
            coarse.movedim(3, 1),
            None if statics is None else statics.to(coarse).movedim(0, 1),
            periodic_x=self.periodic_x,
            exponent=exponent,
            texture=None if self.texture is None else torch.tensor(self.texture),
        )
        inside = x[..., edge : x.shape[-2] - edge, edge : x.shape[-1] - edge]
        return stacked(inside.movedim(1, -3))


def on_faces(field: xr.DataArray) -> Tensor:
    """A field as float32, shape ([time,] tile, y, x); a grid without tiles is one face."""
    if "tile" not in field.dims:
        field = field.expand_dims("tile")
    dims = [d for d in ("time", "tile", "y", "x") if d in field.dims]
    return torch.from_numpy(np.array(field.transpose(*dims).values, dtype=np.float32))


def stacked(field: Tensor) -> Tensor:
    """(..., tile, y, x) as (..., tile·y, x)."""
    return field.flatten(-3, -2)


def _around(field: Tensor, joins: Joins, cells: int) -> Tensor:
    """Fields (..., tile, y, x) with `cells` of what lies around every face."""
    tiles, ny, nx = field.shape[-3:]
    number = extend_faces(joins, (tiles, ny, nx), (cells, cells), (cells, cells))
    return field.flatten(-3)[..., torch.from_numpy(number).to(field.device)]
