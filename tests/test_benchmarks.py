"""The splits, and what the benchmark scripts share."""

from __future__ import annotations

import sys
from itertools import chain, combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from rain_samples import area, axis, rain, record

from stvd.catalog import list_sources
from stvd.engine import Engine
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score
from stvd.statistics import Statistics, gather

ROOT = Path(__file__).parents[1]
SPLITS = yaml.safe_load((ROOT / "benchmarks" / "splits.yaml").read_text())
CATALOG = yaml.safe_load((ROOT / "catalogs" / "shared.yaml").read_text())


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])


# --- splits


BENCHMARKS = ["radar", "gcm", "gcm_t63"]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_no_event_is_in_two_parts(benchmark: str):
    parts = SPLITS[benchmark]
    assert set(parts) == {"train", "validation", "test"}
    for one, other in combinations(parts.values(), 2):
        assert not set(one) & set(other)


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_event_is_a_source_or_a_file_with_its_command(benchmark: str):
    known = list_sources(ROOT / "catalogs" / "shared.yaml")
    for event in chain.from_iterable(SPLITS[benchmark].values()):
        assert event in (SPLITS["commands"] if event.endswith(".nc") else known)


def test_only_records_that_are_not_there_are_simulated(tmp_path: Path):
    from records import missing

    commands = missing("gcm", "train", tmp_path)
    assert list(commands) == [e for e in SPLITS["gcm"]["train"] if e.endswith(".nc")]
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/train_jul.nc").touch()
    left = missing("gcm", "train", tmp_path)
    assert {*commands} - {*left} == {"runs/train_jul.nc"}
    for event, arguments in left.items():
        assert arguments[:2] == ["simulate", event]
    assert missing("gcm", "validation") == {}  # it lies in the project


def test_parts_of_one_file_are_hours_apart():
    events = [e for part in ("train", "validation", "test") for e in SPLITS["radar"][part]]
    periods = sorted(
        tuple(np.datetime64(p[k]) for k in ("start", "end"))
        for e in events
        if (p := CATALOG["entries"][e]["metadata"]["stvd"].get("period"))
    )
    assert len(periods) == 4
    gaps = [later[0] - earlier[1] for earlier, later in pairwise(periods)]
    assert min(gaps) >= np.timedelta64(2, "h")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_recipe_trains_on_the_training_part_alone(benchmark: str):
    recipe = yaml.safe_load((ROOT / "recipes" / f"{benchmark}.yaml").read_text())
    assert set(recipe["sources"]) <= set(SPLITS[benchmark]["train"])


# --- results that are kept


def sums(seed: int) -> Statistics:
    truth = record(rain((8, 8, 8), seed=0), axis())
    members = record(rain((2, 8, 8, 8), seed=seed), axis())
    config = ScoreConfig(block_frames=2, scales=(1,), lags=(1,))
    return gather(members, truth, area(np.ones((8, 8))), config=config, axis=axis())


def test_kept_sums_give_the_same_scores(tmp_path: Path):
    from held_out import read_statistics, write_statistics

    one = sums(1)
    write_statistics(one, tmp_path / "sums.nc")
    again = read_statistics(tmp_path / "sums.nc")
    assert (again.config, again.members) == (one.config.model_copy(), 2)
    assert score(one, replicates=9).equals(score(again, replicates=9))


def test_the_score_of_several_seeds_is_their_mean_where_it_is_linear():
    from held_out import averaged

    runs = [sums(1), sums(2)]
    each = [float(score(s)["crps"].sel(estimate="value")) for s in runs]
    both = averaged(runs)
    assert float(score(both)["crps"].sel(estimate="value")) == pytest.approx(np.mean(each))
    assert both.frames == 8


def test_a_number_with_its_interval_in_the_unit_of_a_column():
    from held_out import cell, markdown

    assert cell({"value": 2.5e-5, "low": 2e-5, "high": 3e-5}, 1e-5) == "2.5 (2–3)"
    assert cell({"value": 2.5e-5, "low": None, "high": None}, 1e-5) == "2.5"
    assert cell(None) == "–"
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


# --- annual statistics


def test_bias_and_crps_are_in_per_cent_of_the_mean_of_the_truth():
    from annual import compared

    weights = area(np.array([[1.0, 3.0]]))
    truth = record(np.array([[[10.0, 20.0]]]), axis()).isel(time=0)  # mean 17.5
    members = record(np.array([[[[12.0, 20.0]]], [[[14.0, 20.0]]]]), axis()).isel(time=0)
    bias, crps = compared(members, truth, weights)
    assert bias == pytest.approx(100 * (3 / 4) / 17.5)
    assert crps == pytest.approx(100 * ((3 - 2 / 2) / 4) / 17.5)  # fair: E|x − y| − E|x − x'| / 2
    one = 100 * (2 / 4) / 17.5
    assert compared(members.isel(member=[0]), truth, weights) == pytest.approx((one, one))


def test_a_record_counted_in_spans_says_what_the_whole_says_and_is_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from annual import Year

    coordinates = {
        "time": ("time", 10_800 * np.arange(48) + 5400, {"units": "seconds since 2001-01-01"}),
        "y": ("y", 1e5 * np.arange(16), {"units": "m"}),
        "x": ("x", 1e5 * np.arange(16), {"units": "m"}),
    }
    pr = (("time", "y", "x"), rain((48, 16, 16)), {"units": "kg m-2 s-1"})
    file = tmp_path / "days.nc"
    xr.Dataset({"pr": pr}, coordinates, {"time_step_seconds": 10_800}).to_netcdf(file)
    models, grid = {"stvd": ROOT / "checkpoints/radar"}, area(np.ones((16, 16)))
    found = {}
    for span in (48, 20):
        year = Year(file, span, 2, tmp_path / str(span), {"windows": "independent", "steps": 2})
        for frames in year.spans(None):
            year.count(frames, models, Engine(device="cpu"))
        found[span] = {n: year.annual(n, year.spans(None), grid) for n in ("truth", "stvd")}
    for name in ("truth", "stvd"):
        whole, parts = found[48][name], found[20][name]
        assert whole.sizes["member"] == {"truth": 1, "stvd": 2}[name]
        xr.testing.assert_identical(whole, parts)
    capsys.readouterr()
    year.count("0:20", models, Engine(device="cpu"))
    assert not capsys.readouterr().out


def test_cells_without_a_value_are_in_neither_mean():
    from annual import compared

    weights = area(np.array([[1.0, 3.0]]))
    truth = record(np.array([[[10.0, np.nan]]]), axis()).isel(time=0)
    found = record(np.array([[[[11.0, 9.0]]]]), axis()).isel(time=0)
    assert compared(found, truth, weights) == pytest.approx((10.0, 10.0))


# --- ablations


def test_a_variant_is_the_recipe_with_its_changes():
    from ablations import Ablations

    study = Ablations.model_validate(
        yaml.safe_load((ROOT / "benchmarks/ablations.yaml").read_text())
    )
    base, other = study.recipe_of("base", 3), study.recipe_of("no_mean_loss", 3)
    assert base.training.seed == 3
    assert base.preset == "tiny"
    assert base.start is None
    assert other.training == base.training.model_copy(update={"mean_weight": 0.0})
    assert [study.sampler_of(name).steps for name in study.variants] == [10] * len(study.variants)


def test_variants_that_differ_in_sampling_share_a_model():
    from ablations import Ablations

    study = Ablations(
        recipe="recipes/radar_start.yaml",
        variants={"base": None, "ddim": {"sampler": {"solver": "ddim"}}, "bare": {"mask": False}},
        scored=({"event": "radar_radolan_val"},),
    )
    assert [study.trained_as(v) for v in study.variants] == ["base", "base", "bare"]
    assert study.sampler_of("ddim").solver == "ddim"


def test_nested_changes_meet_and_none_takes_away():
    from ablations import merged

    one = {"a": {"x": 1, "y": 2}, "b": 3}
    assert merged(one, {"a": {"y": 5, "x": None}, "c": 4}) == {"a": {"y": 5}, "b": 3, "c": 4}
    assert one == {"a": {"x": 1, "y": 2}, "b": 3}


# --- planning


def test_a_few_partitions_are_planned_by_the_benchmark(tmp_path: Path):
    from planning import planning

    found = planning(tmp_path, 40)
    assert found["partitions"] == 40
    assert found["seconds"] < 60
    assert found["peak_bytes"] > 0
