"""An animation shows every frame, in few bytes."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from map_samples import cubed_sphere, grid_of, texts
from PIL import Image, ImageSequence
from rain_samples import rain

from stvd.diagnostics.animation import Movie, animate, wettest


def fields(grid: xr.Dataset, frames: int, members: int = 3) -> xr.DataArray:
    values = rain((members, frames, *grid["orog"].shape))
    return xr.DataArray(values, dims=("member", "time", *grid["orog"].dims), coords=grid.coords)


def movie(frames: int = 4, kind: str = "regional") -> Movie:
    grid = cubed_sphere() if kind == "faces" else grid_of(kind)
    pr = fields(grid, frames)
    truth = pr.isel(member=2, drop=True)
    labels = [f"2001-01-01 {3 * k:02d}:00 UTC" for k in range(frames)]
    coarse = truth.coarsen(y=4, x=4).mean()
    return animate(
        pr.chunk(time=1), coarse, truth, labels=labels, grid=grid, title="gcm", width=480
    )


@pytest.fixture(scope="module")
def made() -> Movie:
    return movie()


def test_every_frame_is_there_and_differs(made: Movie) -> None:
    image = Image.open(io.BytesIO(made.gif(seconds=0.5)))
    frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(image)]
    assert len(frames) == 4
    assert image.size[0] == 480
    assert image.info["duration"] == 500
    assert image.info["loop"] == 0  # for ever
    changes = [(a != b).any(axis=-1).mean() for a, b in pairwise(frames)]
    assert min(changes) > 0.05
    assert max(changes) < 0.9  # edges, letters and the scale stand still


def test_it_shows_input_truth_and_members(made: Movie) -> None:
    names = texts(made.figure)
    assert {"coarse input", "truth", "member 0", "member 1"} <= set(names)
    assert {"gcm", "precipitation rate (mm h⁻¹)"} <= set(names)
    assert "member 2" not in names


def test_a_frame_has_its_values_and_time(made: Movie) -> None:
    made.show(2)
    truth = fields(grid_of("regional"), 4).isel(member=2, time=2).values * 3600
    assert np.asarray(made.meshes[1].get_array()).reshape(16, 24) == pytest.approx(truth, rel=1e-6)
    assert made.clock.get_text() == "2001-01-01 06:00 UTC"


@pytest.mark.parametrize("kind", ["global", "faces"])
def test_cells_that_are_sorted_or_looked_up_move_too(kind: str) -> None:
    shown = movie(2, kind)
    before = np.asarray(shown.meshes[2].get_array()).copy()
    shown.show(1)
    assert not np.array_equal(before, np.asarray(shown.meshes[2].get_array()))


def test_it_is_made_smaller_until_it_fits(made: Movie) -> None:
    whole = made.gif()
    small = made.gif(largest=len(whole) * 2 // 3)
    assert len(small) <= len(whole) * 2 // 3
    assert Image.open(io.BytesIO(small)).n_frames == 4
    with pytest.raises(ValueError, match=r"4 frames does not fit into 1000 bytes"):
        made.gif(largest=1000)


def test_members_alone_are_enough() -> None:
    grid = grid_of("cells")
    shown = animate(fields(grid, 1), labels=["now"], width=400)
    assert {"member 0", "member 1", "member 2"} <= set(texts(shown.figure))


def test_too_many_frames_are_refused() -> None:
    pr = fields(grid_of("cells"), 25, members=1)
    with pytest.raises(ValueError, match=r"25 frames and 25 labels"):
        animate(pr, labels=["x"] * 25)
    with pytest.raises(ValueError, match=r"2 frames and 1 labels"):
        animate(pr.isel(time=[0, 1]), labels=["x"])


def test_wettest_frames_in_a_row() -> None:
    series = xr.DataArray([5.0, 0.0, 2.0, 4.0, np.nan, 1.0], dims="time")
    assert wettest(series, 2) == slice(2, 4)  # 5, 2, 6, 4, 1
    assert wettest(series, 1) == slice(0, 1)
    assert wettest(series, 99) == slice(0, 6)
