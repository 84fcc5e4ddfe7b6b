"""How a record is read for its scores: whole storage chunks at once, worked on in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import xarray as xr

from stvd.piece_statistics import FIELD


def assert_comparable(arrays: Mapping[str, xr.DataArray | None], area: xr.DataArray) -> None:
    """Refuse arrays of different cells or times, and units that are not kg m-2 s-1."""
    pr = arrays["pr"]
    assert pr is not None
    assert_aligned(pr, arrays["truth"], "truth")
    assert_aligned(pr, arrays["coarse"], "coarse", ("time", "tile"))
    assert_aligned(pr, area, "area")
    for name, array in arrays.items():
        if array is not None and array.attrs.get("units", "kg m-2 s-1") != "kg m-2 s-1":
            raise ValueError(f"{name} is in {array.attrs['units']}; convert it to kg m-2 s-1")


def assert_aligned(
    pr: xr.DataArray,
    other: xr.DataArray | None,
    name: str,
    dims: tuple[str, ...] = ("time", "tile", "y", "x"),
) -> None:
    """Refuse arrays whose sizes or coordinates differ at all: a join would silently drop cells."""
    if other is None:
        return
    for dim in dims:
        if dim in other.dims and dim in pr.dims and pr.sizes[dim] != other.sizes[dim]:
            raise ValueError(
                f"pr and {name} differ along {dim}: {pr.sizes[dim]} and {other.sizes[dim]} points"
            )
    for key in ("time", "tile", "y", "x", "lat", "lon"):
        if key not in pr.coords or key not in other.coords or not set(pr[key].dims) <= set(dims):
            continue
        a, b = pr[key].values, other[key].values
        if a.shape != b.shape or not np.array_equal(a, b):
            raise ValueError(
                f"the coordinate {key} of pr and {name} differ; select the same cells and times, "
                "and copy the coordinate where it differs by rounding only"
            )


def slabs(pr: xr.DataArray, piece_values: int, block: int = 1) -> Iterator[range]:
    """Ranges of time to read at once: whole storage chunks if 16 pieces' worth of values allow.

    Where a chunk has to be cut, it is after a whole number of blocks, if they fit.
    """
    count = pr.sizes["time"]
    per_frame = pr.size // count
    most = max(1, 16 * piece_values // per_frame)
    most = most // block * block or most
    chunk = max(pr.chunksizes["time"]) if pr.chunks is not None else count
    few = max(1, 2 * piece_values // per_frame // chunk)  # small chunks are read several at once
    length = most if chunk > most else few * chunk
    return (range(k, min(k + length, count)) for k in range(0, count, length))


def pieces(
    frames: np.ndarray, slab: range, block: int, sizes: Mapping[Hashable, int], piece_values: int
) -> Iterator[range]:
    """Cut a slab at gaps, at the edges of blocks, and to a size that fits in memory."""
    per_frame = int(np.prod([n for d, n in sizes.items() if d != "time"]))
    longest = max(1, piece_values // per_frame)
    start = slab.start
    while start < slab.stop:
        stop = start + 1
        same = frames[start] // block
        while (
            stop < slab.stop
            and stop - start < longest
            and frames[stop] // block == same
            and frames[stop] == frames[stop - 1] + 1
        ):
            stop += 1
        yield range(start, stop)
        start = stop


def with_tile(array: xr.DataArray) -> xr.DataArray:
    """In the order (member, time, tile, y, x) of those that there are, always with a tile."""
    array = array if "tile" in array.dims else array.expand_dims("tile")
    order = [d for d in ("member", *FIELD) if d in array.dims]
    return array.transpose(*order).reset_coords(drop=True)


def load(array: xr.DataArray, slab: range, name: str) -> xr.DataArray:
    """A slab in memory, without infinite values."""
    loaded = array.isel(time=slice(slab.start, slab.stop)).compute()
    _assert_none(
        loaded.copy(data=np.isinf(loaded.values)),
        f"{name} has {{}} infinite values, the first at {{}}; correct it",
    )
    return with_tile(loaded)


def assert_complete(pr: xr.DataArray, valid: np.ndarray) -> None:
    """Members have a value wherever they are scored."""
    _assert_none(
        pr.isnull() & xr.DataArray(valid, dims=FIELD),
        "pr has {} values that are not finite, the first at {}; an ensemble with gaps cannot be "
        "scored: run the partition again, leave the time out, or set the truth to NaN there",
    )


def _assert_none(bad: xr.DataArray, message: str) -> None:
    if not bad.any():
        return
    first = int(bad.any([d for d in bad.dims if d != "time"]).values.argmax())
    where = str(bad["time"].values[first]) if "time" in bad.coords else f"frame {first}"
    raise ValueError(message.format(int(bad.sum()), where))
