"""The main job with the shipped checkpoints, on real radar rain and on the global simulated record.

The records lie beside the checkout; where they do not, there is nothing to test on.
"""

from pathlib import Path

import numpy as np
import pytest

from stvd.checkpoint import Card, Checkpoint
from stvd.diagnostics import diagnose
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.generate import examine, produce
from stvd.partition import Partition
from stvd.product import open_product
from stvd.production import Production, checkpoint_for
from stvd.sampling import SamplerConfig
from stvd.source import Source

ROOT = Path(__file__).parents[1]
RECORDS = ROOT.parent / "shared" / "data"
CATALOGS = ROOT / "catalogs"

pytestmark = pytest.mark.skipif(not RECORDS.is_dir(), reason="no shared/data beside the checkout")


@pytest.fixture
def smaller(tmp_path: Path) -> Path:
    """The catalog of the records with a quarter of each MeteoSwiss region."""
    text = (CATALOGS / "shared.yaml").read_text()
    quarter = text.replace("{y: [128, 512], x: [192, 576]}", "{y: [224, 416], x: [288, 480]}")
    assert quarter != text
    catalog = tmp_path / "smaller.yaml"
    catalog.write_text(quarter)
    return catalog


@pytest.mark.parametrize(
    ("name", "model"), [("radar_mch_20170131", "radar"), ("gcm_jan", "gcm"), ("gcm_demo", "gcm")]
)
def test_a_real_record_is_downscaled_and_beats_interpolation(tmp_path, name, model, smaller):
    radar = name.startswith("radar")
    source = Source.find(name, smaller, str(RECORDS)) if radar else Source.find(name, CATALOGS)
    checkpoint = checkpoint_for(source, ROOT / "checkpoints")
    assert checkpoint.name == model
    window = range(10, 15)
    how = Production(
        product=str(tmp_path / name), source=source, checkpoint=str(checkpoint),
        members=2, steps=3, cell_frames=5, device="cpu",
    )  # fmt: skip
    cell = Partition(source=name, frames=window, members=range(2))
    assert examine(how, cell) == []
    produce(how, cell)

    product = open_product(how.product)
    made = diagnose(
        product,
        truth=source.truth(window),
        coarse=source.coarse(window),
        grid=source.grid(),
        axis=source.axis,
        window=5,
        replicates=2,
    ).metrics()
    assert made["stvd/crps_fair"] < 0.9 * made["bicubic/crps"]
    assert 0.5 < made["stvd/spread_skill"] < 2.5
    assert made["stvd/block_violation"] < 1e-2


def test_the_global_record_is_a_circle_with_every_predictor():
    source = Source.find("gcm_jan", CATALOGS)
    channels = Card.read(ROOT / "checkpoints" / "gcm").channels
    assert source.info.periodic_x
    assert len(channels.predictors) == 12
    assert set(channels.predictors) <= set(source.info.variables)
    assert channels.statics == ("orog", "land_fraction")


def test_the_held_out_radar_events_were_not_trained_on():
    events = Card.read(ROOT / "checkpoints" / "radar").training["events"]
    assert not [name for name in events if "mch" in name]


def test_tiles_of_real_rain_meet_without_a_seam(smaller):
    """Rain of 48 by 192 cells in four tiles, relative to itself in one piece."""
    source = Source.find("radar_mch_20150515", smaller, str(RECORDS))
    part = {"y": slice(0, 6)}
    coarse = source.coarse(range(20)).isel(part).load()
    grid = source.grid().isel(y=slice(0, 48))
    radar = Checkpoint.load(ROOT / "checkpoints" / "radar")
    seams = {}
    for name, tile, halo in (("whole", 512, 16), ("apart", 48, 0), ("joined", 48, 16)):
        sampler = SamplerConfig(steps=4, windows="independent", tile=tile, halo=halo)
        (block,) = downscale(
            radar, coarse, grid, frames=range(5, 10), members=range(1), seed=1, sampler=sampler,
            engine=Engine(device="cpu", precision="float32"),
        )  # fmt: skip
        change = np.abs(np.diff(block.pr, axis=-1)).mean((0, 1, 2))
        seam = np.arange(1, change.size + 1) % 48 == 0
        seams[name] = change[seam].mean() / change[~seam].mean()
    assert (
        abs(seams["joined"] / seams["whole"] - 1) < 0.05 < abs(seams["apart"] / seams["whole"] - 1)
    )
