"""RainFARM of pysteps: what it keeps, and what is done around it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import xarray as xr
from rain_samples import axis, rain, record

from stvd.baselines import Downscaler
from stvd.baselines import rainfarm as module
from stvd.baselines.rainfarm import RainFARM, RainFARMError, global_generator
from stvd.grid import weighted_block_mean

pytest.importorskip("pysteps", reason="the extra `baselines` is not installed")


def grid(rows: int, columns: int, *, periodic: int = 0) -> xr.Dataset:
    """Rows towards the pole have smaller cells."""
    area = np.cos(np.linspace(0, 1.2, rows))[:, None] * np.ones(columns)
    return xr.Dataset({"areacella": (("y", "x"), area)}, attrs={"periodic_x": periodic})


def coarse(values: np.ndarray, first: int = 0) -> xr.Dataset:
    lattice = axis()
    frames = range(first, first + len(values))
    field = record(values.astype(np.float32), lattice, frames)
    return field.to_dataset(name="pr").assign_attrs(
        epoch=lattice.epoch, step_seconds=lattice.step_seconds, calendar=lattice.calendar
    )


def sample(values: np.ndarray, members: range = range(2), seed: int = 7, **options) -> xr.DataArray:
    rows, columns = (8 * n for n in values.shape[-2:])
    fine = grid(rows, columns, periodic=options.pop("periodic", 0))
    first = options.pop("first", 0)
    return RainFARM(**options).sample(coarse(values, first), fine, members=members, seed=seed)


@pytest.mark.parametrize("shape", [(4, 6), (7, 5), (2, 2), (1, 9)])
@pytest.mark.parametrize("periodic", [0, 1])
def test_area_weighted_block_means_are_kept(shape: tuple[int, int], periodic: int) -> None:
    values = rain((3, *shape), seed=1, dry=0.4)
    out = sample(values, periodic=periodic)
    assert out.dims == ("member", "time", "y", "x")
    assert out.dtype == np.float32
    area = grid(*out.shape[-2:])["areacella"].values
    means = weighted_block_mean(out.values, area, 8)
    assert means == pytest.approx(np.stack([values, values]), rel=1e-5)
    assert float(out.min()) >= 0


def test_it_is_pysteps_where_cells_are_equal() -> None:
    values = rain((1, 6, 8), seed=2, dry=0.2)
    fine = grid(48, 64)
    fine["areacella"][:] = 1.0
    ours = RainFARM().sample(coarse(values, first=5), fine, members=range(3, 4), seed=11)
    with global_generator(11, 3, 0, 5):
        theirs = module._downscale()(values[0].astype(np.float32).astype(float), 8)
    assert ours.values[0, 0] == pytest.approx(theirs, rel=1e-5)


def test_a_frame_of_a_member_is_the_same_wherever_it_is_asked_for() -> None:
    values = rain((4, 5, 6), seed=3)
    whole = sample(values, members=range(3), first=-2)
    piece = sample(values[2:], members=range(1, 3), first=0)
    assert np.array_equal(whole.isel(member=slice(1, 3), time=slice(2, 4)), piece)
    assert whole["member"].values.tolist() == [0, 1, 2]
    again = sample(values[[2, 2]], members=range(1), first=0)
    assert not np.array_equal(again[0, 0], again[0, 1])
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole, sample(values, members=range(3), first=-2, seed=8))


def test_lazy_records_and_tiles() -> None:
    values = np.stack([rain((3, 4, 5), seed=4)] * 2, axis=1)
    field = coarse(values[:, 0]).drop_vars("pr")
    field = field.assign(pr=(("time", "tile", "y", "x"), values, {"units": "kg m-2 s-1"}))
    fine = grid(32, 40).expand_dims(tile=2)
    out = RainFARM().sample(field, fine, members=range(2), seed=0)
    assert out.dims == ("member", "time", "tile", "y", "x")
    assert not np.array_equal(out[:, :, 0], out[:, :, 1])  # equal rain, its own noise
    lazy = RainFARM().sample(field.chunk(time=2), fine, members=range(2), seed=0)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), out)


def test_dry_and_even_frames_and_missing_cells() -> None:
    values = rain((3, 5, 6), seed=5, dry=0.0)
    values[0] = 0.0
    values[1] = 1e-4
    values[2, 1, 2] = np.nan
    out = sample(values).values
    assert (out[:, 0] == 0).all()
    assert out[:, 1].std() > 0  # rain of one rate has no slope of its own
    gone = np.zeros((40, 48), bool)
    gone[8:16, 16:24] = True
    assert np.array_equal(np.isnan(out[:, 2]), np.stack([gone, gone]))
    assert np.isnan(sample(np.full((1, 4, 4), np.nan))).all()


@pytest.mark.parametrize("kernel", ["gaussian", "tophat"])
def test_a_kernel_hides_the_edges_of_blocks(kernel: str) -> None:
    values = rain((1, 8, 8), seed=6, dry=0.0)

    def jump_at_edges(out: xr.DataArray) -> float:
        steps = np.abs(np.diff(np.log(out.values), axis=-1))
        return float(steps[..., 7::8].mean() / steps.mean())

    members = range(8)
    assert jump_at_edges(sample(values, members)) > 1.5
    assert jump_at_edges(sample(values, members, kernel=kernel)) < 1.2


def test_the_global_generator_comes_back_as_it_was() -> None:
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.RandomState(3).rand(2)
    first = np.random.rand()  # noqa: NPY002
    sample(rain((1, 4, 4)))
    with pytest.raises(RuntimeError), global_generator(0, 0, 0, 0):
        raise RuntimeError
    assert [first, np.random.rand()] == expected.tolist()  # noqa: NPY002


def test_importing_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    module._downscale.cache_clear()
    for name in ("pysteps", "pysteps.downscaling.rainfarm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module._downscale()
    assert capfd.readouterr().out == ""


def test_without_pysteps_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    module._downscale.cache_clear()
    for name in [m for m in sys.modules if m.split(".")[0] == "pysteps"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pysteps", None)
    system: Downscaler = RainFARM()
    with pytest.raises(RainFARMError, match=r"pip install 'stvd\[baselines\]'"):
        system.sample(coarse(rain((1, 4, 4))), grid(32, 32), members=range(1), seed=0)
