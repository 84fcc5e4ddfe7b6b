"""Training data: records with truth, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stvd.remake import AS_IT_IS, Remake, block_mean, whole
from stvd.structure import squared_increments, texture, texture_step


@dataclass(frozen=True)
class Event:
    """One unbroken record with truth.

    name : of the source
    coarse : ndarray, shape (time, variable, y / factor, x / factor), physical units, `pr` first
    truth : ndarray, shape (time, y, x), kg m-2 s-1
    statics : ndarray, shape (static, y, x), or None
    step_seconds : length of a frame
    spacing_km : root of the mean fine cell area
    periodic_x : x is a whole circle of longitude
    """

    name: str
    coarse: np.ndarray
    truth: np.ndarray
    statics: np.ndarray | None
    step_seconds: int
    spacing_km: float
    periodic_x: bool

    @classmethod
    def load(
        cls,
        coarse: xr.Dataset,
        truth: xr.Dataset,
        grid: xr.Dataset,
        variables: Sequence[str],
        statics: Sequence[str] = (),
    ) -> Event:
        """Read an event that meets the contract (`stvd.contract`) into memory.

        Raises
        ------
        ValueError
            If the record is on tiles, or a variable or static field is missing.
        """
        name = str(coarse.attrs["source"])
        if "tile" in coarse.dims:
            raise ValueError(
                f"{name}: training takes one tile at a time; select it with isel(tile=…)"
            )
        missing = [v for v in variables if v not in coarse] + [s for s in statics if s not in grid]
        if missing:
            raise ValueError(
                f"{name} has no {', '.join(missing)}: choose predictors and statics that every "
                "training event has"
            )
        return cls(
            name=name,
            coarse=np.stack([coarse[v].values for v in variables], axis=1).astype(np.float32),
            truth=truth["pr"].values.astype(np.float32),
            statics=np.stack([grid[s].values for s in statics]).astype(np.float32)
            if statics
            else None,
            step_seconds=int(coarse.attrs["step_seconds"]),
            spacing_km=spacing_km(grid),
            periodic_x=bool(coarse.attrs["periodic_x"]),
        )

    def squared_increments(self, remake: Remake, factor: int) -> Tensor:
        """`stvd.structure.squared_increments` of the coarse rain of every frame, remade; shape (frame, 2)."""
        if (remake, factor) not in self._increments:
            if remake == AS_IT_IS:
                found = squared_increments(torch.from_numpy(self.coarse[:, 0]))
            else:
                frames = (block_mean(whole(f, remake, factor), factor) for f in self.truth)
                found = torch.stack([squared_increments(torch.from_numpy(f)) for f in frames])
            self._increments[remake, factor] = found
        return self._increments[remake, factor]

    def texture(self, remake: Remake = AS_IT_IS) -> Tensor:
        """Texture of the truth, remade; of some frames, if there are many."""
        if remake not in self._textures:
            step = texture_step(len(self.truth), self.truth[0].size)
            frames = (torch.from_numpy(whole(f, remake, 1)) for f in self.truth[::step])
            self._textures[remake] = texture(frames)
        return self._textures[remake]

    @cached_property
    def _increments(self) -> dict[tuple[Remake, int], Tensor]:
        """Kept, as they take minutes for a long record and every training asks for them twice."""
        return {}

    @cached_property
    def _textures(self) -> dict[Remake, Tensor]:
        return {}


def spacing_km(grid: xr.Dataset) -> float:
    """Root of the mean fine cell area, km."""
    return float(np.sqrt(grid["areacella"].mean().item()) / 1000)
