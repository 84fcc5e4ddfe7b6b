"""A small product to write and read in tests: 3-hourly, cells of 20 frames, windows of 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from stvd.lattice import TimeAxis
from stvd.partition import Partition
from stvd.product import CommitRef, Product, ProductSpec

CELL = 20
WINDOW = 5
SHAPE = (8, 12)
KEY = "a" * 64


def make_spec(**changes: Any) -> ProductSpec:
    """Two members; a cell is two shards in time, a frame two in space."""
    fields: dict[str, Any] = {
        "name": "test",
        "source": "gcm",
        "members": 2,
        "axis": TimeAxis(epoch="2000-01-01", step_seconds=10800),
        "window": WINDOW,
        "cell_frames": CELL,
        "factor": 8,
        "chunks": (5, 4, 6),
        "shards": (10, 4, 12),
    }
    return ProductSpec(**(fields | changes))


def make_grid(shape: tuple[int, ...] = SHAPE) -> xr.Dataset:
    """A global regular grid, or six faces if `shape` has three numbers."""
    *tiles, rows, columns = shape
    dims = ("tile", "y", "x")[-len(shape) :]
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(-85, 85, rows), np.arange(columns) * 360.0 / columns
    coords: dict[str, Any] = {"lat": ("y", lat), "lon": ("x", lon)}
    if tiles:
        faces = np.arange(tiles[0])[:, None, None]
        coords = {
            "lat": (dims, np.broadcast_to(lat[:, None] / 2, shape) + faces),
            "lon": (dims, np.broadcast_to(lon / 4, shape) + 60 * faces),
        }
    return xr.Dataset(
        {
            "areacella": (dims, rng.uniform(1e9, 2e9, shape)),
            "orog": (dims, rng.uniform(0, 3000, shape).astype("f4")),
        },
        coords=coords,
        attrs={"factor": 8, "periodic_x": 1},
    )


def make_product(folder: Path, shape: tuple[int, ...] = SHAPE, **changes: Any) -> Product:
    return Product.create_or_open(folder / "product", make_spec(**changes), make_grid(shape))


def samples(
    frames: range, members: range, shape: tuple[int, ...] = SHAPE, seed: int = 0
) -> np.ndarray:
    """Rain that depends on member, frame and seed alone; two cells in three are dry."""
    fields = np.empty((len(members), len(frames), *shape), np.float32)
    for i, member in enumerate(members):
        for k, frame in enumerate(frames):
            rng = np.random.default_rng([seed, member, frame])
            fields[i, k] = np.clip(rng.random(shape, np.float32) - 0.667, 0, None) * 1e-3
    return fields


def cell(number: int, members: range = range(2)) -> Partition:
    return Partition(
        source="gcm", frames=range(CELL * number, CELL * (number + 1)), members=members
    )


def publish(
    product: Product,
    partition: Partition,
    *,
    seed: int = 0,
    fingerprint: str = KEY,
    provenance: dict[str, Any] | None = None,
    **options: Any,
) -> CommitRef:
    """Write a partition window by window, all members at once, as `downscale` gives them."""
    with product.write(partition, fingerprint, **options) as writer:
        for first in range(partition.frames.start, partition.frames.stop, WINDOW):
            frames = range(first, first + WINDOW)
            block = samples(frames, partition.members, product.shape, seed)
            writer.put(frames, partition.members, block)
        return writer.commit(provenance)
