"""Charts of realism and maps of places: what stands on them is what was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from map_samples import grid_of, texts

from stvd.diagnostics.place_maps import event_map, region_map
from stvd.diagnostics.plots_calls import realism_distortion
from stvd.diagnostics.plots_realism import autocorrelation, consistency, skill
from stvd.diagnostics.region_files import Region

ESTIMATE = {"estimate": ["value", "low", "high"]}


def curve(values: list[float], lags: list[int]) -> xr.DataArray:
    return xr.DataArray(values, dims="lag", coords={"lag": lags})


def score(*three: float) -> xr.DataArray:
    return xr.DataArray(list(three), dims="estimate", coords=ESTIMATE)


def test_autocorrelation_is_over_cells_and_hours() -> None:
    space = {"truth": curve([0.9, 0.5], [1, 2]), "stvd": curve([0.8, 0.4], [1, 2])}
    figure = autocorrelation(space, {"stvd": curve([0.7, 0.2], [1, 4])}, step_hours=3, title="rain")
    left, right = figure.axes
    assert [line.get_label() for line in left.lines[:2]] == ["truth", "stvd"]
    assert right.lines[0].get_xdata().tolist() == [3, 12]
    assert right.lines[0].get_color() == left.lines[1].get_color()
    assert {"rain", "distance (fine cells)", "time between (hours)", "truth"} <= set(texts(figure))


def test_consistency_shows_what_there_is() -> None:
    kept = xr.Dataset({"block_violation": score(1e-6, 1e-7, 1e-5)})
    seams = kept.assign(seam_ratio=score(1.1, 1.0, 1.2), seam_ratio_truth=score(1.0, 0.9, 1.1))
    figure = consistency({"stvd": seams, "bicubic": kept})
    assert figure is not None
    left, right = figure.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["stvd", "bicubic"]
    assert right.lines[0].get_xdata().tolist() == [1.1, 1.0]
    assert len(consistency({"stvd": kept}).axes) == 1  # type: ignore[union-attr]
    assert consistency({"stvd": xr.Dataset()}) is None


def test_skill_has_a_row_for_every_part() -> None:
    rows = pd.DataFrame(
        [("season", of, "stvd", "crps_fair", v, v - 1, v + 1, "kg m-2 s-1")
         for of, v in (("DJF", 3.0), ("JJA", 5.0))]
        + [("threshold", "1 mm/h", "stvd", "fss_8cells", 0.5, 0.4, 0.6, "1")],
        columns=["by", "of", "system", "score", "value", "low", "high", "units"],
    )  # fmt: skip
    figure = skill(rows)
    assert [a.get_title(loc="left") for a in figure.axes] == ["by season", "by threshold"]
    first = figure.axes[0]
    assert [t.get_text() for t in first.get_yticklabels()] == ["DJF", "JJA"]
    assert first.lines[0].get_xdata().tolist() == [10_800, 18_000]  # 3 and 5 times 3600
    assert {"fair CRPS (mm h⁻¹)", "FSS, 8 cells"} <= set(texts(figure))


def test_regions_and_events_stand_where_they_are() -> None:
    grid = grid_of("regional")  # 40 to 47.5 N, 350 to 361.5 E
    about = {"units": "mm", "long_name": "total precipitation"}
    field = xr.DataArray(
        np.random.default_rng(0).gamma(2, 50, (16, 24)), dims=("y", "x"), coords=grid.coords,
        attrs=about,
    )  # fmt: skip
    regions = [Region("basin", shapely.box(-8, 41, -4, 44))]  # another turn than the grid
    figure = region_map(field, regions, grid=grid, title="regions")
    named = figure.axes[0].texts
    assert [t.get_text() for t in named] == ["basin"]
    assert named[0].xy == pytest.approx((354.0, 42.5))
    events = pd.DataFrame(
        {"rank": [1, 2], "lat": [42.0, 45.0], "lon": [352.0, 355.0], "y": [4, 10], "x": [4, 10],
         "volume_km3": [4.0, 1.0]}
    )  # fmt: skip
    figure = event_map(field, events, grid=grid, title="events")
    assert [t.get_text() for t in figure.axes[0].texts] == ["1", "2"]
    assert [t.xy for t in figure.axes[0].texts] == [(352.0, 42.0), (355.0, 45.0)]
    bare = field.drop_vars(["lat", "lon"])
    placed = event_map(bare, events, title="events").axes[0].texts
    assert [t.xy for t in placed] == [(4.0, 4.0), (10.0, 10.0)]


def test_realism_against_distortion_runs_along_the_calls() -> None:
    def scores(k: int) -> dict[str, dict[str, float | None]]:
        entry = {"value": 1e-5 * k, "low": None, "high": None}
        return dict.fromkeys(("crps_fair", "mse_sample", "pe"), entry)

    figure = realism_distortion({"ddim": {k: scores(k) for k in (8, 2)}}, "calls")
    assert figure.axes[0].lines[0].get_xdata().tolist() == [2, 8]
    assert figure.axes[3].lines[0].get_ydata() == pytest.approx([0.02, 0.08])
    assert [t.get_text() for t in figure.axes[3].texts] == ["2", "8"]
