"""Training and its checkpoints, on a tiny model and a record that fits in a few kilobytes."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from event_samples import alone, event

from stvd.channel_scales import fit_channels
from stvd.checkpoint import CARD, WEIGHTS, Card, Checkpoint, CheckpointError
from stvd.conditioning import Channels, Standard, Texture
from stvd.model import preset
from stvd.optimisation import _batch, _levels, _Loop
from stvd.training import train
from stvd.training_config import TrainingConfig
from stvd.transforms import RainTransform

CONFIG = TrainingConfig(
    steps=6, batch=2, crop=16, warmup=2, save_every=2, precision="float32", learning_rate=1e-3
)


def run(out: Path, config: TrainingConfig = CONFIG, **options) -> Checkpoint:
    torch.set_num_threads(1)
    events = [event(0), event(1)]
    channels = fit_channels(config.crops(events, 3, 8, roughness=False), ["tas"], ["orog"], seed=0)
    model = preset("tiny", channels.channels, window=3)
    return train("test", model, channels, events, config, out, **options)


def test_training_is_told_the_roughness_of_the_field_and_not_of_the_crop(tmp_path, monkeypatch):
    record = alone(event(cells=10))
    crops = CONFIG.crops([record], 3, 8, roughness=True)
    channels = fit_channels(crops, [], [], seed=0)
    told = []
    build = Channels.inputs
    monkeypatch.setattr(
        Channels,
        "inputs",
        lambda *a, exponent, **k: told.append(exponent) or build(*a, exponent=exponent, **k),
    )
    train("test", preset("tiny", 2, 3), channels, [record], CONFIG, tmp_path)
    assert len(told) == CONFIG.steps
    assert all(torch.equal(t, crops.batch(CONFIG.seed, k, 2).exponent) for k, t in enumerate(told))


def test_the_texture_that_is_asked_for_reaches_the_model_and_is_held_in_range():
    crops = CONFIG.crops([alone(event(cells=10))], 3, 8, roughness=True, texture=True)
    with pytest.raises(ValueError, match="needs roughness"):
        Channels(rain=RainTransform(), texture=Texture(low=0.5, high=1.5, usual=(1.0, 0.0)))
    fitted = fit_channels(crops, [], [], seed=0)
    channels = fitted.model_copy(update={"texture": Texture(low=0.5, high=1.5, usual=(0.2, 1.0))})
    assert channels.channels == 3
    coarse = torch.rand(2, 3, 1, 6, 6)

    def told(asked: float | None) -> float:
        texture = None if asked is None else torch.tensor(asked)
        x = channels.inputs(
            coarse, None, periodic_x=False, exponent=torch.full((2,), 0.9), texture=texture
        )
        value = x[:, :, 2]
        assert (value == value.flatten()[0]).all()
        scale = channels.scales["texture"]
        return float(value.flatten()[0]) * scale.std + scale.mean

    assert told(1.2) == pytest.approx(1.2, abs=1e-5)
    assert told(1.9) == pytest.approx(1.5, abs=1e-5)
    assert told(None) == pytest.approx(1.1, abs=1e-5)


def test_knots_are_fitted_on_crops():
    crops = CONFIG.crops([event(cells=10)], 3, 8, roughness=False)
    rain = fit_channels(crops, [], [], seed=0, rain=RainTransform(kind="quantile")).rain
    rate = torch.tensor([0.0, 0.5, 5.0]) / 3600
    torch.testing.assert_close(rain.inverse(rain.forward(rate)), rate, rtol=1e-4, atol=0)


def test_a_half_missing_crop_is_scored_where_there_is_data_only():
    """A model that is told of missing cells has the same loss whatever stands in them."""
    losses = []
    for hidden in (np.nan, 0.0):
        record = alone(event())
        record.coarse[..., :1] = np.nan
        record.truth[..., :8] = hidden
        config = CONFIG.model_copy(update={"valid_share": 0.3, "batch": 8})
        crops = config.crops([record], 3, 8, roughness=False)
        channels = fit_channels(
            config.crops([alone(event())], 3, 8, roughness=False), [], [], seed=0, mask=True
        )
        assert channels.channels == 2
        target, inputs = _batch(crops, channels, config, 0, "cpu")
        assert torch.isfinite(inputs).all()
        assert torch.isnan(target).any()
        torch.manual_seed(0)
        loop = _Loop(preset("tiny", 2, window=3).build(), config, "")
        losses.append(float(loop.advance(target, inputs)[0]))
    assert losses[0] == losses[1]


def test_precision_is_that_which_the_device_computes_in(tmp_path, monkeypatch):
    """A CPU without bfloat16 emulates it, many times slower than float32."""
    found = {}
    for fast in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda fast=fast: fast)
        config = CONFIG.model_copy(update={"precision": "auto"})
        found[fast] = run(tmp_path / str(fast), config)
        said = found[fast].card.training["config"]["precision"]
        assert said == ("bfloat16" if fast else "float32")
    plain = run(tmp_path / "plain", CONFIG)
    assert found[False].digest != found[True].digest
    for a, b in zip(found[False].network.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("shared", [0.0, 0.8, 1.0])
def test_noise_levels_of_frames(shared):
    config = CONFIG.model_copy(update={"shared_level": shared})
    level, known = _levels((2000, 5), config, torch.Generator().manual_seed(0))
    alike = (level == level[:, :1]).all(1).float().mean()
    assert float(alike) == pytest.approx(shared, abs=0.045)  # five standard errors
    assert float(level.mean()) == pytest.approx(0.5, abs=0.033)
    assert not known.any()


def test_frames_that_are_revealed():
    config = CONFIG.model_copy(update={"reveal": 0.5})
    level, known = _levels((2000, 5), config, torch.Generator().manual_seed(0))
    assert not known[:, 1:-1].any()
    assert (level[known] == 0).all()
    ends = known[:, [0, -1]]
    # of half of the windows: both ends in 60 of 100, the first alone in 20, the last alone in 20
    assert ends.float().mean(0).tolist() == pytest.approx([0.4, 0.4], abs=0.055)
    assert float(ends.all(1).float().mean()) == pytest.approx(0.3, abs=0.052)


def test_the_correlation_of_the_noise_reaches_the_loss():
    plain = preset("tiny", 2, window=3)
    seen = {}
    for correlation in (0.0, 0.5):
        torch.manual_seed(0)
        model = plain.model_copy(update={"noise_correlation": correlation})
        target, inputs = torch.rand(2, 3, 1, 16, 16), torch.rand(2, 3, 2, 16, 16)
        loop = _Loop(model.build(), CONFIG, "")
        seen[correlation] = float(loop.advance(target, inputs)[0])
    assert seen[0.0] != seen[0.5]


def test_warming_up_the_mean_leaves_the_denoiser_alone(tmp_path):
    config = CONFIG.model_copy(update={"mean_warmup": 4, "steps": 4, "warmup": 1})
    after = run(tmp_path, config).network
    torch.manual_seed(config.seed)
    before = after.config.build()
    for name, parameter in after.denoiser.named_parameters():
        assert torch.equal(parameter, before.denoiser.get_parameter(name).half().float())
    assert not torch.equal(after.mean.stem.weight, before.mean.stem.weight.half().float())


def test_an_interrupted_training_ends_with_identical_weights(tmp_path):
    whole = run(tmp_path / "whole")
    seen = []

    def stop(progress):
        seen.append(progress.step)
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", on_log=stop, log_every=1)
    resumed = []
    again = run(tmp_path / "cut", on_log=lambda p: resumed.append(p.step), log_every=1)
    assert seen == [1, 2, 3, 4, 5]
    assert resumed == [5, 6]
    assert again.digest == whole.digest


def test_recomputing_blocks_ends_with_identical_weights(tmp_path):
    plain = run(tmp_path / "plain")
    recomputed = run(tmp_path / "recomputed", CONFIG.model_copy(update={"recompute": True}))
    weights = recomputed.network.state_dict()
    assert all(torch.equal(v, weights[k]) for k, v in plain.network.state_dict().items())


def test_a_training_killed_outright_ends_with_identical_weights(tmp_path):
    whole = run(tmp_path / "whole")
    script = (
        "import sys; sys.path[:0] = [sys.argv[1], sys.argv[2]]\n"
        "from pathlib import Path; import test_training as t\n"
        "t.run(Path(sys.argv[3]), on_log=lambda p: print(p.step, flush=True), log_every=1)\n"
    )
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(here.parent), str(here), str(tmp_path / "cut")],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 3:
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert not (tmp_path / "cut" / CARD).exists()
    assert run(tmp_path / "cut").digest == whole.digest


def test_a_state_of_another_training_is_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(ValueError, match="belongs to a training with another"):
        run(tmp_path, CONFIG.model_copy(update={"learning_rate": 2e-3}))


def test_a_training_goes_on_from_a_checkpoint(tmp_path):
    first = run(tmp_path / "first")
    still = CONFIG.model_copy(update={"learning_rate": 1e-9, "final_learning_rate": 1e-9})
    weights = first.network.state_dict()
    kept = run(tmp_path / "kept", still, start=first)
    for name, value in kept.network.state_dict().items():
        torch.testing.assert_close(value, weights[name], atol=1e-4, rtol=1e-3)
    moved = run(tmp_path / "moved", CONFIG, start=first).network.state_dict()
    assert any(float((moved[k] - weights[k]).abs().max()) > 1e-3 for k in moved)
    assert kept.card.training["start"] == {
        "name": "test",
        "digest": first.digest,
        "training": first.card.training,
    }
    with pytest.raises(ValueError, match="another model, data or configuration"):
        run(tmp_path / "kept", still)
    wide = replace(event(), step_seconds=3600, spacing_km=9.0, name="hourly")
    channels = first.channels
    further = train(
        "wider", first.card.model, channels, [wide], CONFIG, tmp_path / "wide", start=first
    )
    assert further.card.training["events"] == ["event_0", "event_1", "hourly"]
    assert further.card.grid.step_seconds == (3600, 10800)
    assert further.card.grid.spacing_km == (9.0, 25.0)
    other = preset("tiny", channels.channels, window=5)
    with pytest.raises(ValueError, match="test cannot be gone on from: its architecture is not"):
        train("x", other, channels, [wide], CONFIG, tmp_path / "other", start=first)


def test_a_training_that_goes_on_keeps_the_scales_and_widens_the_range_of_textures():
    def fitted(low, high, **changes):
        scales = {k: Standard(mean=low, std=high) for k in ("roughness", "texture")}
        texture = Texture(low=low, high=high, usual=(low, high))
        rain = RainTransform(kind="power", power=0.2, s=high)
        options = {"rain": rain, "scales": scales, "roughness": True, "texture": texture}
        return Channels(**options | changes)

    before = fitted(0.8, 1.4)
    found = before.gone_on(fitted(0.9, 1.7))
    assert found == before.model_copy(
        update={"texture": Texture(low=0.8, high=1.7, usual=(0.8, 1.4))}
    )
    ended = before.model_copy(update={"rain": before.rain.model_copy(update={"linear_from": 0.01})})
    assert ended.gone_on(fitted(0.9, 1.7)) == found
    with pytest.raises(ValueError, match="make them equal, or train from the beginning"):
        before.gone_on(fitted(0.9, 1.7, mask=True))
    with pytest.raises(ValueError, match=r"power 0\.2; the recipe has .* power 0\.3"):
        before.gone_on(fitted(0.9, 1.7, rain=RainTransform(kind="power", power=0.3)))
    with pytest.raises(ValueError, match="make them equal"):
        before.gone_on(fitted(0.9, 1.7, texture=None))


def test_the_loss_falls(tmp_path):
    losses = []
    config = TrainingConfig(
        steps=40, batch=2, crop=16, warmup=5, precision="float32", learning_rate=3e-3
    )
    run(tmp_path, config, on_log=lambda p: losses.append(p.loss), log_every=20)
    assert losses[-1] < 0.95 * losses[0]


def test_a_checkpoint_reads_back_what_it_was_given(tmp_path):
    made = run(tmp_path)
    read = Checkpoint.load(tmp_path)
    assert read.digest == made.digest == Card.read(tmp_path).digest
    assert read.channels.predictors == ("tas",)
    assert read.channels.statics == ("orog",)
    assert read.card.grid.step_seconds == (10800, 10800)
    for key, value in made.network.state_dict().items():
        assert torch.equal(value, read.network.state_dict()[key]), key
    assert not any(p.requires_grad for p in read.network.parameters())


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def truncate(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def edit(folder: Path, change) -> None:
    card = json.loads((folder / CARD).read_text())
    change(card)
    (folder / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "is not the file its card describes"),
        (truncate, "is not the file its card describes"),
        (lambda d: (d / WEIGHTS).unlink(), "is no checkpoint"),
        (lambda d: edit(d, lambda c: c["channels"]["rain"].update(c=1.0)), "was altered"),
        (lambda d: edit(d, lambda c: c["model"].update(depth=3)), "not a checkpoint card"),
        (lambda d: edit(d, lambda c: c.update(format=2)), "has format 2"),
    ],
    ids=["bit", "truncated", "missing", "scales", "unknown key", "format"],
)
def test_a_damaged_checkpoint_is_refused(tmp_path, damage, message):
    run(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint.load(tmp_path)


def test_a_source_of_another_kind_is_refused(tmp_path):
    grid = run(tmp_path).card.grid
    grid.require(factor=8, step_seconds=10800, spacing_km=30)
    with pytest.raises(CheckpointError, match="factor 4, trained at 8; frames of 3600 s"):
        grid.require(factor=4, step_seconds=3600, spacing_km=30)
    with pytest.raises(CheckpointError, match="grid spacing 1 km, trained at 25 to 25 km"):
        grid.require(factor=8, step_seconds=10800, spacing_km=1.0)
