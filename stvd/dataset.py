"""Training data: events held in memory, and batches of crops as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stvd.conditioning import Channels, Standard, upsample
from stvd.transforms import MM_PER_HOUR, RainTransform

_FITTING = (1 << 64) - 1  # the batch that scales are fitted on; no training comes that far
HALO = 2
"""Coarse cells cut beyond a crop, so that its interpolation equals that of the whole field."""


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


def spacing_km(grid: xr.Dataset) -> float:
    """Root of the mean fine cell area, km."""
    return float(np.sqrt(grid["areacella"].mean().item()) / 1000)


@dataclass(frozen=True)
class Crops:
    """Random space-time crops of events.

    A crop is used only if every cell of it is valid, and a crop with rain above 0.1 mm h-1 on less
    than `wet_share` of its coarse cells only one time in ten.
    """

    events: Sequence[Event]
    window: int
    size: int
    factor: int
    wet_share: float = 0.02
    flips: bool = False

    def batch(self, seed: int, step: int, size: int) -> tuple[Tensor, Tensor | None, Tensor]:
        """The batch of `step`, the same whenever it is asked for.

        Returns
        -------
        coarse with its halo, shape (batch, time, variable, y / factor + 2·HALO, x / factor + 2·HALO);
        statics, shape (batch, static, y, x), or None; truth, shape (batch, time, 1, y, x)
        """
        rng = np.random.Generator(
            np.random.Philox(key=seed, counter=np.array([0, 0, 0, step], dtype=np.uint64))
        )
        picks = [self._crop(rng) for _ in range(size)]
        coarse, statics, truth = zip(*picks, strict=True)
        fixed = None
        if statics[0] is not None:
            fixed = torch.from_numpy(np.stack([s for s in statics if s is not None]))
        return (
            torch.from_numpy(np.stack(coarse)),
            fixed,
            torch.from_numpy(np.stack(truth))[:, :, None],
        )

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        cells = self.size // self.factor
        for _ in range(10_000):
            event = self.events[int(rng.integers(len(self.events)))]
            frames, _, ny, nx = event.coarse.shape
            t = int(rng.integers(frames - self.window + 1))
            j = int(rng.integers(ny - cells + 1))
            i = int(rng.integers(nx if event.periodic_x else nx - cells + 1))
            rows = np.clip(np.arange(j - HALO, j + cells + HALO), 0, ny - 1)
            columns = np.arange(i - HALO, i + cells + HALO)
            columns = columns % nx if event.periodic_x else np.clip(columns, 0, nx - 1)
            coarse = event.coarse[t : t + self.window][:, :, rows][..., columns]
            wet = (coarse[:, 0] > 0.1 * MM_PER_HOUR).mean()
            dry = wet < self.wet_share and rng.random() > 0.1
            if dry or not np.isfinite(coarse).all():
                continue
            y = slice(j * self.factor, (j + cells) * self.factor)
            x = np.arange(i * self.factor, (i + cells) * self.factor) % event.truth.shape[-1]
            truth = event.truth[t : t + self.window, y][..., x]
            if not np.isfinite(truth).all():
                continue
            fixed = None if event.statics is None else event.statics[:, y][..., x]
            return self._flipped(rng, coarse, fixed, truth)
        raise ValueError(
            f"no valid crop of {self.size} × {self.size} cells and {self.window} frames was found in "
            f"{', '.join(e.name for e in self.events)}: use smaller crops"
        )

    def _flipped(
        self,
        rng: np.random.Generator,
        coarse: np.ndarray,
        fixed: np.ndarray | None,
        truth: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Mirror and transpose at random; right only without vectors among the channels."""
        if not self.flips:
            return coarse, fixed, truth
        up, right, swap = rng.random(3) < 0.5

        def turn(a: np.ndarray) -> np.ndarray:
            a = a[..., ::-1, :] if up else a
            a = a[..., ::-1] if right else a
            return np.ascontiguousarray(a.swapaxes(-1, -2) if swap else a)

        return turn(coarse), None if fixed is None else turn(fixed), turn(truth)


def fit_channels(
    events: Sequence[Event],
    predictors: Sequence[str],
    statics: Sequence[str],
    *,
    factor: int,
    window: int,
    size: int,
    seed: int,
    rain: RainTransform | None = None,
) -> Channels:
    """Scale every channel by the statistics of the training events.

    Means and standard deviations of predictors and statics are over all their cells; the rain
    transform's `s` is the standard deviation of the interpolation residual over 64 crops.
    """
    scales: dict[str, Standard] = {}
    for i, name in enumerate(predictors):
        scales[name] = _standard([e.coarse[:, i + 1] for e in events])
    for i, name in enumerate(statics):
        scales[name] = _standard([e.statics[i] for e in events if e.statics is not None])
    rain = (rain or RainTransform()).model_copy(update={"s": 1.0})
    coarse, _, truth = Crops(events, window, size, factor).batch(seed, _FITTING, 64)
    interpolated = upsample(rain.forward(coarse[:, :, :1]), factor)
    edge = HALO * factor
    residual = rain.forward(truth) - interpolated[..., edge:-edge, edge:-edge]
    return Channels(
        rain=rain.model_copy(update={"s": float(residual.std())}),
        predictors=tuple(predictors),
        statics=tuple(statics),
        scales=scales,
        factor=factor,
    )


def _standard(fields: Sequence[np.ndarray]) -> Standard:
    values = np.concatenate([f.ravel() for f in fields]).astype(np.float64)
    std = float(np.nanstd(values))
    return Standard(mean=float(np.nanmean(values)), std=std if std > 0 else 1.0)
