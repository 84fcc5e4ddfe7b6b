import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stvd.checkpoint import count_parameters
from stvd.event import Event
from stvd.model import ModelConfig, preset
from stvd.model.layers import set_recompute
from stvd.recipe import Recipe, train_on
from stvd.sampling import SolverChoice
from stvd.training_config import TrainingConfig

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"


def millions(model):
    with torch.device("meta"):
        network = model.build()
    return [round(count_parameters(n) / 1e6, 2) for n in (network.mean, network.denoiser)]


def test_published_configuration_has_the_published_size():
    assert preset("paper").inputs == 12
    assert millions(preset("paper")) == [17.33, 22.66]


def test_ablations_differ_from_paper_in_channels_or_frames_alone():
    paper = preset("paper")
    assert preset("stvd-single") == paper.model_copy(update={"inputs": 1})
    assert preset("stvd-3") == paper.model_copy(update={"window": 3})
    assert preset("stvd-1", inputs=7) == paper.model_copy(update={"window": 1, "inputs": 7})


@pytest.mark.parametrize(
    ("name", "inputs", "window", "message"),
    [
        ("stvd-single", 12, None, "stvd-single has inputs = 1, not 12: give it 1"),
        ("stvd-3", 12, 5, "stvd-3 has window = 3, not 5"),
        ("stvd-1", None, 3, "stvd-1 has window = 1, not 3"),
        ("big", None, None, "no preset 'big'; there are tiny, small, paper, stvd-single"),
    ],
)
def test_a_contradiction_is_refused(name, inputs, window, message):
    with pytest.raises(ValueError, match=message):
        preset(name, inputs, window)


def test_a_recipe_says_early_that_its_channels_do_not_fit_its_preset():
    with pytest.raises(ValueError, match="inputs = 1, not 2"):
        Recipe(name="x", sources=("a",), preset="stvd-single", predictors=("ps",))
    with pytest.raises(ValueError, match="window = 3, not 5"):
        Recipe(name="x", sources=("a",), preset="stvd-3")
    assert Recipe(name="x", sources=("a",), preset="stvd-3", window=3).window == 3
    with pytest.raises(ValueError, match="has no norm or temporal_levels"):
        Recipe(name="x", sources=("a",), objective="unet", norm="channel")


def test_a_recipe_may_start_from_another(tmp_path):
    recipe = {"name": "first", "sources": ["a"], "training": {"steps": 500, "warmup": 100}}
    (tmp_path / "first.yaml").write_text(json.dumps(recipe))
    after = recipe | {"name": "second", "sources": ["b"], "start": "first.yaml"}
    (tmp_path / "second.yaml").write_text(json.dumps(after))
    read = Recipe.read(tmp_path / "second.yaml")
    assert read.start == Recipe.read(tmp_path / "first.yaml")
    assert Recipe.model_validate_json(read.model_dump_json()) == read
    short = read.shortened(20)
    assert isinstance(short.start, Recipe)
    assert [r.training.steps for r in (short, short.start)] == [20, 20]
    assert Recipe.model_validate(after | {"start": "some/folder"}).start == "some/folder"
    with pytest.raises(ValueError, match="second goes on from a checkpoint"):
        train_on(read, [], tmp_path / "out")
    with pytest.raises(ValueError, match="a cannot be trained on and held out"):
        Recipe.model_validate(after | {"start": recipe, "validation": ["a"]})
    for first, second in (("unet", "stvd"), ("stvd", "unet")):
        start = recipe | {"objective": first}
        with pytest.raises(ValueError, match="no deterministic UNet goes on"):
            Recipe.model_validate(after | {"start": start, "objective": second})


def test_a_recipe_says_how_its_checkpoint_is_sampled_and_where_its_tail_is_a_line(tmp_path):
    torch.set_num_threads(1)
    truth = np.random.default_rng(0).gamma(0.3, 1e-3, (6, 32, 32)).astype(np.float32)
    coarse = truth.reshape(6, 1, 4, 8, 4, 8).mean((3, 5))
    one = Event("one", coarse, truth, None, 3600, 2.0, periodic_x=False)
    content = {
        "name": "x",
        "sources": ["one"],
        "preset": "tiny",
        "window": 3,
        "transform": {"kind": "power"},
        "training": {"steps": 2, "warmup": 1, "batch": 1, "crop": 16, "precision": "float32"},
    }
    plain = train_on(Recipe.model_validate(content), [one], tmp_path)
    transform = content["transform"] | {"linear_from": 2e-3}
    said = {"transform": transform, "sampler": {"solver": "dpmpp2m_sde", "steps": 10}}
    trained = Recipe.model_validate(content | said)
    told: list[object] = []
    ended = train_on(trained, [one], tmp_path, on_log=told.append)
    assert not told  # the state is done: no step is made again
    assert (plain.card.sampler, ended.card.sampler) == (
        SolverChoice(),
        SolverChoice(solver="dpmpp2m_sde", steps=10),
    )
    # the training is the same, the transform another beyond the rate
    assert ended.card.weights_sha256 == plain.card.weights_sha256
    assert ended.digest != plain.digest
    rates = torch.tensor([1e-3, 2e-3, 1e-2])
    y = plain.channels.rain.forward(rates)
    found = ended.channels.rain.inverse(y)
    torch.testing.assert_close(found[:2], rates[:2])
    assert 2e-3 < found[2] < 9e-3
    with pytest.raises(ValueError, match="no far tail to mend"):
        Recipe.model_validate(content | {"transform": transform, "objective": "unet"})


@pytest.mark.parametrize("objective", ["stvd", "unet"])
def test_what_is_trained_already_is_not_prepared_again(objective, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    truth = rng.gamma(0.3, 1e-3, (6, 32, 32)).astype(np.float32)
    coarse = truth.reshape(6, 1, 4, 8, 4, 8).mean((3, 5))
    one = Event("one", coarse, truth, None, 3600, 2.0, periodic_x=False)
    training = {"steps": 2, "warmup": 1, "batch": 1, "crop": 16, "precision": "float32"}
    content = {"name": "x", "sources": ["one"], "preset": "tiny", "objective": objective}
    recipe = Recipe.model_validate(content | {"window": 3, "training": training})
    first = train_on(recipe, [one], tmp_path)

    def refuse(*_):
        raise RuntimeError("prepared anew")

    monkeypatch.setattr("stvd.recipe.fit", refuse)
    assert train_on(recipe, [one], tmp_path).digest == first.digest
    other = replace(one, truth=truth * 2)
    for changed, events in ((recipe.shortened(1), [one]), (recipe, [other])):
        with pytest.raises(RuntimeError, match="prepared anew"):
            train_on(changed, events, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(RuntimeError, match="prepared anew"):
        train_on(recipe, [one], tmp_path)


@pytest.mark.parametrize("name", ["gcm", "radar"])
def test_its_recipe_describes_a_shipped_checkpoint(name):
    card = json.loads((CHECKPOINTS / name / "checkpoint.json").read_text())
    recipe = Recipe.read(CHECKPOINTS.parent / "recipes" / f"{name}.yaml")
    assert SolverChoice.model_validate(card.get("sampler", {})) == recipe.sampler
    assert card["channels"]["rain"].get("linear_from") == recipe.transform.linear_from
    stages = [(card["training"], recipe)]
    while isinstance(recipe.start, Recipe):
        recipe = recipe.start
        stages.append((stages[-1][0]["start"]["training"], recipe))
    for made, described in stages:
        trained = TrainingConfig.model_validate(made["config"])
        resolved = {
            "precision": trained.precision
        }  # what `auto` was on the machine that trained it
        assert trained == described.training.model_copy(update=resolved)
    assert "start" not in stages[-1][0]
    model = recipe.model(card["model"]["inputs"])
    assert ModelConfig.model_validate(card["model"]) == model
    with torch.device("meta"):
        network = model.build()
    assert card["training"]["parameters"] == {
        "mean": count_parameters(network.mean),
        "denoiser": count_parameters(network.denoiser),
    }


def test_recomputing_blocks_changes_no_number():
    def draw(*shape, seed=0):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    torch.manual_seed(0)
    network = preset("tiny", 2).build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * draw(*parameter.shape))
    gradients = []
    for recompute in (False, True):
        set_recompute(network, recompute)
        network.zero_grad()
        loss = network.loss(
            draw(1, 3, 1, 16, 16),
            draw(1, 3, 2, 16, 16, seed=1),
            time=torch.full((1, 3), 0.5),
            noise=draw(1, 3, 1, 16, 16, seed=2),
        )
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_frames_attend_to_one_another_where_it_is_asked_for():
    small, coarse = preset("small", 4), preset("small", 4, temporal_levels=(1, 2))
    assert small.denoiser.temporal_levels == small.mean.temporal_levels == (0, 1, 2)
    assert coarse.denoiser.temporal_levels == coarse.mean.temporal_levels == (1, 2)
    with pytest.raises(ValueError, match="level 3 does not exist"):
        preset("small", 4, temporal_levels=(3,))
