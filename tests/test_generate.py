"""One partition from source to product, as `stvd.generate` runs it: no Prefect, no MLflow."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from stvd.checkpoint import Checkpoint, CheckpointError, GridContract
from stvd.conditioning import Channels, Standard
from stvd.contract import CatalogError
from stvd.engine import Engine
from stvd.faults import FAULTS, spoil
from stvd.generate import changed_today, examine, fingerprint_today, produce
from stvd.lattice import TimeAxis
from stvd.layout import write_record
from stvd.model import preset
from stvd.partition import Partition
from stvd.plausibility import ImplausibleSample
from stvd.product import (
    FingerprintConflict,
    NotPublished,
    Product,
    ProductMismatch,
    ProductNotFound,
    open_product,
)
from stvd.product.quarantine import drop, quarantined, release
from stvd.production import Production
from stvd.quality import QualityError, QualityPolicy
from stvd.source import Source
from stvd.synthetic import synthetic_coarse, synthetic_grid
from stvd.transforms import RainTransform

SHAPE = (32, 64)
CELL = 10
FRAMES = 30


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """An untrained model of every channel that a fault can spoil."""
    torch.manual_seed(0)
    scales = {"ps": (98e3, 8e3), "prw": (20, 15), "tas": (280, 15), "orog": (300, 800)}
    channels = Channels(
        rain=RainTransform(s=0.5),
        predictors=("ps", "prw", "tas"),
        statics=("orog",),
        scales={name: Standard(mean=m, std=s) for name, (m, s) in scales.items()},
    )
    folder = tmp_path_factory.mktemp("checkpoint")
    grid = GridContract(factor=8, step_seconds=(10_800, 10_800), spacing_km=(1, 2000))
    Checkpoint.create("test", preset("tiny", channels.channels).build(), channels, grid, {}, folder)
    return folder


def record(path: Path, calendar="standard", frames=FRAMES, fault=None, tiles=None) -> Source:
    axis = TimeAxis(epoch="2001-02-20T00:00:00", step_seconds=10_800, calendar=calendar)
    coarse = synthetic_coarse(axis, range(frames), SHAPE, tiles=tiles)
    grid = synthetic_grid(SHAPE, tiles=tiles)
    if fault:
        coarse, grid = spoil(fault, coarse, grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_record(path, coarse, grid)
    return Source.find(str(path), Path())


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Source:
    return record(tmp_path_factory.mktemp("record") / "synthetic.nc")


def production(product: Path, source: Source, checkpoint: Path, **changes) -> Production:
    settings = {"members": 2, "steps": 2, "cell_frames": CELL, "device": "cpu"} | changes
    return Production(product=str(product), source=source, checkpoint=str(checkpoint), **settings)


def run(how: Production, order=None, **options) -> list:
    partitions = [item.partition for item in how.plan() if item.runs]
    outcomes = []
    for partition in order(partitions) if order else partitions:
        examine(how, partition)
        outcomes.append(produce(how, partition, **options))
    return outcomes


def rain(how: Production) -> np.ndarray:
    return open_product(how.product).pr.values


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, source, checkpoint) -> np.ndarray:
    how = production(tmp_path_factory.mktemp("whole") / "product", source, checkpoint)
    run(how)
    return rain(how)


def test_partitions_in_any_order_give_the_same_product(tmp_path, source, checkpoint, undisturbed):
    how = production(tmp_path / "product", source, checkpoint)
    run(how, order=lambda partitions: partitions[::-1])
    assert undisturbed.shape == (2, FRAMES, *SHAPE)
    assert np.array_equal(rain(how), undisturbed)


def test_one_partition_equals_several(tmp_path, source, checkpoint, undisturbed):
    how = production(tmp_path / "product", source, checkpoint, cell_frames=FRAMES)
    assert len(run(how)) == 1
    assert np.array_equal(rain(how), undisturbed)


def test_running_twice_is_free_and_other_numbers_are_refused(tmp_path, source, checkpoint):
    how = production(tmp_path / "product", source, checkpoint)
    first = run(how)
    assert all(outcome.published for outcome in first)
    assert not any(item.runs for item in how.plan())
    again = produce(how, how.plan()[0].partition)
    assert not again.published
    assert again.snapshot == first[0].snapshot

    before = rain(how)
    other = how.model_copy(update={"seed": 1})
    with pytest.raises(FingerprintConflict, match="seed"):
        produce(other, how.plan()[0].partition)
    assert np.array_equal(rain(how), before)
    produce(other, how.plan()[0].partition, replace=True)
    assert not np.array_equal(rain(how)[:, :CELL], before[:, :CELL])
    assert np.array_equal(rain(how)[:, CELL:], before[:, CELL:])


def test_a_run_killed_at_any_moment_ends_with_the_same_product(
    tmp_path, source, checkpoint, undisturbed
):
    how = production(tmp_path / "product", source, checkpoint)
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "import test_generate as t; from stvd.production import Production\n"
        "how = Production.model_validate_json(sys.argv[3]); print('ready', flush=True); t.run(how)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", script, str(here.parent), str(here), how.model_dump_json()]
    moments = np.random.default_rng(0).uniform(0, 3, 4)
    for moment in moments:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        try:
            published = open_product(how.product)
        except ProductNotFound:
            continue
        # what is there is whole and right
        frames = published.sizes["time"]
        assert frames % CELL == 0
        assert np.array_equal(published.pr.values, undisturbed[:, :frames])
    run(how)
    assert np.array_equal(rain(how), undisturbed)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_calendars_of_models_work_throughout(tmp_path, checkpoint, calendar):
    how = production(tmp_path / "product", record(tmp_path / "record.nc", calendar), checkpoint)
    run(how)
    product = open_product(how.product)
    assert product.time.dt.calendar == calendar
    # frame 72 would be 1 March; 8 frames a day from 20 February, so 30 frames end on the 23rd
    assert str(product.time.values[-1]) == "2001-02-23 16:30:00"


def test_faces_of_a_cubed_sphere_work_throughout(tmp_path, checkpoint):
    how = production(
        tmp_path / "product", record(tmp_path / "record.nc", frames=10, tiles=6), checkpoint
    )
    run(how)
    assert open_product(how.product).pr.dims == ("member", "time", "tile", "y", "x")


def rerun(folder: Path, checkpoint: Path, fault: str) -> None:
    """Ask for every partition again, from a record of the same name that has a fault."""
    how = production(folder / "product", record(folder / "synthetic.nc", fault=fault), checkpoint)
    for item in how.plan(mode="replace"):
        examine(how, item.partition)
        produce(how, item.partition, replace=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_named_and_the_product_untouched(tmp_path, source, checkpoint, fault):
    good = production(tmp_path / "product", source, checkpoint)
    first = Partition(source=source.name, frames=range(CELL), members=range(2))
    produce(good, first)
    before = Product.open(good.product).snapshot
    message = {
        "missing_variable": "ps", "wrong_units": "units", "wrong_dimensions": "tas",
        "non_monotonic_time": "order", "duplicate_time": "2001-02-20T16:30:00 2 times",
        "missing_time": "lacks 1 of 10 frames in 1 gap, the first at 2001-02-20T15:00:00",
        "wrong_step": "advances by 21600 s and not by 10800 s",
        "shifted_time": "1350 s off the middle of a frame",
        "wrong_grid": "22.5 degrees off the centre of its 8 × 8 fine cells",
        "wrong_factor": "factor", "nan": "tas", "inf": "prw", "negative_rain": "below 0",
        "absurd_rate": "pr", "all_zero": "pr", "unsupported_calendar": "calendar",
    }[fault]  # fmt: skip
    refusals = (QualityError, CatalogError, ProductMismatch, ValueError)
    with pytest.raises(refusals, match=message):
        rerun(tmp_path, checkpoint, fault)
    assert Product.open(good.product).snapshot == before


def test_a_bad_frame_stops_the_partitions_that_read_it_alone(tmp_path, checkpoint):
    how = production(tmp_path / "product", record(tmp_path / "bad.nc", fault="nan"), checkpoint)
    stopped = []
    for item in how.plan():
        try:
            examine(how, item.partition)
            produce(how, item.partition)
        except QualityError as error:
            stopped.append(str(error))
    assert len(stopped) == 2  # frame 5 is in the first of three, and near enough to the second
    assert all("tas at 2001-02-20T15:00:00" in said for said in stopped)
    assert "beside 000010-000020_m000-002" in stopped[1]
    assert list(Product.open(how.product).ledger()) == ["000020-000030_m000-002"]


def test_a_fault_in_the_frames_ahead_names_itself(tmp_path, checkpoint):
    source = record(tmp_path / "r.nc", frames=24)
    how = production(tmp_path / "p", source, checkpoint, cell_frames=8)
    cell = how.plan()[0].partition
    assert how.reads(cell) == range(17)
    examine(how, cell)
    with xr.open_dataset(source.catalog, decode_times=False) as good:
        bad = good.load()
    bad["tas"][10, 1, 2] = np.nan
    bad.to_netcdf(source.catalog)
    with pytest.raises(QualityError, match=r"2001-02-21T06.*beside 000000-000008_m000-002"):
        examine(production(tmp_path / "p", Source.find(source.catalog, Path()), checkpoint), cell)


def test_a_record_that_grew_makes_its_open_end_stale_and_replaces_nothing(tmp_path, checkpoint):
    short = record(tmp_path / "a" / "record.nc", frames=24)
    how = production(tmp_path / "p", short, checkpoint, cell_frames=8)
    waiting = how.model_copy(update={"open_end": False})
    assert [item.action for item in waiting.plan()] == ["run", "wait", "wait"]
    assert "frames 16-25" in waiting.plan()[1].reason
    run(how)
    stored = Product.open(how.product)
    ends = [entry.provenance["open_end"] for entry in stored.ledger().values()]
    assert ends == [False, True, True]

    long = how.model_copy(update={"source": record(tmp_path / "b" / "record.nc", frames=40)})
    planned = long.plan(fingerprint_of=partial(fingerprint_today, long))
    assert [item.action for item in planned] == ["skip", "stale", "stale", "run", "run"]
    with pytest.raises(FingerprintConflict, match=r"reads is \[0,24,1\] there and \[0,25,1\] now"):
        produce(long, planned[1].partition)


def test_another_model_is_told_of_without_reading_any_input(tmp_path, source, checkpoint):
    how = production(tmp_path / "product", source, checkpoint)
    first = how.plan()[0].partition
    produce(how, first)
    (entry,) = Product.open(how.product).ledger().values()
    assert changed_today(how)(entry) == ""
    old = Checkpoint.load(checkpoint)
    network = preset("tiny", old.channels.channels).build()  # of other weights
    Checkpoint.create("test", network, old.channels, old.card.grid, {}, tmp_path / "new")
    new = how.model_copy(update={"checkpoint": str(tmp_path / "new"), "seed": 1})

    def never(partition):
        raise AssertionError(f"{partition.id} was read")

    for mode, action in (("missing", "stale"), ("stale", "replace")):
        item = new.plan(mode=mode, changed=changed_today(new), fingerprint_of=never)[0]
        assert (item.partition, item.action) == (first, action)
        told = f"its model {old.digest[:12]} is {Checkpoint.load(tmp_path / 'new').digest[:12]} now"
        assert f"{told}, its seed 0 is 1 now" in item.reason


def test_a_product_keeps_its_windows(tmp_path, source, checkpoint):
    how = production(tmp_path / "product", source, checkpoint, windows="independent")
    produce(how, how.plan()[0].partition)
    again = production(tmp_path / "product", source, checkpoint)
    assert again.spec.windows == "independent"
    assert again.reads(again.plan()[1].partition) == range(CELL, 2 * CELL)
    other = production(tmp_path / "product", source, checkpoint, windows="overlapping")
    with pytest.raises(ProductMismatch, match="windows"):
        produce(other, again.plan()[1].partition)


def test_implausible_samples_are_set_aside_and_not_published(tmp_path, source, checkpoint):
    policy = QualityPolicy(highest_sample=1e-9)  # no rain at all is believed
    how = production(tmp_path / "product", source, checkpoint, quality=policy)
    cell = how.plan()[0].partition
    with pytest.raises(ImplausibleSample, match=r"rain reaches .* above 1e-09") as refusal:
        produce(how, cell)
    branch = refusal.value.branch
    assert branch.startswith(f"quarantine.{cell.id}.")
    assert branch in str(refusal.value)
    product = Product.open(how.product)
    assert product.ledger() == {}
    assert open_product(how.product).sizes["time"] == 0

    held = quarantined(how.product)[branch]
    assert held.findings == refusal.value.findings
    assert held.findings[0].startswith("2001-02-20T00:00:00/")  # the first block
    shown = open_product(how.product, snapshot=held.snapshot)
    assert shown.sizes["time"] == CELL
    with pytest.raises(ImplausibleSample, match=branch):  # known by now, not sampled again
        produce(how, cell)

    undoubted = production(tmp_path / "undoubted", source, checkpoint)
    produce(undoubted, cell)
    reference = release(how.product, branch)
    assert product.ledger()[cell.id].fingerprint == held.fingerprint
    np.testing.assert_array_equal(open_product(how.product).pr, open_product(undoubted.product).pr)
    record = product.provenance(cell.id)["provenance"]
    assert record["implausible"] == list(held.findings)
    assert record["released_from"] == held.snapshot
    assert reference.snapshot == product.snapshot
    assert quarantined(how.product) == {}
    product.verify(cell.id)
    assert not produce(how, cell).published


def test_what_is_dropped_is_sampled_again(tmp_path, source, checkpoint):
    policy = QualityPolicy(highest_sample=1e-9)
    how = production(tmp_path / "product", source, checkpoint, quality=policy)
    cell = how.plan()[0].partition
    with pytest.raises(ImplausibleSample) as refusal:
        produce(how, cell)
    with pytest.raises(
        NotPublished, match=f"no.such is not in quarantine .* {refusal.value.branch}"
    ):
        drop(how.product, "no.such")
    drop(how.product, refusal.value.branch)
    assert quarantined(how.product) == {}
    assert produce(production(tmp_path / "product", source, checkpoint), cell).published


def test_impossible_samples_are_not_even_kept(tmp_path, source, checkpoint, monkeypatch):
    import stvd.generate

    def spoilt(*args, **options):
        for block in downscale(*args, **options):
            block.pr[0, 0, 0, 0] = np.nan
            yield block

    downscale = stvd.generate.downscale
    how = production(tmp_path / "product", source, checkpoint)
    monkeypatch.setattr(stvd.generate, "downscale", spoilt)
    with pytest.raises(ImplausibleSample, match="1 samples are not finite"):
        produce(how, how.plan()[0].partition)
    assert Product.open(how.product).ledger() == {}
    assert quarantined(how.product) == {}


def test_memory_that_runs_out_makes_the_batch_smaller_and_is_recorded(
    tmp_path, source, checkpoint, monkeypatch
):
    import stvd.generate

    def scarce(*args, engine, **options):
        budgets.append(engine.memory_gib)
        if len(budgets) < 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        yield from downscale(*args, engine=engine, **options)

    def resolve(engine):
        gib = engine.memory_gib or machine["gib"]
        return Engine(device="cpu", precision="float32", memory_gib=gib)

    downscale, budgets, machine = stvd.generate.downscale, [], {"gib": 4.0}
    monkeypatch.setattr(Engine, "resolve", resolve)
    plenty, little = (production(tmp_path / n, source, checkpoint) for n in ("plenty", "little"))
    cell = plenty.plan()[0].partition
    produce(plenty, cell)
    monkeypatch.setattr(stvd.generate, "downscale", scarce)
    machine["gib"] = 0.02
    produce(little, cell)
    assert budgets == [0.02, 0.01, 0.005]
    plans = [
        Product.open(h.product).provenance(cell.id)["provenance"]["batch"] for h in (plenty, little)
    ]
    assert plans[1]["members"] * plans[1]["tiles"] < plans[0]["members"] * plans[0]["tiles"]
    one, other = (open_product(how.product).pr.values for how in (plenty, little))
    np.testing.assert_allclose(other, one, atol=1e-4 * one.std())


def test_a_partition_that_another_run_published_meanwhile_is_not_an_error(
    tmp_path, source, checkpoint, monkeypatch
):
    import stvd.generate

    def overtaken(*args, **options):
        monkeypatch.setattr(stvd.generate, "downscale", downscale)
        assert produce(how, cell).published
        yield from downscale(*args, **options)

    downscale = stvd.generate.downscale
    how = production(tmp_path / "product", source, checkpoint)
    cell = how.plan()[0].partition
    monkeypatch.setattr(stvd.generate, "downscale", overtaken)
    outcome = produce(how, cell)
    assert not outcome.published
    assert outcome.snapshot == Product.open(how.product).ledger()[cell.id].snapshot


def test_replacing_repairs_a_partition_with_the_same_numbers(tmp_path, source, checkpoint):
    how = production(tmp_path / "product", source, checkpoint)
    run(how)
    before, snapshot = rain(how), Product.open(how.product).snapshot
    assert produce(how, how.plan()[1].partition, replace=True).published
    assert Product.open(how.product).snapshot != snapshot
    assert np.array_equal(rain(how), before)


def test_a_model_that_does_not_fit_is_refused_before_work(tmp_path, source, checkpoint):
    how = production(tmp_path / "product", source, checkpoint)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        run(how.model_copy(update={"checkpoint": str(tmp_path)}))
    with pytest.raises(ProductNotFound):
        Product.open(how.product)


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/read.md"])
def test_the_lines_that_open_a_product_in_the_docs(tmp_path, source, checkpoint, monkeypatch, page):
    run(production(tmp_path / "runs/products/gcm_demo", source, checkpoint, cell_frames=FRAMES))
    code = (Path(__file__).parents[1] / page).read_text().split("```python\n")[1].split("```")[0]
    lines = [line for line in code.splitlines() if line]
    assert len(lines) == 3
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec("\n".join(lines[:2]), names)
    mean = eval(lines[2], names)
    assert mean.sizes == {"time": FRAMES, "y": SHAPE[0], "x": SHAPE[1]}
    assert float(mean.max()) > 0


PEAK = """
import resource, sys
sys.path[:0] = sys.argv[1:3]
import torch; torch.set_num_threads(1)
import test_generate as t; from stvd.production import Production
t.run(Production.model_validate_json(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_year_costs_no_more_memory_than_a_month(tmp_path, checkpoint):
    here = Path(__file__).parent
    peaks = []
    for months in (1, 12):
        source = record(tmp_path / f"{months}.zarr", "360_day", frames=240 * months)
        how = production(
            tmp_path / f"{months}", source, checkpoint, cell_frames=None, steps=1, members=1
        )
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(here.parent), str(here), how.model_dump_json()],
            stdout=subprocess.PIPE, text=True, check=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"},
        )  # fmt: skip
        peaks.append(int(done.stdout.split()[-1]))
        assert len(Product.open(how.product).ledger()) == months
    assert peaks[1] <= 1.10 * peaks[0], f"{peaks[0] / 1024:.0f} and {peaks[1] / 1024:.0f} MiB"
