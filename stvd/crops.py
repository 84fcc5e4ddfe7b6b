"""Batches of crops of training events, as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stvd.event import Event
from stvd.remake import AS_IT_IS, Remake, block_mean, blur_reach, blurred, magnify
from stvd.structure import scaling_exponent
from stvd.transforms import MM_PER_HOUR

HALO = 2
"""Coarse cells cut beyond a crop, so that its interpolation equals that of the whole field."""

BLUR_STEP = 0.25
"""Between blurs so far apart, fine cells, exponents are interpolated."""

Crop = tuple[np.ndarray, np.ndarray | None, np.ndarray]
"""Coarse with its halo (time, variable, y, x), statics (static, y, x) or None, truth (time, y, x)."""


class Batch(NamedTuple):
    """Crops of a step.

    coarse : Tensor, shape (batch, time, variable, y / factor + 2·HALO, x / factor + 2·HALO)
    statics : Tensor, shape (batch, static, y, x), or None
    truth : Tensor, shape (batch, time, 1, y, x)
    exponent : Tensor, shape (batch,), scaling exponent of the coarse fields that were cropped, or None
    texture : Tensor, shape (batch,), scaling exponent of the fine fields of the event, or None
    """

    coarse: Tensor
    statics: Tensor | None
    truth: Tensor
    exponent: Tensor | None
    texture: Tensor | None


@dataclass(frozen=True)
class Crops:
    """Random space-time crops of events.

    A crop with rain above 0.1 mm h-1 on less than `wet_share` of its coarse cells is used only one time
    in ten.

    Parameters
    ----------
    events : with the same variables
    window : frames of a crop
    size : its side, fine cells
    factor : fine cells a coarse cell
    wet_share : see above
    valid_share : least share of cells with data in truth and coarse input; 1 takes complete crops only
    rainiest_of : draw so many and take the one with the most coarse rain
    intense_share : share of crops that are placed around a coarse cell drawn with a probability in
        proportion to the cube of its rain. Which crops are seen then depends on coarse rain alone, so
        that what is learned of fine rain given coarse rain stays the same
    offsets : cut at any fine cell, and average the blocks anew, rather than at those where coarse cells
        begin: a storm is then seen in many more coarse fields. Needs precipitation to be the only coarse input
    flips : mirror and transpose; right only without vectors among the channels
    zoom : largest magnification. Half of the crops are then taken of a smaller piece, magnified by up to
        `zoom` (uniform in its logarithm) by linear interpolation, and its blocks averaged anew: rain that is
        smoother than the network that measured it. Needs precipitation to be the only input
    blur : largest standard deviation, fine cells, of a Gaussian filter. Half of the crops, with `zoom` a
        quarter each, are then smoothed by it (uniform from 0), and their blocks averaged anew: radar composites
        that were smoothed in the making. Unlike `zoom` it leaves coarse rain as rough as it is. Needs
        precipitation to be the only input
    roughness : give the scaling exponent (`stvd.structure`) of the whole field, remade alike, over the
        frames of a crop; between magnifications of 1, 2^(1/4), 2^(2/4) …, and blurs of 0, 1/4, 2/4 …
        cells, it is interpolated
    texture : give the scaling exponent of the whole truth, remade alike, over all frames of its event
    """

    events: Sequence[Event]
    window: int
    size: int
    factor: int
    wet_share: float = 0.02
    valid_share: float = 1.0
    rainiest_of: int = 1
    intense_share: float = 0.0
    offsets: bool = False
    flips: bool = False
    zoom: float = 1.0
    blur: float = 0.0
    roughness: bool = False
    texture: bool = False

    def __post_init__(self) -> None:
        unpredicted = all(e.coarse.shape[1] == 1 for e in self.events)
        if self.offsets and not unpredicted:
            raise ValueError("offsets average rain alone anew: train without predictors")
        remade = self.zoom > 1 or self.blur > 0
        if remade and not (unpredicted and all(e.statics is None for e in self.events)):
            raise ValueError(
                "zoom and blur remake rain alone: train without predictors and statics"
            )

    @property
    def _remakes(self) -> tuple[list[Remake], list[Remake]]:
        """The magnifications and the blurs between which exponents are interpolated; the first is none."""
        zooms = range(int(np.ceil(4 * np.log2(self.zoom))) + 1)
        blurs = range(int(np.ceil(self.blur / BLUR_STEP)) + 1)
        magnified = [Remake(zoom=2 ** (k / 4)) for k in zooms]
        return magnified, [Remake(blur=k * BLUR_STEP) for k in blurs]

    @cached_property
    def increments(self) -> list[Tensor]:
        """Squared increments of the coarse rain of each event, shape (remake, frame, 2)."""
        return [
            torch.stack([e.squared_increments(remake, self.factor) for remake in self._each])
            for e in self.events
        ]

    @cached_property
    def textures(self) -> Tensor:
        """Scaling exponent of the truth of each event, shape (event, remake)."""
        return torch.stack(
            [torch.stack([e.texture(remake) for remake in self._each]) for e in self.events]
        )

    def exponent(self, event: int, frames: slice, remake: Remake = AS_IT_IS) -> Tensor:
        """Scaling exponent of the coarse rain of some frames of an event, remade."""
        return self._between(scaling_exponent(self.increments[event][:, frames].mean(1)), remake)

    @property
    def _each(self) -> list[Remake]:
        """All remakes between which exponents are interpolated."""
        zooms, blurs = self._remakes
        return zooms + blurs[1:]

    def _between(self, steps: Tensor, remake: Remake) -> Tensor:
        """The value of a remake, of those of each of `_each`."""
        zooms = len(self._remakes[0])
        if remake.blur:
            steps, at = torch.cat([steps[:1], steps[zooms:]]), remake.blur / BLUR_STEP
        else:
            steps, at = steps[:zooms], 4 * float(np.log2(remake.zoom))
        low = min(int(at), len(steps) - 2)
        return steps[0] if low < 0 else torch.lerp(steps[low], steps[low + 1], at - low)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of `step`, the same whenever it is asked for. Missing values are NaN."""
        rng = np.random.Generator(
            np.random.Philox(key=seed, counter=np.array([0, 0, 0, step], dtype=np.uint64))
        )
        picks = [self._pick(rng) for _ in range(size)]
        coarse, statics, truth, exponents, textures = zip(*picks, strict=True)
        fixed = None
        if statics[0] is not None:
            fixed = torch.from_numpy(np.stack([s for s in statics if s is not None]))
        return Batch(
            torch.from_numpy(np.stack(coarse)),
            fixed,
            torch.from_numpy(np.stack(truth))[:, :, None],
            torch.stack(exponents) if self.roughness else None,
            torch.stack(textures) if self.texture else None,
        )

    @cached_property
    def _intensity(self) -> list[np.ndarray]:
        """Of each event, the sums of the cube of coarse rain up to each of its cells, all frames."""
        rain = (np.nan_to_num(e.coarse[:, 0]).clip(0).astype(np.float64) for e in self.events)
        return [np.cumsum((of / MM_PER_HOUR) ** 3) for of in rain]

    def _pick(self, rng: np.random.Generator) -> tuple[*Crop, Tensor, Tensor]:
        if self.intense_share and rng.random() < self.intense_share:
            return self._crop(rng, intense=True)
        drawn = [self._crop(rng) for _ in range(self.rainiest_of)]
        return max(drawn, key=lambda crop: float(np.nansum(crop[0][:, 0])))

    def _crop(
        self, rng: np.random.Generator, intense: bool = False
    ) -> tuple[*Crop, Tensor, Tensor]:
        for _ in range(10_000):
            which = int(rng.integers(len(self.events)))
            event = self.events[which]
            frame = cell = None
            if intense and self._intensity[which][-1] > 0:
                sums = self._intensity[which]
                drawn = np.searchsorted(sums, rng.random() * sums[-1], side="right")
                frame, *cell = (int(k) for k in np.unravel_index(drawn, event.coarse[:, 0].shape))
            t = _start(rng, len(event.truth), self.window, frame)
            frames, remake = slice(t, t + self.window), AS_IT_IS
            if (self.zoom > 1 or self.blur) and rng.random() < 0.5:
                remake = self._drawn(rng)
            crop: Crop | None
            if remake == AS_IT_IS:
                crop = self._cut(rng, event, frames, cell)
            else:
                crop = self._remade(rng, event, frames, remake, cell)
            if crop is not None and self._wanted(rng, crop):
                exponent = texture = torch.zeros(())
                if self.roughness:
                    exponent = self.exponent(which, frames, remake)
                if self.texture:
                    texture = self._between(self.textures[which], remake)
                return (*self._flipped(rng, crop), exponent, texture)
        raise ValueError(
            f"no valid crop of {self.size} × {self.size} cells and {self.window} frames was found in "
            f"{', '.join(e.name for e in self.events)}: use smaller crops"
        )

    def _drawn(self, rng: np.random.Generator) -> Remake:
        """Some magnification or some blur; where crops have both, either as often."""
        if not self.blur or (self.zoom > 1 and rng.random() < 0.5):
            return Remake(zoom=float(self.zoom ** rng.random()))
        return Remake(blur=float(self.blur * rng.random()))

    def _wanted(self, rng: np.random.Generator, crop: Crop) -> bool:
        coarse, _, truth = crop
        wet = (coarse[:, 0] > 0.1 * MM_PER_HOUR).mean()
        if wet < self.wet_share and rng.random() > 0.1:
            return False
        valid = min(np.isfinite(field).mean() for field in (coarse, truth))
        return bool(valid >= self.valid_share)

    def _cut(
        self, rng: np.random.Generator, event: Event, frames: slice, cell: Sequence[int] | None
    ) -> Crop:
        """As the event has it; somewhere, or somewhere around a coarse cell."""
        cells, factor = self.size // self.factor, self.factor
        ny, nx = event.coarse.shape[-2:]
        # So many fine cells off the blocks of the event; an axis that is no circle then has a block less.
        down, along = (
            int(rng.integers(factor)) if self.offsets and n > cells else 0 for n in (ny, nx)
        )
        ny -= down > 0
        nx -= along > 0 and not event.periodic_x
        row, column = cell or (None, None)
        j = _start(rng, ny, cells, row)
        i = _start(rng, nx + cells - 1 if event.periodic_x else nx, cells, column)
        rows = np.clip(np.arange(j - HALO, j + cells + HALO), 0, ny - 1)
        columns = np.arange(i - HALO, i + cells + HALO)
        columns = columns % nx if event.periodic_x else np.clip(columns, 0, nx - 1)
        y = (down + rows[:, None] * factor + np.arange(factor)).ravel()
        x = (along + columns[:, None] * factor + np.arange(factor)).ravel()
        x %= event.truth.shape[-1]
        if down or along:
            coarse = block_mean(event.truth[frames, y[:, None], x], factor)[:, None]
        else:
            coarse = event.coarse[frames][:, :, rows][..., columns]
        edge = slice(HALO * factor, -HALO * factor)
        y, x = y[edge, None], x[edge]
        fixed = None if event.statics is None else event.statics[:, y, x]
        return coarse, fixed, event.truth[frames, y, x]

    def _remade(
        self,
        rng: np.random.Generator,
        event: Event,
        frames: slice,
        remake: Remake,
        cell: Sequence[int] | None,
    ) -> Crop | None:
        """A piece with its halo, remade, and averaged over blocks; None where it does not fit."""
        wide = self.size + 2 * HALO * self.factor
        reach = blur_reach(remake.blur)
        side = int(np.ceil((wide - 1) / remake.zoom)) + 1 + 2 * reach
        ny, nx = event.truth.shape[-2:]
        if side > min(ny, nx):
            return None
        row, column = (self.factor * k + self.factor // 2 for k in cell) if cell else (None, None)
        margin = int(np.ceil(HALO * self.factor / remake.zoom)) + reach
        j, i = (_start(rng, n, side, k, margin) for n, k in ((ny, row), (nx, column)))
        piece = blurred(event.truth[frames, j : j + side, i : i + side], remake.blur)
        piece = piece[:, reach : side - reach, reach : side - reach]
        fine = magnify(piece, remake.zoom, (wide, wide))
        blocks = block_mean(fine, self.factor)
        edge = HALO * self.factor
        return blocks[:, None], None, fine[:, edge:-edge, edge:-edge]

    def _flipped(self, rng: np.random.Generator, crop: Crop) -> Crop:
        if not self.flips:
            return crop
        up, right, swap = rng.random(3) < 0.5

        def turn(a: np.ndarray) -> np.ndarray:
            a = a[..., ::-1, :] if up else a
            a = a[..., ::-1] if right else a
            return np.ascontiguousarray(a.swapaxes(-1, -2) if swap else a)

        coarse, fixed, truth = crop
        return turn(coarse), None if fixed is None else turn(fixed), turn(truth)


def _start(
    rng: np.random.Generator, size: int, length: int, inside: int | None, margin: int = 0
) -> int:
    """Where a piece of an axis begins: anywhere, or anywhere that has it contain a place, off its margins."""
    last = size - length
    if inside is None:
        return int(rng.integers(last + 1))
    first = min(max(0, inside - length + 1 + margin), last)
    return int(rng.integers(first, max(first, min(last, inside - margin)) + 1))
