"""Jumps where tiles and cube faces meet, with and without a halo, and what tiling changes.

    python benchmarks/tiles.py            # a strip of FMI radar rain in tiles
    python benchmarks/tiles.py --cube     # six faces of a cubed sphere under random rain

`seam` is the mean |difference| of neighbouring cells over the seams, divided by that up to 8 cells away
from them. Weather and grid have a value of their own there, that of the sample in one piece or of the
truth; `relative` is divided by it: 1 is no seam. `log` is the same of log(1 + 10 P), which no single
storm decides. `rms` and `max` are differences from the sample in one piece, in standard deviations.

A cube cannot be sampled in one piece, but two adjacent faces can, side by side on a plane and of the noise that they
have on the cube (`in pairs`); `relative` is to that, and `apart` the mean difference over edges and windows with its
standard error. `blocks` is the ratio at borders of coarse cells inside the faces.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
import xarray as xr

from stvd.catalog import open_source
from stvd.checkpoint import Checkpoint
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.grid import unit_vectors, weighted_block_mean
from stvd.halo import Joins, Side, extend_faces, find_joins
from stvd.lattice import TimeAxis
from stvd.noise import frame_noise
from stvd.sampling import SamplerConfig
from stvd.synthetic import synthetic_grid

BLOCK = 8
NEAR = np.array([*range(-8, 0), *range(1, 9)])  # cells from a seam
MM_PER_HOUR = 1 / 3600


def sample(
    checkpoint: Checkpoint, coarse: xr.Dataset, grid: xr.Dataset, frames: range, **options: int
) -> np.ndarray:
    """One member of a window, shape (time, [tile,] y, x), mm h-1."""
    sampler = SamplerConfig(windows="independent", **options)
    engine = Engine(device="cpu", precision="float32")
    (block,) = downscale(
        checkpoint, coarse, grid, frames=frames, members=range(1), seed=1, sampler=sampler, engine=engine
    )  # fmt: skip
    return block.pr[0] / MM_PER_HOUR


def strip(checkpoint: Checkpoint, windows: int, size: int, tile: int, catalog: str) -> None:
    """Rows of a radar region, in one piece and in tiles."""
    edges = list(range(tile, size, tile))
    coarse = open_source("radar_fmi", catalog=catalog).isel(x=slice(size // BLOCK)).load()
    grid = open_source("radar_fmi_grid", catalog=catalog).isel(x=slice(size)).load()
    rows = tile // BLOCK
    cuts = []  # the wettest rows of windows, first
    for first in range(0, coarse.sizes["time"] - checkpoint.window + 1, checkpoint.window):
        rain = coarse["pr"][first : first + checkpoint.window].sum(("time", "x")).values
        best = max(range(len(rain) - rows + 1), key=lambda r: rain[r : r + rows].sum())
        cuts.append((rain[best : best + rows].sum(), first, best))
    fields: dict[str, list[np.ndarray]] = {}
    for _, first, row in sorted(cuts, reverse=True)[:windows]:
        data = coarse.isel(y=slice(row, row + rows))
        fine = grid.isel(y=slice(row * BLOCK, (row + rows) * BLOCK))
        for name, options in _cases(tile, {"one piece": {"tile": size}}):
            frames = range(first, first + checkpoint.window)
            start = time.perf_counter()
            fields.setdefault(name, []).append(sample(checkpoint, data, fine, frames, **options))
            print(f"# {name}, frame {first}: {time.perf_counter() - start:.0f} s", flush=True)
    whole = np.stack(fields["one piece"])
    for name, parts in fields.items():
        tiles = np.stack(parts)
        seams = [_over_columns(f, edges) for f in (tiles, whole, _log(tiles), _log(whole))]
        rms, most = _apart(tiles, whole)
        print(
            f"{_row(name, seams)}  rms {rms:.4f} max {most:.2f}  "
            f"log rms {_apart(_log(tiles), _log(whole))[0]:.4f}"
        )


def cube(checkpoint: Checkpoint, windows: int, size: int) -> None:
    """Six faces under rain that is alike everywhere, joined and each by itself."""
    grid = synthetic_grid((size, size), tiles=6)
    area = grid["areacella"]
    grid["areacella"] = (
        area / area.mean() * 1e6
    )  # a planet so small that the model's kilometre fits
    axis = TimeAxis(epoch="2001-01-01", step_seconds=300)
    joins = find_joins(grid["lat"].values, grid["lon"].values)
    fields: dict[str, list[np.ndarray]] = {}
    pairs: list[np.ndarray] = []
    for window in range(windows):
        frames = range(window * checkpoint.window, (window + 1) * checkpoint.window)
        rain = random_rain(grid, len(frames), seed=window)
        middle, bounds = axis.decoded(frames)
        means = weighted_block_mean(rain * MM_PER_HOUR, grid["areacella"].values, BLOCK)
        coarse = xr.Dataset(
            {"pr": (("time", "tile", "y", "x"), means)},
            coords={"time": middle, "time_bnds": (("time", "bnds"), bounds)},
            attrs=axis.model_dump() | {"factor": BLOCK, "periodic_x": 0, "source": "random"},
        )
        fields.setdefault("truth", []).append(rain)
        for name, options in _cases(512, {}):
            start = time.perf_counter()
            fields.setdefault(name, []).append(sample(checkpoint, coarse, grid, frames, **options))
            print(f"# {name}, window {window}: {time.perf_counter() - start:.0f} s", flush=True)
        start = time.perf_counter()
        flat = coarse.drop_vars("pr")
        for cells, blocks in zip(
            pairs_of(joins, size), pairs_of(joins, size // BLOCK), strict=True
        ):
            data = flat.assign(pr=(("time", "y", "x"), means.reshape(len(means), -1)[:, blocks]))
            fine = xr.Dataset({"areacella": (("y", "x"), grid["areacella"].values.ravel()[cells])})
            with patch("stvd.noise.frame_noise", partial(noise_of_faces, cells)):
                pairs.append(sample(checkpoint, data, fine, frames))
        print(f"# in pairs, window {window}: {time.perf_counter() - start:.0f} s", flush=True)
    planes = np.stack(pairs).reshape(windows, -1, checkpoint.window, size, 2 * size)
    usual = [_over_columns(f, [size]) for f in (planes, _log(planes))]
    print(f"in pairs   seam {usual[0]:.3f}  log {usual[1]:.3f}")
    for name, parts in fields.items():
        faces = np.stack(parts)
        rain, log = (_over_faces(f, grid) for f in (faces, _log(faces)))
        blocks = [_over_blocks(f) for f in (faces, _log(faces))]
        laid = faces.reshape(windows, checkpoint.window, -1)
        apart = [
            _over_columns(_log(laid[w][:, cells]), [size])
            - _over_columns(_log(planes[w, k]), [size])
            for w in range(windows)
            for k, cells in enumerate(pairs_of(joins, size))
        ]
        print(
            f"{_row(name, [rain, usual[0], log, usual[1]])}  blocks {blocks[0]:.3f} log {blocks[1]:.3f}  "
            f"log apart {np.mean(apart):.3f} ± {np.std(apart) / np.sqrt(len(apart)):.3f}"
        )


def pairs_of(joins: Joins, size: int) -> Iterator[np.ndarray]:
    """Numbers of the cells of adjacent faces side by side along x, shape (size, 2·size), each pair once."""
    tiles = 1 + max(tile for tile, _ in joins)
    around = extend_faces(joins, (tiles, size, size), (size, size), (size, size))
    for (tile, side), join in joins.items():
        if tile < join.tile:
            first = 0 if side in (Side.SOUTH, Side.WEST) else size
            both, one = slice(first, first + 2 * size), slice(size, 2 * size)
            yield around[tile, both, one].T if side.along_x else around[tile, one, both]


def noise_of_faces(
    cells: np.ndarray,
    seed: int,
    member: int,
    tile: int,
    frame: int,
    shape: tuple[int, int],
    draw: int,
) -> np.ndarray:
    """Noise that some cells of a cube have, in place of `frame_noise` of a plane of them."""
    face = (shape[0], shape[0])
    faces = [
        frame_noise(seed, member, t, frame, face, draw)
        for t in range(1 + cells.max() // shape[0] ** 2)
    ]
    return np.stack(faces).ravel()[cells]


def _log(rate: np.ndarray) -> np.ndarray:
    return np.log1p(10 * rate)


def _row(name: str, seams: list[float]) -> str:
    rain, usual, log, usual_log = seams
    return (
        f"{name:10s} seam {rain:.3f} relative {rain / usual:.3f}  "
        f"log {log:.3f} relative {log / usual_log:.3f}"
    )


def random_rain(grid: xr.Dataset, frames: int, seed: int) -> np.ndarray:
    """Lognormal rain of 400 waves on the sphere, 8 to 48 cells long, mm h-1, (time, tile, y, x)."""
    draw = np.random.default_rng(seed)
    points = unit_vectors(grid["lat"].values, grid["lon"].values)
    length = np.geomspace(8, 48, 400) * (np.pi / 2 / grid.sizes["x"])
    direction = draw.normal(size=(400, 3))
    waves = (
        direction / np.linalg.norm(direction, axis=1, keepdims=True) * (2 * np.pi / length[:, None])
    )
    amplitude = length**0.7 / np.sqrt(0.5 * (length**1.4).sum())
    phase, speed = draw.uniform(0, 2 * np.pi, 400), draw.normal(0, 0.3, 400)
    angle = np.einsum("tyxi,wi->wtyx", points, waves) + phase[:, None, None, None]
    field = [
        np.einsum("w,wtyx->tyx", amplitude, np.cos(angle + (speed * k)[:, None, None, None]))
        for k in range(frames)
    ]
    return np.asarray(np.exp(0.8 * np.stack(field) - 0.5), np.float32)


def _cases(tile: int, also: dict[str, dict[str, int]]) -> Iterator[tuple[str, dict[str, int]]]:
    yield from also.items()
    for halo in (0, 16, 32):
        yield f"halo {halo}", {"tile": tile, "halo": halo}


def _apart(tiles: np.ndarray, whole: np.ndarray) -> tuple[float, float]:
    """Root mean square and largest difference, in standard deviations of the field."""
    difference = np.abs(tiles - whole) / whole.std()
    return float(np.sqrt((difference**2).mean())), float(difference.max())


def _over_columns(field: np.ndarray, edges: list[int]) -> float:
    step = np.abs(np.diff(field)).reshape(-1, field.shape[-1] - 1).mean(0)
    near = np.mean([step[e - 1 + NEAR].mean() for e in edges])
    return float(np.mean([step[e - 1] for e in edges]) / near)


def _over_faces(field: np.ndarray, grid: xr.Dataset) -> float:
    """The same over the twelve edges of a cube, each counted from both of its faces."""
    joins = find_joins(grid["lat"].values, grid["lon"].values)
    size = field.shape[-1]
    around = field.reshape(*field.shape[:-3], -1)[
        ..., extend_faces(joins, field.shape[-3:], (1, 1), (1, 1))
    ]
    over, near = [], []
    for rows in (around[..., 1:-1, :], around[..., 1:-1].swapaxes(-1, -2)):
        step = np.abs(np.diff(rows)).reshape(-1, size + 1).mean(0)
        over += [step[0], step[-1]]
        near += [step[NEAR[8:]].mean(), step[size + NEAR[:8]].mean()]
    return float(np.mean(over) / np.mean(near))


def _over_blocks(field: np.ndarray) -> float:
    """The ratio at the borders of coarse cells inside the faces, of both directions."""
    edges = list(range(2 * BLOCK, field.shape[-1] - BLOCK, BLOCK))
    return float(np.mean([_over_columns(f, edges) for f in (field, field.swapaxes(-1, -2))]))


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cube", action="store_true")
    arguments.add_argument("--checkpoint", default="checkpoints/radar")
    arguments.add_argument("--catalog", default="catalogs/shared.yaml")
    arguments.add_argument("--windows", type=int, default=3)
    arguments.add_argument("--tile", type=int, default=96)
    arguments.add_argument("--size", type=int, help="cells: 384 of a strip, 64 of a face")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    model = Checkpoint.load(given.checkpoint)
    if given.cube:
        cube(model, given.windows, given.size or 64)
    else:
        strip(model, given.windows, given.size or 384, given.tile, given.catalog)
