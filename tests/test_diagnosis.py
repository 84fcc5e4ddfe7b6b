"""One diagnosis of a product: what it holds, how it is written, what it refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from map_samples import texts
from matplotlib.figure import Figure
from rain_samples import axis, rain, record

from stvd.diagnostics import Diagnosis, diagnose, write
from stvd.diagnostics.report import at_times_of, time_axis_of
from stvd.grid import coarsen_area_weighted
from stvd.lattice import TimeAxis

ROWS, COLUMNS, FACTOR = 32, 48, 8


def static() -> xr.Dataset:
    lat = np.linspace(-85, 85, ROWS)
    land = np.zeros((ROWS, COLUMNS))
    land[10:20, 10:30] = 1
    weights = np.broadcast_to(np.cos(np.deg2rad(lat))[:, None], (ROWS, COLUMNS))
    return xr.Dataset(
        {"areacella": (("y", "x"), weights), "land_fraction": (("y", "x"), land)},
        coords={"lat": ("y", lat), "lon": ("x", np.arange(COLUMNS) * 360.0 / COLUMNS)},
        attrs={"periodic_x": 1, "factor": FACTOR},
    )


def on_grid(field: xr.DataArray, grid: xr.Dataset, lattice: TimeAxis) -> xr.Dataset:
    half = lattice.step / 2
    bounds = [[t - half, t + half] for t in field.indexes["time"]]
    return (
        field.assign_coords(lat=grid["lat"], lon=grid["lon"])
        .to_dataset(name="pr")
        .assign_coords(time_bnds=(("time", "bnds"), np.array(bounds, field["time"].dtype)))
    )


def made(count: int, lattice: TimeAxis) -> dict[str, xr.Dataset]:
    """A product as a reader opens it, with its truth, input and grid."""
    grid = static()
    product = on_grid(record(rain((3, count, ROWS, COLUMNS)), lattice), grid, lattice)
    product = product.drop_vars("member").assign_coords(realization=("member", [0, 1, 2]))
    product = product.chunk(time=10, member=1).assign_coords(areacella=grid["areacella"])
    product.attrs = {"title": "sample: an ensemble", "product_snapshot": "ABC", "Conventions": "x"}
    truth = on_grid(record(rain((count, ROWS, COLUMNS), 1), lattice), grid, lattice)
    coarse = coarsen_area_weighted(truth["pr"], grid["areacella"], FACTOR)
    return {
        "product": product,
        "truth": truth,
        "coarse": coarse.to_dataset(name="pr"),
        "grid": grid,
    }


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    data = made(44, axis())  # 5.5 days
    product = data.pop("product")
    return diagnose(product, **data, window=4, replicates=20)


def test_tables_scores_and_figures_are_there(diagnosis: Diagnosis) -> None:
    assert set(diagnosis.tables) == {"period_to_date", "exceedance"}
    assert set(diagnosis.scores) == {"stvd", "bicubic"}
    assert set(diagnosis.figures) == {
        "panel", "variance", "spectra", "intensity", "rank_histogram", "area_mean", "autocorrelation",
        "consistency", "scores_by", "exceedance_rx1day_2001_to_date", "exceedance_rx1step_2001_to_date",
        "pr_total_2001_to_date", "rx1day_2001_to_date", "rx1step_2001_to_date", "indices_2001_to_date",
    }  # fmt: skip
    assert set(diagnosis.animations) == {"animation"}
    assert set(diagnosis.lists) == {"skill"}
    assert diagnosis.years == [2001]
    assert all(isinstance(f, Figure) for f in diagnosis.figures.values())
    assert diagnosis.name == "sample"
    assert diagnosis.period == "2001-01-01T00:00:00/2001-01-06T12:00:00"
    assert diagnosis.notes[0].startswith("4 frames of days")


def test_metrics_suit_mlflow(diagnosis: Diagnosis) -> None:
    metrics = diagnosis.metrics()
    assert all(re.fullmatch(r"[\w\-./: ]{1,250}", key) for key in metrics)
    assert all(type(v) is float and np.isfinite(v) for v in metrics.values())
    assert {"stvd/crps", "bicubic/crps", "stvd/seam_ratio", "2001_to_date/rx1day"} <= metrics.keys()
    assert "stvd/crps_low" in diagnosis.metrics(intervals=True)


def test_interpolation_conserves_less_and_is_smoother_than_white_rain(diagnosis: Diagnosis) -> None:
    # The samples are white noise: right spectrum, no relation to the input.
    metrics = diagnosis.metrics()
    assert metrics["stvd/lsd"] < 1 < metrics["bicubic/lsd"]
    assert metrics["stvd/block_violation"] > metrics["bicubic/block_violation"]
    assert metrics["stvd/mse_mean"] > metrics["bicubic/mse_mean"]


def test_scores_of_the_truth_are_perfect() -> None:
    data = made(16, axis())
    perfect = data["product"].assign(pr=data["truth"]["pr"].expand_dims(member=3))
    metrics = diagnose(perfect, **{k: data[k] for k in ("truth", "coarse", "grid")}).metrics()
    for name in ("crps", "mse_sample", "emd", "pe", "sae", "lsd"):
        assert metrics[f"stvd/{name}"] == pytest.approx(0, abs=1e-12), name
    assert metrics["stvd/block_violation"] == pytest.approx(0, abs=1e-6)
    assert metrics["stvd/fss_1mmh_8cells"] == pytest.approx(1)


def test_a_product_alone_has_tables_spectra_and_no_scores() -> None:
    lattice = axis("2015-05-15T15:45", 300)
    found = diagnose(made(12, lattice)["product"])
    assert found.metrics().keys() == {
        f"2015_to_date/{n}" for n in ("pr_total", "pr_mean", "rx1step")
    }
    assert "panel" not in found.figures
    said = texts(found.figures["variance"])
    assert {"variance of the members", "variance (mm² h⁻²)"} <= set(said)
    assert said[0].startswith("sample · 2015-05-15 ")
    assert said[0].endswith(" UTC · 5-minute mean")
    assert {"spectra", "intensity", "area_mean", "rx1step_2015_to_date"} <= set(found.figures)


def test_written_whole(diagnosis: Diagnosis, tmp_path: Path) -> None:
    files = write(diagnosis, tmp_path / "reports" / "sample")
    assert files.folder == tmp_path / "reports" / "sample"
    on_disk = {p.name for p in files.folder.iterdir()}
    kinds = (files.tables, files.figures, files.pages)
    assert on_disk == {p.name for kind in kinds for p in kind.values()}
    assert list(files.pages) == ["report_2001"]
    assert [p.name for p in files.folder.parent.iterdir()] == ["sample"]
    with xr.open_dataset(files.tables["period_to_date.nc"]) as table:
        assert table.attrs["Conventions"] == "CF-1.11"
        assert table.attrs["product_snapshot"] == "ABC"
        assert float(table["pr_total_area"].mean()) == pytest.approx(
            diagnosis.metrics()["2001_to_date/pr_total"]
        )
    record_ = json.loads(files.tables["scores.json"].read_text())
    crps = record_["scores"]["stvd"]["crps"]
    assert crps.keys() == {"value", "low", "high", "units"}
    assert crps["low"] <= crps["value"] <= crps["high"]
    assert record_["scores"]["stvd"]["fss_1mmh_8cells"]["units"] == "1"


def test_a_failed_write_leaves_what_was_there(diagnosis: Diagnosis, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    folder.mkdir()
    (folder / "old.txt").write_text("old")

    class Broken(Figure):
        def draw(self, renderer: object) -> None:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write(
            Diagnosis("a", "b", diagnosis.tables, diagnosis.scores, {"broken": Broken()}, ()),
            folder,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["sample"]
    assert (folder / "old.txt").read_text() == "old"
    write(Diagnosis("a", "b", diagnosis.tables, {}, {}, ()), folder)
    assert not (folder / "old.txt").exists()


def test_times_that_the_truth_lacks_are_named() -> None:
    data = made(16, axis())
    with pytest.raises(ValueError, match=r"truth has no frame at 4 of 16 times .*2001-01-02T13:30"):
        at_times_of(data["truth"]["pr"].isel(time=slice(0, 12)), data["product"]["pr"], "truth")


def test_a_longer_truth_is_cut_to_the_product() -> None:
    data = made(16, axis())
    part = data["product"]["pr"].isel(time=[2, 3, 7])
    cut = at_times_of(data["truth"]["pr"], part, "truth")
    assert (cut["time"].values == part["time"].values).all()


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_the_lattice_is_that_of_the_first_step(calendar: str) -> None:
    lattice = axis("2001-02-03", 10_800, calendar)
    product = made(3, lattice)["product"]
    assert time_axis_of(product) == axis("2001-02-03T00:00:00", 10_800, calendar)
    with pytest.raises(ValueError, match="no time_bnds"):
        time_axis_of(product.drop_vars("time_bnds"))
    declared = product.assign_attrs(epoch="2000-01-01", step_seconds=10_800, calendar=calendar)
    assert time_axis_of(declared).epoch == "2000-01-01"
