"""Events by hand and against one labelling of the whole record, whatever the pieces."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from map_samples import cubed_sphere
from rain_samples import MM_PER_HOUR, axis, rain, record
from scipy import ndimage

from stvd.diagnostics.events import COLUMNS, largest_events, touching_cells
from stvd.halo import Side, find_joins

HOURLY = axis(step=3600)


def hours(values: np.ndarray, **kwargs: object) -> xr.DataArray:
    """`values` in mm h-1, shape ([member,] time, [tile,] y, x), as a product has them."""
    values = np.asarray(values, float)
    values = values[None] if values.ndim == 3 else values
    return record(values * MM_PER_HOUR, HOURLY, **kwargs)  # type: ignore[arg-type]


def cells(*shape: int) -> xr.DataArray:
    """Cells of 1 km2."""
    return xr.DataArray(np.full(shape, 1e6), dims=("tile", "y", "x")[-len(shape) :])


def catalogue(field: xr.DataArray, threshold: float = 1.0, **options: object) -> pd.DataFrame:
    shape = field.shape[2:]
    return largest_events(field, cells(*shape), HOURLY, threshold=threshold, **options)  # type: ignore[arg-type]


def test_an_event_by_hand() -> None:
    values = np.zeros((5, 2, 4))
    values[1, 0, 1] = 3.0
    values[2, 0, 1], values[2, 1, 2] = 2.0, 6.0  # touches by a corner
    values[3, 1, 3] = 1.0  # at the threshold, not above it
    field = hours(values).assign_coords(lat=("y", [50.0, 51.0]), lon=("x", [7.0, 8.0, 9.0, 10.0]))
    found = catalogue(field)
    assert len(found) == 1
    assert found.attrs["events"] == 1
    row = found.iloc[0].to_dict()
    assert row["start"] == "2001-01-01T01:00:00"
    assert row["end"] == "2001-01-01T03:00:00"
    assert row["duration_h"] == 2.0
    assert row["peak_time"] == "2001-01-01T02:30:00"
    assert (row["lat"], row["lon"], row["y"], row["x"]) == (51.0, 9.0, 1, 2)
    assert row["peak"] == pytest.approx(6.0)
    assert row["footprint_km2"] == 2.0
    # 3 + 2 + 6 mm on 1 km2 are 11e3 m3.
    assert row["volume_km3"] == pytest.approx(11e-6)
    assert (row["members"], row["truncated"], row["units"]) == (1.0, False, "mm h-1")


def test_ranks_follow_the_measure() -> None:
    values = np.zeros((4, 1, 12))
    values[0, 0, 0] = 50.0  # the peak
    values[0:2, 0, 2:5] = 10.0  # the volume, 60
    values[1, 0, 6:11] = 2.0  # the footprint, 5
    places = {
        by: catalogue(hours(values), by=by)["x"].tolist()
        for by in ("volume", "peak", "footprint", "duration")
    }
    assert places["volume"] == [2, 0, 6]
    assert places["peak"] == [0, 2, 6]
    assert places["footprint"] == [6, 2, 0]
    assert places["duration"] == [2, 0, 6]
    assert catalogue(hours(values), count=2)["rank"].tolist() == [1, 2]
    assert catalogue(hours(values), count=2).attrs["events"] == 3


def test_of_equals_the_earlier_and_then_the_lower_cell_is_first() -> None:
    values = np.zeros((4, 3, 3))
    values[3, 0, 0] = values[1, 2, 2] = values[1, 0, 2] = 5.0
    for time in (1, 2, 4):
        found = catalogue(hours(values).chunk(time=time), count=2)
        assert found[["peak_time", "y", "x"]].values.tolist() == [
            ["2001-01-01T01:30:00", 0, 2],
            ["2001-01-01T01:30:00", 2, 2],
        ]


def direct(values: np.ndarray, threshold: float) -> list[tuple[float, ...]]:
    """First and last frame, peak, volume and footprint of events, from one labelling."""
    labels, count = ndimage.label(values > threshold, np.ones((3, 3, 3)))
    found = []
    for k in range(1, count + 1):
        at = labels == k
        frames = np.flatnonzero(at.any((1, 2)))
        volume = values[at].sum()
        found.append((frames[0], frames[-1], values[at].max(), volume, at.any(0).sum()))
    return sorted(found, key=lambda e: -e[3])


@pytest.mark.parametrize("frames", [1, 3, 7, 24])
@pytest.mark.parametrize("density", [0.97, 0.85], ids=["sparse", "dense"])
def test_pieces_change_nothing(frames: int, density: float) -> None:
    values = rain((24, 9, 11), seed=4, dry=density) / MM_PER_HOUR
    expected = direct(values, 0.2)
    found = catalogue(hours(values).chunk(time=frames), 0.2, count=15)
    assert found.attrs["events"] == len(expected)
    starts = [int((pd.Timestamp(t) - pd.Timestamp("2001-01-01")).total_seconds() // 3600)
              for t in found["start"]]  # fmt: skip
    rows = zip(
        starts, starts + found["duration_h"] - 1, found["peak"], found["volume_km3"] * 1e6,
        found["footprint_km2"], strict=True,
    )  # fmt: skip
    for row, event in zip(rows, expected, strict=False):
        assert row == pytest.approx(event)
    pd.testing.assert_frame_equal(found, catalogue(hours(values), 0.2, count=15))


def test_two_events_that_meet_later_are_one() -> None:
    values = np.zeros((4, 1, 5))
    values[0:3, 0, 0] = values[0:3, 0, 4] = 2.0
    values[2, 0, 1:4] = 3.0
    for time in (1, 2, 4):
        found = catalogue(hours(values).chunk(time=time))
        assert len(found) == 1
        assert found["footprint_km2"].item() == 5.0
        assert found["volume_km3"].item() == pytest.approx((12 + 9) * 1e-6)


@pytest.mark.parametrize("time", [1, 4])
def test_a_row_that_closes_on_itself_joins_its_ends(time: int) -> None:
    values = np.zeros((4, 3, 6))
    values[1, 0, 5] = values[2, 1, 0] = 2.0  # a corner and a frame apart, over the seam
    field = hours(values).chunk(time=time)
    assert len(catalogue(field)) == 2
    found = catalogue(field, periodic_x=True)
    assert found["footprint_km2"].tolist() == [2.0]
    assert found["duration_h"].tolist() == [2.0]


def test_a_missing_frame_ends_events() -> None:
    values = np.full((3, 1, 1), 2.0)
    found = catalogue(hours(values, frames=[0, 1, 3]))
    assert found["duration_h"].tolist() == [2.0, 1.0]
    assert found["truncated"].all()


def test_only_what_touches_an_end_is_truncated() -> None:
    values = np.zeros((5, 1, 5))
    values[0, 0, 0] = values[2, 0, 2] = values[4, 0, 4] = 2.0
    found = catalogue(hours(values).chunk(time=2)).sort_values("x")
    assert found["truncated"].tolist() == [True, False, True]


def test_missing_cells_exceed_nothing() -> None:
    values = np.full((2, 1, 3), np.nan)
    values[:, 0, 2] = 4.0
    found = catalogue(hours(values))
    assert found["footprint_km2"].tolist() == [1.0]


def test_dry_records_have_no_events() -> None:
    found = catalogue(hours(np.zeros((2, 3, 4, 4))))
    assert found.empty
    assert list(found.columns) == [c for c in COLUMNS if c != "tile"]
    assert found.attrs["events"] == 0


def test_members_that_have_the_event() -> None:
    values = np.zeros((4, 6, 1, 4))
    values[0, 1:3, 0, 0:2] = 9.0
    values[1, 2, 0, 1] = 2.0  # in its footprint, during it
    values[2, 4, 0, 1] = 2.0  # later
    values[3, 1, 0, 3] = 2.0  # elsewhere
    field = hours(values).assign_coords(realization=("member", [4, 5, 6, 7]))
    for lazy in (field, field.chunk(time=2, member=3)):
        found = catalogue(lazy).set_index("member")
        assert found.loc[4, "members"] == 0.5
        assert found.loc[5, "members"] == 0.5
        assert found.loc[6, "members"] == 0.25
        assert found.loc[7, "members"] == 0.25
        assert found.loc[4, "rank"] == 1
        assert found["rank_in_member"].tolist() == [1, 1, 1, 1]


def test_each_member_has_its_largest() -> None:
    values = np.zeros((2, 1, 1, 9))
    values[0, 0, 0, ::2] = [9.0, 8.0, 7.0, 6.0, 5.0]
    values[1, 0, 0, ::2] = 2.0
    found = catalogue(hours(values), count=2)
    assert found["member"].tolist() == [0, 0, 1, 1]
    assert found["rank_in_member"].tolist() == [1, 2, 1, 2]


def test_tiles_stand_alone() -> None:
    values = np.zeros((1, 2, 2, 1, 3))
    values[0, 0, :, 0, 0] = 5.0
    values[0, 1, 1, 0, 1] = 7.0
    lat = np.arange(6.0).reshape(2, 1, 3)
    field = hours(values).assign_coords(
        lat=(("tile", "y", "x"), lat), lon=(("tile", "y", "x"), lat)
    )
    found = catalogue(field)
    assert found[["tile", "x", "peak"]].values.tolist() == [[1, 1, 7.0], [0, 0, 5.0]]
    assert found["lat"].tolist() == [4.0, 0.0]


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_daily_amounts_on_other_calendars(calendar: str) -> None:
    days = axis("2001-02-27", 86_400, calendar)
    field = record(np.array([0.0, 30.0, 40.0, 0.0])[None, :, None, None], days)
    field = field.assign_attrs(units="mm d-1")
    found = largest_events(field, cells(1, 1), days, threshold=20.0)
    # Two days of 30 and 40 mm on 1 km2.
    assert found["volume_km3"].item() == pytest.approx(70e-6)
    assert found["start"].item() == "2001-02-28T00:00:00"
    end = {"noleap": "2001-03-02T00:00:00", "360_day": "2001-02-30T00:00:00"}[calendar]
    assert found["end"].item() == end
    assert found["units"].item() == "mm d-1"
    assert np.isnan(found["lat"].item())


def test_csv_says_the_same() -> None:
    found = catalogue(hours(rain((2, 6, 5, 5), seed=1) / MM_PER_HOUR), 0.5)
    again = pd.read_csv(io.StringIO(found.to_csv(index=False)))
    pd.testing.assert_frame_equal(again, found, check_dtype=False, check_exact=False)


def test_what_makes_no_catalogue_says_why() -> None:
    field = hours(np.ones((2, 1, 1)))
    with pytest.raises(ValueError, match="pr is in K, and events are found in kg m-2 s-1"):
        catalogue(field.assign_attrs(units="K"))
    with pytest.raises(ValueError, match="times do not ascend"):
        catalogue(field.isel(time=[1, 0]))
    with pytest.raises(ValueError, match="makes no catalogue"):
        catalogue(field, -1.0)


def test_an_event_goes_on_from_face_to_face() -> None:
    grid = cubed_sphere(8)
    joins = find_joins(grid["lat"].values, grid["lon"].values)
    beyond = joins[0, Side.EAST]
    ring = {Side.SOUTH: (0, 2), Side.NORTH: (7, 2), Side.WEST: (2, 0), Side.EAST: (2, 7)}
    y, x = ring[beyond.side]
    if beyond.backwards:  # the third cell from the other end
        y, x = (y, 5) if beyond.side.along_x else (5, x)
    values = np.zeros((2, 6, 8, 8))
    values[0, 0, 2, 7] = 3.0  # at the eastern edge of face 0,
    values[1, beyond.tile, y, x] = 4.0  # and a frame later right beyond it
    values[0, 0, 4, 4] = 1.5  # another one, in the middle
    found = catalogue(hours(values[None]).assign_coords(lat=grid["lat"], lon=grid["lon"]))
    assert len(found) == 2
    first = found.iloc[0]
    assert (first["tile"], first["y"], first["x"], first["peak"]) == (beyond.tile, y, x, 4.0)
    assert first["duration_h"] == 2
    assert first["footprint_km2"] == pytest.approx(2.0)


def test_cells_that_touch_beyond_the_array_are_those_of_the_grid() -> None:
    field = hours(np.zeros((1, 1, 1, 3, 4)))
    links = touching_cells(field, periodic_x=True)
    # Cells 0, 4, 8 begin the rows, 3, 7, 11 end them; corners touch too.
    ends = {(0, 3), (0, 7), (4, 3), (4, 7), (4, 11), (8, 7), (8, 11)}
    assert {tuple(p) for p in links.tolist()} == ends | {(b, a) for a, b in ends}
    assert touching_cells(field, periodic_x=False).shape == (0, 2)
    faces = cubed_sphere(8)
    sphere = hours(np.zeros((1, 1, 6, 8, 8)))
    links = touching_cells(sphere.assign_coords(lat=faces["lat"], lon=faces["lon"]), False)
    assert len(np.unique(links[:, 0])) == 6 * (64 - 36)  # all on the sides
