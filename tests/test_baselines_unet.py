"""The deterministic UNet: its size, its objective, and a training of a few steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from rain_samples import axis, rain, record

from stvd.baselines import Downscaler
from stvd.baselines.unet import (
    EQUAL_SIZE,
    Regression,
    RegressionCard,
    RegressionConfig,
    UNetBaseline,
    train_unet,
)
from stvd.channel_scales import fit_channels
from stvd.checkpoint import CARD, Checkpoint, CheckpointError, GridContract, count_parameters
from stvd.conditioning import Channels
from stvd.event import Event
from stvd.model import preset
from stvd.recipe import Recipe
from stvd.training_config import TrainingConfig
from stvd.transforms import MM_PER_HOUR, RainTransform

ROOT = Path(__file__).parents[1]
CONFIG = TrainingConfig(
    steps=4, batch=2, crop=16, warmup=1, save_every=2, precision="float32", learning_rate=1e-3
)


def event() -> Event:
    truth = rain((8, 32, 48), seed=1, dry=0.2).astype(np.float32)
    blocks = truth.reshape(8, 4, 8, 6, 8).mean((2, 4))
    tas = np.random.default_rng(2).normal(280, 1, blocks.shape)
    return Event(
        name="storm",
        coarse=np.stack([blocks, tas], axis=1).astype(np.float32),
        truth=truth,
        statics=np.ones((1, 32, 48), np.float32),
        step_seconds=10_800,
        spacing_km=1.0,
        periodic_x=False,
    )


def trained(out: Path, config: TrainingConfig = CONFIG) -> UNetBaseline:
    torch.set_num_threads(1)
    events = [event()]
    crops = config.crops(events, 3, 8, roughness=False)
    channels = fit_channels(crops, ["tas"], ["orog"], seed=0, mask=True)
    model = RegressionConfig.equal_to("tiny", channels.channels, 3)
    return train_unet("test", model, channels, events, config, out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("unet")
    trained(path)
    return path


def inputs(values: np.ndarray, first: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    lattice = axis()
    field = record(values.astype(np.float32), lattice, range(first, first + len(values)))
    coarse = field.to_dataset(name="pr").assign(tas=field * 0 + 280)
    coarse.attrs = {
        "epoch": lattice.epoch,
        "step_seconds": lattice.step_seconds,
        "calendar": lattice.calendar,
    }
    rows, columns = (8 * n for n in values.shape[-2:])
    ones = (("y", "x"), np.ones((rows, columns)))
    return coarse, xr.Dataset({"areacella": ones, "orog": ones})


@pytest.mark.parametrize("name", EQUAL_SIZE)
@pytest.mark.parametrize("channels", [1, 15])
def test_it_has_the_parameters_of_both_networks(name: str, channels: int) -> None:
    config = RegressionConfig.equal_to(name, channels)
    with torch.device("meta"):
        both = count_parameters(preset(name, channels).build())
        one = count_parameters(Regression(config, RainTransform()))
    assert one == pytest.approx(both, rel=0.05)


def test_the_loss_is_the_mean_absolute_error_in_mm_per_hour() -> None:
    rates = RainTransform()
    network = Regression(RegressionConfig.equal_to("tiny", 1, 2), rates)
    given = torch.full((1, 2, 1, 8, 8), 2 * MM_PER_HOUR)
    truth = given.clone()
    truth[:, 0] = 5 * MM_PER_HOUR  # 3 mm h-1 off in one frame of two; the last layer begins at 0
    unused = {"time": torch.zeros(1, 2), "noise": truth}
    y, x = rates.forward(truth), rates.forward(given)
    assert network.loss(y, x, **unused).item() == pytest.approx(1.5, rel=1e-4)
    weight = torch.tensor([1.0, 0.0])[None, :, None, None, None]
    assert network.loss(y, x, weight=weight, **unused).item() == pytest.approx(3.0, rel=1e-4)


def test_an_interrupted_training_ends_with_identical_weights(folder: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    whole = UNetBaseline.load(folder)
    events = [event()]
    channels = whole.card.channels
    with pytest.raises(Killed):
        train_unet(
            "test", whole.card.model, channels, events, CONFIG, tmp_path, on_log=kill, log_every=3
        )
    assert trained(tmp_path).digest == whole.digest


def test_it_is_read_strictly_and_is_no_stvd(folder: Path, tmp_path: Path) -> None:
    assert UNetBaseline.load(folder).card.training["config"]["steps"] == 4
    with pytest.raises(CheckpointError, match="not a checkpoint card"):
        Checkpoint.load(folder)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        UNetBaseline.load(tmp_path)
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    card = json.loads((folder / CARD).read_text())
    for change, message in [
        ({"objective": "stvd"}, "objective"),
        ({"surprise": 1}, "surprise"),
        ({"model": card["model"] | {"window": 4}}, "was altered"),
    ]:
        (tmp_path / CARD).write_text(json.dumps(card | change))
        with pytest.raises(CheckpointError, match=message):
            UNetBaseline.load(tmp_path)


def test_an_untrained_one_gives_the_interpolation() -> None:
    card = RegressionCard(
        name="new",
        model=RegressionConfig.equal_to("tiny", 1, 2),
        channels=Channels(rain=RainTransform()),
        grid=GridContract(factor=8, step_seconds=(1, 1), spacing_km=(1.0, 1.0)),
        training={},
        weights_sha256="",
        digest="",
    )
    system = UNetBaseline(card, Regression(card.model, card.channels.rain).eval())
    coarse, grid = inputs(np.full((3, 4, 6), 1e-4))
    out = system.sample(coarse, grid, members=range(4), seed=0)
    assert out.dims == ("member", "time", "y", "x")
    assert out.shape == (1, 3, 32, 48)
    assert out.values == pytest.approx(1e-4, rel=1e-4)


def test_frames_lazy_or_not_and_missing_cells(folder: Path) -> None:
    system: Downscaler = UNetBaseline.load(folder)
    values = rain((8, 3, 4), seed=3, dry=0.2)
    values[1, 0, 1] = np.nan
    coarse, grid = inputs(values, first=1)
    whole = system.sample(coarse, grid, members=range(1), seed=0)
    assert system.name == "unet"
    assert np.isnan(whole[0, 1].values).sum() == 64
    assert float(whole.min()) >= 0
    lazy = system.sample(coarse.chunk(time=2), grid, members=range(1), seed=0)
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy.values, whole.values, rtol=1e-5, atol=1e-9)
    # Frames 3–5 and 6–8 are whole windows of the lattice: the record begins at frame 1.
    piece = system.sample(coarse.isel(time=slice(2, 8)), grid, members=range(1), seed=0)
    np.testing.assert_allclose(piece.values, whole.values[:, 2:], rtol=1e-5, atol=1e-9)


def test_tiles_are_run_one_by_one(folder: Path) -> None:
    system = UNetBaseline.load(folder)
    values = np.stack([rain((3, 3, 4), seed=s, dry=0.2) for s in (4, 5)], axis=1)
    alone, grid = inputs(values[:, 1])
    tiled = alone.drop_vars(["pr", "tas"]).assign(
        pr=(("time", "tile", "y", "x"), values.astype(np.float32)),
        tas=(("time", "tile", "y", "x"), np.full(values.shape, 280, np.float32)),
    )
    out = system.sample(tiled, grid.expand_dims(tile=2), members=range(1), seed=0)
    assert out.dims == ("member", "time", "tile", "y", "x")
    one = system.sample(alone, grid, members=range(1), seed=0)
    np.testing.assert_allclose(out.values[:, :, 1], one.values, rtol=1e-5, atol=1e-9)


def test_what_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    system = UNetBaseline.load(folder)
    coarse, grid = inputs(rain((3, 3, 4)))
    with pytest.raises(CheckpointError, match="has no tas, orog, which test was trained with"):
        system.sample(coarse[["pr"]], grid[["areacella"]], members=range(1), seed=0)
    with pytest.raises(CheckpointError, match="factor 4: test has factor 8"):
        system.sample(coarse, grid.isel(y=slice(12), x=slice(16)), members=range(1), seed=0)
    with pytest.raises(ValueError, match="no UNet is as large as preset paper"):
        RegressionConfig.equal_to("paper", 12)
    with pytest.raises(ValueError, match="has no shared_level, mean_weight: leave it out"):
        trained(tmp_path, CONFIG.model_copy(update={"shared_level": 0.3, "mean_weight": 1.0}))


@pytest.mark.parametrize(("name", "share"), [("radar", 5 / 13), ("gcm", 1)])
def test_the_recipe_has_the_data_of_stvd_and_this_share_of_its_steps(
    name: str, share: float
) -> None:
    stvd, unet = (Recipe.read(ROOT / "recipes" / f"{n}.yaml") for n in (name, f"unet_{name}"))
    own = {"name", "description", "objective", "temporal_levels", "noise_correlation"}
    own |= {"training", "validation", "texture", "norm", "start", "sampler"}
    assert unet.objective == "unet"
    in_training = {"transform": stvd.transform.model_copy(update={"linear_from": None})}
    alike = stvd.model_copy(update=in_training)
    assert unet.model_dump(exclude=own) == alike.model_dump(exclude=own)
    settings = {"batch", "crop", "flips", "zoom", "blur", "valid_share", "precision"}
    assert unet.training.model_dump(include=settings) == stvd.training.model_dump(include=settings)
    stages = [stvd]
    while isinstance(stages[-1].start, Recipe):
        stages.append(stages[-1].start)
    steps = sum(stage.training.steps for stage in stages)
    assert unet.training.steps == pytest.approx(share * steps)
