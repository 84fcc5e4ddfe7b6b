"""Synthetic records of any length, calendar, size and number of faces, for tests.

Storms are born in every frame, drift and die; each is drawn from a Philox counter keyed by the seed
and counted by its absolute frame of birth, so that a part of a record equals the same cut of a
longer one bit for bit. It is dry where no storm is near, and rain has texture down to a few fine
cells. All positions are on the sphere: fields go on across the date line and the edges of faces.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from stvd.adapter import COORDINATES
from stvd.contract import QUANTITIES
from stvd.grid import angles, cell_area, coarsen_coordinates, unit_vectors, weighted_block_mean
from stvd.lattice import TimeAxis

PREDICTORS = ("ps", "prw", "tas", "uas", "vas")
BIRTHS = 4  # storms in a frame
LIFE = 8  # frames
PEAK = 1.5e-3  # kg m-2 s-1
WAVES = 8  # of the texture
Shape = tuple[int, int]


def synthetic_grid(shape: Shape, *, factor: int = 8, tiles: int | None = None) -> xr.Dataset:
    """The fine grid: global latitude–longitude, or `tiles` faces of a cubed sphere.

    Parameters
    ----------
    shape : fine cells (y, x), of each face
    factor : divides both
    tiles : 1 to 6 faces; None for one global grid, periodic in x

    Returns
    -------
    Dataset of the role grid (`stvd.contract`)
    """
    if any(size % factor for size in shape):
        raise ValueError(f"factor {factor} does not divide the shape {shape}")
    grid = _positions(shape, tiles)
    points = _points(shape, tiles)
    dims = ("y", "x") if tiles is None else ("tile", "y", "x")
    bumps = np.random.Generator(np.random.Philox(key=20)).normal(size=(5, 3))
    bumps /= np.linalg.norm(bumps, axis=1, keepdims=True)
    height = np.exp(12 * (np.einsum("...i,si->...s", points, bumps) - 1)).sum(-1)
    orog = 4000 * np.clip(height - 0.2, 0, None)
    grid["orog"] = _field(orog.astype(np.float32), dims, "orog")
    grid["land_fraction"] = _field((height > 0.15).astype(np.float32), dims, "land_fraction")
    grid["areacella"] = cell_area(grid)
    grid.attrs = {
        "role": "grid",
        "source": "synthetic_grid",
        "factor": factor,
        "periodic_x": int(tiles is None),
    }
    return grid


def synthetic_truth(
    axis: TimeAxis,
    frames: range,
    shape: Shape,
    *,
    factor: int = 8,
    tiles: int | None = None,
    seed: int = 0,
    chunk_frames: int = 16,
) -> xr.Dataset:
    """Fine precipitation of `frames`, lazily; parameters as of `synthetic_grid`."""

    def rain(k: int) -> np.ndarray:
        return _rain(k, shape, tiles, seed)

    grid = synthetic_grid(shape, factor=factor, tiles=tiles)
    truth = _record(axis, frames, grid, {"pr": rain}, shape, chunk_frames)
    return truth.assign_attrs(grid.attrs | truth.attrs | _named("truth"))


def synthetic_coarse(
    axis: TimeAxis,
    frames: range,
    shape: Shape,
    *,
    factor: int = 8,
    tiles: int | None = None,
    seed: int = 0,
    predictors: tuple[str, ...] = PREDICTORS,
    chunk_frames: int = 16,
) -> xr.Dataset:
    """Coarse precipitation, the exact block mean of `synthetic_truth`, with predictors, lazily.

    Parameters
    ----------
    axis, frames : the time to cover
    shape : cells (y, x) of the fine grid
    factor, tiles : as of `synthetic_grid`
    seed : another seed is other weather
    predictors : of `PREDICTORS`
    chunk_frames : frames a dask chunk

    Returns
    -------
    Dataset of the role coarse (`stvd.contract`)
    """
    grid = synthetic_grid(shape, factor=factor, tiles=tiles)
    area = grid["areacella"].values
    coords = coarsen_coordinates(grid, factor)
    if tiles is None:
        lat, lon = np.meshgrid(coords["lat"], coords["lon"], indexing="ij")
    else:
        lat, lon = coords["lat"].values, coords["lon"].values
    points = unit_vectors(lat, lon)
    orog = weighted_block_mean(grid["orog"].values, area, factor)

    def rain(k: int) -> np.ndarray:
        return weighted_block_mean(_rain(k, shape, tiles, seed), area, factor)

    def predictor(name: str) -> Callable[[int], np.ndarray]:
        return lambda k: _predictor(name, k, axis, points, lat, orog, seed)

    fields = {"pr": rain} | {name: predictor(name) for name in predictors}
    coarse_grid = xr.Dataset(coords=coords)
    coarse_shape = (shape[0] // factor, shape[1] // factor)
    coarse = _record(axis, frames, coarse_grid, fields, coarse_shape, chunk_frames)
    return coarse.assign_attrs(grid.attrs | coarse.attrs | _named("coarse"))


def _named(role: str) -> dict[str, str]:
    return {"role": role, "source": f"synthetic_{role}"}


def _record(
    axis: TimeAxis,
    frames: range,
    grid: xr.Dataset,
    fields: dict[str, Callable[[int], np.ndarray]],
    shape: Shape,
    chunk_frames: int,
) -> xr.Dataset:
    """Variables made frame by frame, in dask chunks of whole maps."""
    lat = grid["lat"]
    lead = lat.shape[:-2]  # of faces
    dims = ("time", "y", "x") if lat.ndim == 1 else ("time", *map(str, lat.dims))
    numbers = da.from_array(np.arange(frames.start, frames.stop), chunks=chunk_frames)

    def lazily(make: Callable[[int], np.ndarray]) -> da.Array:
        return da.map_blocks(
            lambda ks: np.stack([make(int(k)) for k in ks]),
            numbers,
            dtype=np.float32,
            chunks=(numbers.chunks[0], *((n,) for n in (*lead, *shape))),
            new_axis=list(range(1, len(dims))),
            meta=np.empty((0,) * len(dims), np.float32),
        )

    middle, bounds = axis.decoded(frames)
    times = {"standard_name": "time", "axis": "T", "bounds": "time_bnds"}
    return xr.Dataset(
        {name: _field(lazily(make), dims, name) for name, make in fields.items()},
        coords={
            **{str(n): c for n, c in grid.coords.items()},
            "time": ("time", middle, times),
            "time_bnds": (("time", "bnds"), bounds),
        },
        attrs=axis.model_dump(),
    )


def _field(values: Any, dims: tuple[str, ...], name: str) -> xr.Variable:
    return xr.Variable(dims, values, {"units": QUANTITIES[name].units})


@lru_cache(maxsize=4)
def _storms(frame: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (storm, 3), sharpness and strength (storm,) of the storms alive in a frame."""
    centres, sharpness, strength = [], [], []
    for birth in range(frame - LIFE + 1, frame + 1):
        draw = np.random.Generator(np.random.Philox(key=seed, counter=birth % 2**63))
        place, drift = draw.normal(size=(2, BIRTHS, 3))
        radius, peak = draw.uniform([[0.06], [0.3]], [[0.2], [1.0]], size=(2, BIRTHS))
        age = frame - birth
        moved = place / np.linalg.norm(place, axis=1, keepdims=True) + 0.02 * age * drift
        centres.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
        sharpness.append(radius**-2)
        strength.append(peak * np.sin(np.pi * (age + 0.5) / LIFE))
    return np.concatenate(centres), np.concatenate(sharpness), np.concatenate(strength)


def _storminess(frame: int, points: np.ndarray, seed: int) -> np.ndarray:
    """Sum of the storms at points of the sphere, shape (...)."""
    centres, sharpness, strength = _storms(frame, seed)
    near = np.einsum("...i,si->s...", points, centres) - 1
    near *= sharpness.reshape(-1, *[1] * (points.ndim - 1))
    swarm = np.exp(near.astype(np.float32))
    return np.einsum("s...,s->...", swarm, strength.astype(np.float32))


def _rain(frame: int, shape: Shape, tiles: int | None, seed: int) -> np.ndarray:
    """Fine precipitation of a frame, kg m-2 s-1, shape ([tile,] y, x), float32."""
    cosine, sine, speed = _texture(shape, tiles, seed)
    turn = speed * frame
    texture = np.einsum("w...,w->...", cosine, np.cos(turn))
    texture -= np.einsum("w...,w->...", sine, np.sin(turn))
    storms = _storminess(frame, _points(shape, tiles), seed)
    rain = PEAK * np.clip(storms * (1 + 0.5 * texture) - 0.3, 0, None)
    return np.asarray(rain, np.float32)


@lru_cache(maxsize=2)
def _texture(
    shape: Shape, tiles: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Waves of 5 to 30 fine cells: cosine and sine, each (wave, [tile,] y, x), and their speed."""
    draw = np.random.Generator(np.random.Philox(key=seed + 1))
    cell = (2 * np.pi if tiles is None else np.pi / 2) / shape[1]
    direction = draw.normal(size=(WAVES, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    number = 2 * np.pi / (cell * np.geomspace(5, 30, WAVES))
    phase = np.einsum("...i,wi->w...", _points(shape, tiles), direction * number[:, None])
    scale = np.float32((2 / WAVES) ** 0.5)
    speed = draw.uniform(0.2, 1.0, WAVES)
    return scale * np.cos(phase, dtype=np.float32), scale * np.sin(phase, dtype=np.float32), speed


def _predictor(
    name: str,
    frame: int,
    axis: TimeAxis,
    points: np.ndarray,
    lat: np.ndarray,
    orog: np.ndarray,
    seed: int,
) -> np.ndarray:
    """A predictor made of the storms, the latitude, the season and the height of the land."""
    storms = _storminess(frame, points, seed)
    north = np.sin(np.deg2rad(lat))
    start = axis.start(frame)
    season = np.cos(2 * np.pi * (start.dayofyr - 200) / 365)
    field = {
        "ps": lambda: 101325 * np.exp(-orog / 8000) - 900 * storms,
        "prw": lambda: 4 + 40 * (1 - north**2) + 12 * storms,
        "tas": lambda: 299 - 45 * north**2 + 12 * season * north - 0.0065 * orog - 2 * storms,
        "uas": lambda: 9 * np.sin(3 * np.deg2rad(lat)) + 5 * storms,
        "vas": lambda: 3 * north * storms,
    }[name]()
    return np.asarray(field, np.float32)


def _positions(shape: Shape, tiles: int | None) -> xr.Dataset:
    """Latitude and longitude of the fine cells as coordinates."""
    north, east = COORDINATES["lat"][1], COORDINATES["lon"][1]
    if tiles is None:
        lat = (np.arange(shape[0]) + 0.5) * 180 / shape[0] - 90
        lon = (np.arange(shape[1]) + 0.5) * 360 / shape[1]
        return xr.Dataset(coords={"lat": ("y", lat, north), "lon": ("x", lon, east)})
    lat, lon = angles(_points(shape, tiles))
    dims = ("tile", "y", "x")
    return xr.Dataset(coords={"lat": (dims, lat, north), "lon": (dims, lon % 360, east)})


@lru_cache(maxsize=4)
def _points(shape: Shape, tiles: int | None) -> np.ndarray:
    """Unit vectors of the fine cells, shape ([tile,] y, x, 3)."""
    if tiles is None:
        grid = _positions(shape, None)
        return unit_vectors(*np.meshgrid(grid["lat"], grid["lon"], indexing="ij"))
    if not 1 <= tiles <= 6:
        raise ValueError(f"a cubed sphere has 1 to 6 faces, not {tiles}")
    y, x = (np.tan(((np.arange(n) + 0.5) / n - 0.5) * np.pi / 2) for n in shape)
    v, u = np.meshgrid(y, x, indexing="ij")
    one = np.ones_like(u)
    faces = [  # equator at 0°, 90°, 180°, 270°; north; south
        (one, u, v),
        (-u, one, v),
        (-one, -u, v),
        (u, -one, v),
        (-v, u, one),
        (v, u, -one),
    ]
    points = np.stack([np.stack(face, axis=-1) for face in faces[:tiles]])
    return np.asarray(points / np.linalg.norm(points, axis=-1, keepdims=True))
