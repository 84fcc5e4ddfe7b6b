"""Quantile mapping against distributions known beforehand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from rain_samples import rain, record

from stvd.baselines import Downscaler
from stvd.baselines.interpolation import interpolate, refine
from stvd.baselines.quantile_mapping import FILE, QuantileMapping, fit_quantile_mapping
from stvd.event import Event

TABLE = QuantileMapping(
    factor=8, events=("a",), interpolated=(0.0, 1e-5, 3e-5), observed=(0.0, 0.0, 6e-5)
)


def event(coarse: np.ndarray, truth: np.ndarray, name: str = "a", periodic: bool = False) -> Event:
    return Event(
        name=name,
        coarse=coarse[:, None].astype(np.float32),
        truth=truth.astype(np.float32),
        statics=None,
        step_seconds=3600,
        spacing_km=1.0,
        periodic_x=periodic,
    )


def fine_grid(rows: int, columns: int) -> xr.Dataset:
    return xr.Dataset({"areacella": (("y", "x"), np.ones((rows, columns)))})


def test_the_map_is_linear_between_quantiles_and_keeps_its_last_ratio() -> None:
    # Half-way from 1e-5 to 3e-5 is half-way from 0 to 6e-5; beyond 3e-5 rain is doubled.
    rates = np.array([0.0, 5e-6, 2e-5, 3e-5, 1e-3, np.nan])
    assert TABLE.forward(rates) == pytest.approx([0, 0, 3e-5, 6e-5, 2e-3, np.nan], nan_ok=True)


@pytest.mark.parametrize("periodic", [False, True])
def test_mapped_training_data_have_the_fine_distribution(periodic: bool) -> None:
    blocks = rain((40, 6, 8), seed=1, dry=0.3)
    truth = rain((40, 48, 64), seed=2, dry=0.7)
    mapping = fit_quantile_mapping([event(blocks, truth, periodic=periodic)])
    mapped = mapping.forward(refine(blocks, factor=8, periodic_x=periodic))
    assert (mapped > 1e-8).mean() == pytest.approx((truth > 1e-8).mean(), abs=0.005)
    levels = [0.8, 0.9, 0.99, 0.999, 0.9999]
    assert np.quantile(mapped, levels) == pytest.approx(np.quantile(truth, levels), rel=0.01)
    assert mapped.max() == pytest.approx(truth.max(), rel=0.03)


def test_events_weigh_the_same_and_missing_cells_nothing() -> None:
    # 1 frame of 2e-4 and 3 frames of 4e-4: half of the distribution each.
    light = event(np.full((1, 2, 2), 1e-4), np.full((1, 16, 16), 2e-4), "light")
    blocks, truth = np.full((3, 2, 2), 3e-4), np.full((3, 16, 16), 4e-4)
    truth[:, :8] = np.nan
    blocks[:, 1, 1] = np.nan
    heavy = event(blocks, truth, "heavy")
    mapping = fit_quantile_mapping([light, heavy])
    assert mapping.events == ("light", "heavy")
    mapped = mapping.forward(np.array([1e-4, 3e-4]))
    assert mapped == pytest.approx([2e-4, 4e-4], rel=0.01)
    # 0.49 of 0.5 lies at the lower rate, so the steep piece of the map is between the two.
    assert mapping.forward(np.array([2e-4]))[0] < 3.9e-4


def test_the_file_is_read_as_written_and_strictly(tmp_path: Path) -> None:
    assert TABLE.write(tmp_path) == tmp_path / FILE
    assert QuantileMapping.read(tmp_path) == QuantileMapping.read(tmp_path / FILE) == TABLE
    content = json.loads((tmp_path / FILE).read_text())
    for change, message in [
        ({"levels": 3}, "levels"),
        ({"format": 2}, "format"),
        ({"observed": [0.0, 1e-5]}, "no pairs"),
        ({"observed": [0.0, 2e-5, 1e-5]}, "must not fall"),
        ({"interpolated": [0.0, 3e-5, 3e-5]}, "increase strictly"),
        ({"interpolated": [1e-6, 2e-5, 3e-5]}, "dry stays dry"),
    ]:
        (tmp_path / FILE).write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match=message):
            QuantileMapping.read(tmp_path)
    with pytest.raises(ValueError, match="does not exist: fit it"):
        QuantileMapping.read(tmp_path / "nowhere.json")


def test_a_table_is_small_and_reaches_far(tmp_path: Path) -> None:
    mapping = fit_quantile_mapping([event(rain((8, 8, 8), dry=0.0), rain((8, 64, 64), dry=0.0))])
    assert 400 < len(mapping.interpolated) <= 501
    assert mapping.write(tmp_path).stat().st_size < 20_000


def test_it_maps_the_interpolation_lazily_or_not() -> None:
    system: Downscaler = TABLE
    values = rain((4, 3, 4), seed=3)
    values[0, 1, 1] = np.nan
    coarse, grid = record(values.astype(np.float32)).to_dataset(name="pr"), fine_grid(24, 32)
    out = system.sample(coarse, grid, members=range(5), seed=0)
    assert out.dims == ("member", "time", "y", "x")
    assert out.dtype == np.float32
    assert out.sizes["member"] == 1
    assert out.values == pytest.approx(TABLE.forward(interpolate(coarse, grid).values), nan_ok=True)
    lazy = system.sample(coarse.chunk(time=2), grid, members=range(5), seed=0)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), out)


def test_what_cannot_be_mapped_is_refused() -> None:
    with pytest.raises(ValueError, match="factor 4: the quantile mapping was fitted at factor 8"):
        TABLE.sample(
            record(rain((1, 4, 4))).to_dataset(name="pr"),
            fine_grid(16, 16),
            members=range(1),
            seed=0,
        )
    dry = event(np.zeros((1, 2, 2)), np.zeros((1, 16, 16)), "drought")
    with pytest.raises(ValueError, match="does not rain in drought"):
        fit_quantile_mapping([dry])
    other = event(np.zeros((1, 4, 4)), np.zeros((1, 16, 16)))
    with pytest.raises(ValueError, match=r"different factors \[4, 8\]"):
        fit_quantile_mapping([dry, other])
