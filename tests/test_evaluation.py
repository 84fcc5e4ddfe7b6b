"""Scoring of a checkpoint and baselines on files of the known layout, gaps and all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from stvd.baselines.quantile_mapping import QuantileMapping
from stvd.checkpoint import Checkpoint, CheckpointError, GridContract
from stvd.conditioning import Channels, Standard, Texture
from stvd.contract import CatalogError
from stvd.diagnostics.evaluation_figures import figures
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.evaluation import Evaluation, evaluate, score_config, sha256_of, write
from stvd.event_file import EventFile, read_event
from stvd.lattice import WindowLattice
from stvd.model import preset
from stvd.plausibility import ImplausibleSample
from stvd.sampling import SamplerConfig, SolverChoice
from stvd.source import Source
from stvd.systems import records, sampled
from stvd.transforms import RainTransform

ENGINE = Engine(
    device="cpu", precision="float32", memory_gib=1e-6
)  # one window, one member at a time
SAMPLER = SamplerConfig(steps=2)
SHAPE = (24, 40)  # three coarse rows: not what the model's levels divide
FAST = {"members": 2, "sampler": SAMPLER, "engine": ENGINE, "replicates": 20}


def checkpoint(
    folder: Path, *, predictors: tuple[str, ...] = (), statics=("areacella",)
) -> Checkpoint:
    """A model that nobody trained, for 5-minute frames on about 1 km."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    scales = {"areacella": Standard(mean=1e6, std=1e6), "orog": Standard(mean=0, std=1000)}
    scales |= {"tas": Standard(mean=280, std=10)}
    names = (*predictors, *statics)
    channels = Channels(
        rain=RainTransform(s=0.5),
        predictors=predictors,
        statics=statics,
        scales={k: v for k, v in scales.items() if k in names},
    )
    network = preset("tiny", channels.channels, 3).build()
    grid = GridContract(factor=8, step_seconds=(300, 300), spacing_km=(1, 1))
    return Checkpoint.create("test", network, channels, grid, {"trained": False}, folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return checkpoint(tmp_path_factory.mktemp("model"))


def ensemble(model: Checkpoint, event: EventFile) -> xr.DataArray:
    """A member, on a record of any grid and time step."""
    runs, _ = records(model, event, members=1, sampler=SAMPLER, engine=ENGINE, systems=["stvd"])
    return runs["stvd"]


def rain(frames: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Rain that moves, dry in places, kg m-2 s-1."""
    y, x = np.meshgrid(*map(np.arange, shape), indexing="ij")
    t = np.arange(frames)[:, None, None]
    field = np.cos(2 * np.pi * (y + t) / 17) + np.cos(2 * np.pi * (x - t) / 23)
    noise = np.random.default_rng(0).gamma(2.0, 0.5, (frames, *shape))
    return np.clip(field, 0, None) * noise / 3600


def radar_file(path: Path, values: np.ndarray, **extra: tuple) -> Path:
    """A radar record as in the shared data: int16 steps of 0.01 mm h-1, 1-D y and x in m, 5 minutes."""
    _, ny, nx = values.shape
    time = {"units": "seconds since 1970-01-01", "calendar": "standard"}
    file = xr.Dataset(
        {"pr": (("time", "y", "x"), values, {"units": "kg m-2 s-1"})} | extra,
        coords={
            "time": ("time", 1.5e9 + 300.0 * np.arange(len(values)), time),
            "y": ("y", 500.0 + 1000 * np.arange(ny), {"units": "m"}),
            "x": ("x", 500.0 + 1000 * np.arange(nx), {"units": "m"}),
        },
        attrs={"time_step_seconds": 300},
    )
    packed = {"dtype": "int16", "scale_factor": 0.01 / 3600, "_FillValue": -1}
    file.to_netcdf(path, encoding={"pr": packed})
    return path


def paired_file(path: Path, frames: int = 4, shape: tuple[int, int] = (16, 64)) -> Path:
    """A global model record: fine pr and orog on lat and lon, pr_coarse and tas on lat_c and lon_c."""
    lat, lon = (
        -84 + 168 * (np.arange(shape[0]) + 0.5) / shape[0],
        360 * np.arange(shape[1]) / shape[1],
    )
    weight = np.cos(np.deg2rad(lat))[:, None] * np.ones(shape)

    def blocks(field: np.ndarray) -> np.ndarray:
        return field.reshape(*field.shape[:-2], shape[0] // 8, 8, shape[1] // 8, 8).sum((-3, -1))

    values = rain(frames, shape)
    coarse = ("time", "lat_c", "lon_c")
    north, east = {"units": "degrees_north"}, {"units": "degrees_east"}
    time = {"units": "hours since 2000-01-05", "calendar": "noleap"}
    xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), values, {"units": "kg m-2 s-1"}),
            "pr_coarse": (
                coarse,
                blocks(values * weight) / blocks(weight),
                {"units": "kg m-2 s-1"},
            ),
            "tas": (coarse, 280 + 1e4 * blocks(values), {"units": "K"}),
            "orog": (("lat", "lon"), 100 * np.ones(shape), {"units": "m"}),
        },
        coords={
            "time": ("time", 1.5 + 3.0 * np.arange(frames), time),
            "lat": ("lat", lat, north),
            "lon": ("lon", lon, east),
            "lat_c": ("lat_c", lat.reshape(-1, 8).mean(1), north),
            "lon_c": ("lon_c", lon.reshape(-1, 8).mean(1), east),
        },
        attrs={"time_step_seconds": 10_800},
    ).to_netcdf(path)
    return path


@pytest.fixture
def gaps(tmp_path: Path) -> EventFile:
    """7 frames; without data are one fine cell of block (0, 0) always, and all of frame 2."""
    values = rain(7)
    values[:, 3, 5] = np.nan
    values[2] = np.nan
    return read_event(radar_file(tmp_path / "gaps.nc", values))


# --- what is scored


def test_a_block_that_lacks_a_cell_is_not_scored(gaps: EventFile):
    valid = gaps.valid.values
    assert valid.shape == (7, 3, 5)
    assert not valid[:, 0, 0].any()
    assert not valid[2].any()
    assert valid.sum() == 6 * (15 - 1)
    seen = np.isfinite(gaps.truth.values)
    assert np.array_equal(seen, valid.repeat(8, axis=1).repeat(8, axis=2))
    assert np.array_equal(np.isfinite(gaps.scored_coarse().values), valid)


def test_the_coarse_record_is_the_block_mean_as_it_was_packed(gaps: EventFile):
    truth = gaps.truth.values[0, 8:16, 16:24]
    assert gaps.coarse["pr"].values[0, 1, 2] == pytest.approx(truth.mean(), rel=1e-6)
    steps = truth * 3600 / 0.01
    assert steps == pytest.approx(np.round(steps), abs=1e-3)


def test_a_pair_is_scored_where_both_are_there(tmp_path: Path):
    path = paired_file(tmp_path / "pair.nc")
    with xr.open_dataset(path, decode_times=False) as file:
        changed = file.load()
    changed["pr_coarse"][1, 0, 3] = np.nan
    changed["pr"][0, 9, 0] = np.nan
    changed.to_netcdf(tmp_path / "holes.nc")
    event = read_event(tmp_path / "holes.nc")
    missing = np.argwhere(~event.valid.values).tolist()
    assert missing == [[0, 1, 0], [1, 0, 3]]
    assert event.periodic_x
    assert "tas" in event.coarse


def test_the_error_of_the_bicubic_is_that_of_the_valid_cells(gaps: EventFile, model: Checkpoint):
    found = evaluate(model, gaps, systems=["bicubic"])
    made = found.runs["bicubic"].values[0].astype(float)
    truth, seen = gaps.truth.values, np.isfinite(gaps.truth.values)
    error = ((made - truth)[seen] ** 2).mean()  # cells of equal area
    assert found.table()["bicubic"]["mse_sample"]["value"] == pytest.approx(error, rel=1e-5)


def test_what_lies_under_a_gap_has_no_part_in_the_scores(tmp_path: Path, model: Checkpoint):
    tables = []
    for hidden in (0.0, 20 / 3600):
        values = rain(5)
        values[:, :8, :8] = hidden
        values[:, 0, 0] = np.nan
        event = read_event(radar_file(tmp_path / f"{hidden}.nc", values))
        tables.append(evaluate(model, event, **FAST).table())
    assert tables[0] == tables[1]


# --- records of any size


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 11])
def test_any_number_of_frames(tmp_path: Path, model: Checkpoint, frames: int):
    event = read_event(radar_file(tmp_path / "event.nc", rain(frames)))
    found = evaluate(model, event, **FAST)
    for system, table in found.table().items():
        assert table["crps_fair"]["value"] > 0, system
        assert table["mse_mean"]["units"] == "kg2 m-4 s-2"
    assert found.table()["stvd"]["block_violation"]["value"] < 1e-5
    assert found.document()["data"]["scored_values"] == frames * 24 * 40


@pytest.mark.parametrize("shape", [(8, 8), (8, 56), (40, 16)])
def test_any_size_that_the_factor_divides(
    tmp_path: Path, model: Checkpoint, shape: tuple[int, int]
):
    event = read_event(radar_file(tmp_path / "event.nc", rain(4, shape)))
    table = evaluate(model, event, **FAST).table()
    assert set(table) == {"stvd", "bicubic", "rainfarm"}


def test_the_seams_of_pieces_are_scored(tmp_path: Path, model: Checkpoint):
    event = read_event(radar_file(tmp_path / "event.nc", rain(2, (16, 72))))
    sampler = SAMPLER.model_copy(update={"tile": 32, "halo": 8})
    # 72 cells are three pieces of 24, and 16 one piece
    assert score_config(model, event, sampler).tile_edges_x == (24, 48)
    assert score_config(model, event, sampler).tile_edges_y == ()
    options = FAST | {"sampler": sampler, "systems": ["stvd", "bicubic"]}
    for table in evaluate(model, event, **options).table().values():
        assert table["tile_seam_ratio"]["value"] > 0


def test_a_circle_is_scored_where_it_closes(tmp_path: Path, model: Checkpoint):
    event = read_event(paired_file(tmp_path / "pair.nc"))
    assert score_config(model, event, SAMPLER).tile_edges_x == (0,)


def test_a_size_that_it_does_not_divide_is_refused_with_a_remedy(tmp_path: Path):
    path = radar_file(tmp_path / "event.nc", rain(2, (20, 33)))
    with pytest.raises(ValueError, match=r"20 cells along y and 33 .* --region 0:16,0:32"):
        read_event(path)
    assert read_event(path, region="0:16,0:32").truth.shape == (2, 16, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"region": "0:16"}, "not a rectangle"),
        ({"region": "0:12,0:16"}, "not at multiples"),
        ({"region": "0:64,0:16"}, "not inside"),
        ({"frames": "3"}, "not a range"),
        ({"frames": "2:9"}, "frames 0:7"),
    ],
    ids=lambda v: str(v) if isinstance(v, dict) else "",
)
def test_a_part_that_is_not_there_is_refused(tmp_path: Path, options: dict, said: str):
    path = radar_file(tmp_path / "event.nc", rain(7))
    with pytest.raises(ValueError, match=said):
        read_event(path, **options)


def test_a_region_is_cut_before_anything_else(tmp_path: Path):
    path = radar_file(tmp_path / "event.nc", rain(3))
    whole, part = read_event(path), read_event(path, region="8:24,16:40")
    np.testing.assert_array_equal(part.truth, whole.truth[:, 8:24, 16:40])
    np.testing.assert_array_equal(part.coarse["pr"], whole.coarse["pr"][:, 1:3, 2:5])


def test_a_record_without_any_valid_block_is_refused(tmp_path: Path):
    values = rain(2)
    values[:, ::8, ::8] = np.nan
    with pytest.raises(CatalogError, match="nothing can be scored"):
        read_event(radar_file(tmp_path / "event.nc", values))


def test_a_record_with_a_break_is_refused(tmp_path: Path):
    path = radar_file(tmp_path / "event.nc", rain(4))
    with xr.open_dataset(path, decode_times=False) as file:
        file.isel(time=[0, 1, 3]).to_netcdf(tmp_path / "broken.nc")
    with pytest.raises(CatalogError, match="no unbroken record"):
        read_event(tmp_path / "broken.nc")


@pytest.mark.parametrize("which", ["fine", "coarse"])
def test_rain_below_zero_is_refused_but_for_a_trace(tmp_path: Path, which: str):
    path = paired_file(tmp_path / "pair.nc")
    name = {"fine": "pr", "coarse": "pr_coarse"}[which]
    with xr.open_dataset(path, decode_times=False) as file:
        rain = file[name].copy(deep=True)
        rain[1, 0, 0] = -1e-6  # 0.0036 mm/h
        file.assign({name: rain}).to_netcdf(tmp_path / "trace.nc")
        rain[2, 1, 1] = -1e-4
        file.assign({name: rain}).to_netcdf(tmp_path / "negative.nc")
    event = read_event(tmp_path / "trace.nc")
    assert (event.truth if which == "fine" else event.coarse["pr"])[1, 0, 0] == 0
    with pytest.raises(CatalogError, match=f"1 values of {which} pr are below 0, down to -0.0001"):
        read_event(tmp_path / "negative.nc")


def test_a_static_field_with_holes_is_refused_by_those_who_use_it(
    tmp_path: Path, model: Checkpoint
):
    path = paired_file(tmp_path / "pair.nc")
    with xr.open_dataset(path, decode_times=False) as file:
        heights = file["orog"].copy(deep=True)
        heights[3, 4] = np.nan
        file.assign(orog=heights).to_netcdf(tmp_path / "sea.nc")
    event = read_event(tmp_path / "sea.nc")
    wants = checkpoint(tmp_path / "model", predictors=("tas",), statics=("orog",))
    with pytest.raises(ValueError, match="orog of sea_grid has 1 of 1024 values missing"):
        ensemble(wants, event).load()
    assert np.isfinite(ensemble(model, event)).all()


def test_a_network_that_breaks_down_is_no_even_rain(tmp_path: Path, model: Checkpoint):
    event = read_event(paired_file(tmp_path / "pair.nc"))
    broken = checkpoint(tmp_path / "model", predictors=("tas",), statics=("orog",))
    event.coarse["tas"][2, 1, 3] = np.inf
    with pytest.raises(
        ImplausibleSample, match=r"test gives values that are not finite for .* of pair"
    ):
        ensemble(broken, event).load()


# --- the numbers of the product


def test_the_ensemble_is_that_of_a_product(tmp_path: Path, model: Checkpoint):
    path = radar_file(tmp_path / "event.nc", rain(10))
    source = Source.find(str(path), tmp_path)
    record = source.info.frames
    blocks = downscale(
        model, source.coarse(record), source.grid(), frames=record, members=range(2), seed=5,
        sampler=SAMPLER, engine=ENGINE,
    )  # fmt: skip
    product = np.concatenate([b.pr for b in blocks], axis=1)
    pr = sampled(model, read_event(path), 2, 5, SAMPLER, ENGINE)
    assert np.array_equal(pr.values, product)
    # a part of the record, read in pieces, out of order, and a frame by itself
    part = sampled(model, read_event(path, frames="3:9"), 2, 5, SAMPLER, ENGINE)
    for piece in (slice(0, 2), slice(2, 6), slice(1, 4)):
        assert np.array_equal(part.isel(time=piece).values, product[:, 3:9][:, piece])
    assert np.array_equal(part.isel(time=4, member=1).values, product[1, 7])
    assert np.array_equal(part.isel(time=[5, 0], y=slice(2, 9)).values, product[:, [8, 3], 2:9])


def test_every_checkpoint_is_sampled_as_it_says_but_for_what_is_asked(
    tmp_path: Path, model: Checkpoint
):
    event = read_event(radar_file(tmp_path / "event.nc", rain(5)))
    told = model.card.model_copy(update={"sampler": SolverChoice(solver="ddim", steps=4)})
    runs, _ = records(
        model, event, members=1, sampler={"steps": 3, "solver": None}, engine=ENGINE,
        systems=("stvd", "other"), rivals={"other": replace(model, card=told)},
    )  # fmt: skip
    for name, solver in (("stvd", "dpmpp2m"), ("other", "ddim")):
        how = SamplerConfig(solver=solver, steps=3)
        assert np.array_equal(runs[name].values, sampled(model, event, 1, 0, how, ENGINE).values)
    assert not np.array_equal(runs["stvd"].values, runs["other"].values)


def test_a_part_is_sampled_with_all_the_frames_that_its_calls_reach(
    tmp_path: Path, model: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    path = radar_file(tmp_path / "event.nc", rain(200, (16, 16)))
    part, whole = read_event(path, frames="100:102"), read_event(path)
    given: list[xr.Dataset] = []

    def looked_at(_, coarse, *__, frames, **___):
        given.append(coarse)
        yield SimpleNamespace(pr=np.zeros((1, len(frames), 16, 16), np.float32))

    monkeypatch.setattr("stvd.systems.downscale", looked_at)
    for calls in (2, 40, 80):
        how = SamplerConfig(steps=calls)
        reads = WindowLattice(length=model.window, rule=how.windows).reads(part.frames, calls)
        sampled(model, part, 1, 5, how, ENGINE).load()
        xr.testing.assert_identical(given[-1].load(), whole.coarse.sel(time=given[-1]["time"]))
        found = part.axis.locate(given[-1]["time"])
        assert {*reads} & {*part.record} <= {*found.tolist()}
    assert given[0] is part.coarse
    assert given[1].sizes["time"] < given[2].sizes["time"] == 200


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """Ranges of frames, as they are sampled."""
    found: list[range] = []

    def counted(*arguments, **options):
        for block in downscale(*arguments, **options):
            found.append(block.frames)
            yield block

    monkeypatch.setattr("stvd.systems.downscale", counted)
    return found


def test_frames_are_sampled_once_and_let_go(model: Checkpoint, tmp_path: Path, made: list[range]):
    event = read_event(radar_file(tmp_path / "event.nc", rain(14)))
    pr = sampled(model, event, 1, 0, SAMPLER, ENGINE)
    pieces = [pr.isel(time=slice(k, k + 3)).values for k in range(0, 14, 3)]
    assert sum(map(len, made)) == 14
    assert sum(p.shape[1] for p in pieces) == 14
    assert pr.variable._data.array.kept.shape[1] < 8


def test_scoring_samples_every_frame_once(model: Checkpoint, gaps: EventFile, made: list[range]):
    evaluate(model, gaps, **FAST | {"systems": ["stvd"]})
    assert [k for frames in made for k in frames] == list(range(7))


# --- what is said


def test_a_checkpoint_names_what_the_file_lacks(tmp_path: Path):
    wants = checkpoint(tmp_path / "model", predictors=("tas",), statics=("orog",))
    event = read_event(radar_file(tmp_path / "event.nc", rain(3)))
    with pytest.raises(
        CheckpointError, match="event has no tas, orog, which checkpoint test needs"
    ):
        evaluate(wants, event)
    assert "bicubic" in evaluate(wants, event, systems=["bicubic"]).table()


def test_predictors_orography_and_another_step_are_taken_and_noted(tmp_path: Path):
    wants = checkpoint(tmp_path / "model", predictors=("tas",), statics=("orog",))
    found = evaluate(wants, read_event(paired_file(tmp_path / "pair.nc")), **FAST)
    assert found.table()["stvd"]["crps"]["value"] > 0
    assert any("frames of 10800 s, trained at 300 to 300 s" in note for note in found.notes)


@pytest.mark.parametrize(
    ("asked", "said"), [(1.54, True), (0.8, True), (1.2, False), (None, False)]
)
def test_a_texture_beyond_the_training_is_noted(tmp_path: Path, asked: float | None, said: bool):
    torch.manual_seed(0)
    channels = Channels(
        rain=RainTransform(s=0.5),
        scales={name: Standard(mean=1, std=0.2) for name in ("roughness", "texture")},
        roughness=True,
        texture=Texture(low=0.83, high=1.43, usual=(1.0, 0.0)),
    )
    grid = GridContract(factor=8, step_seconds=(300, 300), spacing_km=(1, 1))
    network = preset("tiny", channels.channels, 3).build()
    told = Checkpoint.create("told", network, channels, grid, {"trained": False}, tmp_path)
    event = read_event(radar_file(tmp_path / "event.nc", rain(3)))
    if asked is not None:
        event.coarse.attrs["texture"] = asked
    notes = evaluate(told, event, **FAST | {"systems": ["stvd"]}).notes
    assert any("was trained on 0.83 to 1.43: it is told the nearest" in n for n in notes) == said


def test_the_quantile_mapping_lies_beside_the_checkpoint(tmp_path: Path, model: Checkpoint):
    event = read_event(radar_file(tmp_path / "event.nc", rain(3)))
    without = evaluate(model, event, systems=["bicubic", "quantile_mapping"], folder=tmp_path)
    assert set(without.table()) == {"bicubic"}
    assert "no quantile_mapping.json" in without.notes[0]
    QuantileMapping(factor=8, events=("a",), interpolated=(0, 1e-3), observed=(0, 2e-3)).write(
        tmp_path
    )
    found = evaluate(model, event, systems=["bicubic", "quantile_mapping"], folder=tmp_path)
    twice = 2 * found.runs["bicubic"].values
    np.testing.assert_allclose(found.runs["quantile_mapping"].values, twice, rtol=1e-6)
    assert found.notes == ()


def test_a_system_that_is_not_known_is_refused(gaps: EventFile, model: Checkpoint):
    with pytest.raises(ValueError, match="no system magic: choose of stvd, bicubic"):
        evaluate(model, gaps, systems=["magic"])


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, model: Checkpoint) -> Evaluation:
    path = radar_file(tmp_path_factory.mktemp("long") / "long.nc", rain(60, (16, 24)))
    return evaluate(model, read_event(path), **FAST)


def test_every_score_has_an_interval_around_it_where_the_record_is_long(long: Evaluation):
    for system, table in long.table().items():
        assert {"crps", "mse_sample", "mse_mean", "emd", "pe", "sae", "lsd"} <= set(table)
        for name in ("crps", "mse_sample", "emd"):
            entry = table[name]
            assert entry["low"] <= entry["value"] <= entry["high"], (system, name)


def test_the_comparison_is_the_ratio_of_the_scores(long: Evaluation):
    table, compared = long.table(), long.comparison()
    assert set(compared) == {"bicubic", "rainfarm"}
    ratio = table["stvd"]["crps_fair"]["value"] / table["rainfarm"]["crps_fair"]["value"]
    entry = compared["rainfarm"]["crps_fair"]
    assert entry["value"] == pytest.approx(ratio)
    assert entry["low"] <= entry["value"] <= entry["high"]


def test_a_dry_record_is_scored_too(tmp_path: Path, model: Checkpoint):
    values = np.zeros((3, *SHAPE))
    values[:, 0, 0] = np.nan  # the weights of what is scored do not add up to 1
    found = evaluate(model, read_event(radar_file(tmp_path / "dry.nc", values)), **FAST)
    assert found.table()["stvd"]["crps"]["value"] == 0
    assert "crps" not in found.comparison()["bicubic"]
    assert {"members", "variance", "ranks"} == set(figures(found))


def test_figures_of_an_evaluation(long: Evaluation):
    assert {"members", "variance", "spectra", "histogram", "ranks"} == set(figures(long))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "scores.json"
    write({"scores": 1}, path)
    with pytest.raises(ValueError, match="JSON compliant"):
        write({"scores": float("nan")}, path)
    assert json.loads(path.read_text()) == {"scores": 1}
    assert list(tmp_path.iterdir()) == [path]


# --- the command


def test_the_command_writes_scores_and_says_what_is_wrong(tmp_path: Path, monkeypatch):
    from flows.cli import app

    checkpoint(tmp_path / "models" / "mine")
    monkeypatch.setenv("STVD_CHECKPOINTS", str(tmp_path / "models"))
    path = radar_file(tmp_path / "event.nc", rain(6))
    out = tmp_path / "scores.json"
    common = [
        "evaluate",
        "--checkpoint",
        "mine",
        "--data",
        str(path),
        "--members",
        "2",
        "--steps",
        "2",
    ]
    done = CliRunner().invoke(
        app, [*common, "--json", str(out), "--figures", str(tmp_path / "figures")]
    )
    assert done.exit_code == 0, done.output
    assert "crps_fair" in done.output
    document = json.loads(out.read_text())
    assert {"value", "low", "high", "units"} == set(document["scores"]["stvd"]["crps_fair"])
    assert document["data"]["sha256"] == sha256_of(path)
    assert document["checkpoint"]["name"] == "test"
    assert document["members"] == 2
    assert document["sampler"]["steps"] == 2
    assert (tmp_path / "figures" / "members.png").stat().st_size > 1000

    wrong = CliRunner().invoke(app, [*common, "--region", "0:12,0:8"])
    assert wrong.exit_code == 1
    assert "not at multiples" in wrong.output
