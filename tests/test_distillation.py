"""Distillation: where a student is to arrive, what of it is trained, and how it may be sampled."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from test_training import CONFIG, run
from torch import Tensor

from stvd.checkpoint import Checkpoint, CheckpointError
from stvd.distillation import Distillation, Student
from stvd.event_file import read_event
from stvd.model.diffusion import clean_from_velocity
from stvd.optimisation import Trainable
from stvd.recipe import Recipe
from stvd.sampling import SamplerConfig
from stvd.systems import sampled
from stvd.transforms import RainTransform

SHARED = CONFIG.model_copy(update={"shared_level": 1.0})
DEMO = Path(__file__).parents[1] / "data" / "demo_gcm.nc"
HALF = Distillation(calls=2, teacher_calls=3)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A network of a few steps, so that it says something else of every noise level."""
    torch.manual_seed(0)
    taught = CONFIG.model_copy(update={"steps": 60, "shared_level": 1.0, "mean_weight": 1.0})
    return run(tmp_path_factory.mktemp("teacher"), taught)


@pytest.fixture
def student(teacher: Checkpoint) -> Student:
    network = teacher.card.model.build()
    network.load_state_dict(teacher.network.state_dict())
    return Student(network, teacher.network, HALF)


@pytest.fixture
def window(teacher: Checkpoint) -> tuple[Tensor, Tensor]:
    """Inputs and noise of a window."""
    draw = torch.Generator().manual_seed(1)
    inputs = torch.rand(2, 3, teacher.card.model.inputs, 16, 16, generator=draw)
    return inputs, torch.randn(2, 3, 1, 16, 16, generator=draw)


def test_a_step_to_what_is_expected_arrives_where_the_teacher_does(student, window):
    inputs, noise = window
    condition, ddim = student.teacher.condition(inputs), SamplerConfig(solver="ddim", steps=2)
    arrived = ddim.advance(0, noise, student.expected(noise, 0, condition), None)
    state, previous = noise, None
    for call in range(3):
        level = student.way.levels()[call].float()
        v = student.teacher.denoise(state, level.expand(2, 3), condition)
        clean = clean_from_velocity(state, v, level)
        state, previous = student.way.advance(call, state, clean, previous), clean
    torch.testing.assert_close(arrived, state, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(arrived, ddim.advance(0, noise, previous, None), atol=1e-2)


def test_the_last_segment_ends_at_the_sample_of_the_teacher(student, window):
    inputs, noise = window
    condition = student.teacher.condition(inputs)
    levels = student.way.levels().tolist()
    rest = SamplerConfig(solver="dpmpp2m", steps=3, log_snr=(levels[3], levels[6]))
    sample = rest.sample(
        lambda x, level: student.teacher.denoise(x, level.expand(2, 3), condition), noise
    )
    torch.testing.assert_close(student.expected(noise, 1, condition), sample, rtol=1e-4, atol=1e-5)


def test_a_student_that_says_what_is_expected_has_no_loss(student, window):
    inputs, noise = window
    target = torch.rand(2, 3, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    levels = {float(student.way.levels()[3 * k].float()): k for k in (0, 1)}
    seen = []

    def perfect(x: Tensor, level: Tensor, condition: object) -> Tensor:
        call = levels[float(level[0, 0])]
        seen.append(call)
        alpha, sigma = torch.sigmoid(level[0, 0]).sqrt(), torch.sigmoid(-level[0, 0]).sqrt()
        return (alpha * x - student.expected(x, call, condition)) / sigma

    student.network.denoise = perfect
    for time in (0.2, 0.9, 1.0):
        loss = student.loss(target, inputs, time=torch.full((2, 3), time), noise=noise)
        assert float(loss) < 1e-8
    assert seen == [0, 1, 1]


def test_only_the_denoiser_learns_and_it_comes_nearer(teacher, window, tmp_path):
    config = SHARED.model_copy(update={"steps": 80, "ema": 0.9})
    taught = run(tmp_path, config, start=teacher, distil=HALF)
    inputs, noise = window
    condition = teacher.network.condition(inputs)
    truth = Student(taught.network, teacher.network, HALF).expected(noise, 0, condition)
    level = SamplerConfig(steps=2).levels()[0].float()

    def error(network) -> float:
        v = network.denoise(noise, level.expand(2, 3), condition)
        return float(((clean_from_velocity(noise, v, level) - truth) ** 2).mean())

    assert error(taught.network) < 0.9 * error(teacher.network)
    for name, weight in teacher.network.mean.named_parameters():
        assert torch.equal(taught.network.mean.get_parameter(name), weight)
    assert (taught.card.distilled, taught.card.sampler.steps) == (True, 2)
    assert taught.card.sampler.solver == "ddim"
    assert taught.card.training["distil"] == {"calls": 2, "teacher_calls": 3}
    assert taught.card.training["start"]["digest"] == teacher.digest


def test_an_interrupted_distillation_ends_with_identical_weights(teacher, tmp_path):
    whole = run(tmp_path / "whole", SHARED, start=teacher, distil=HALF)

    def stop(progress):
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", SHARED, start=teacher, distil=HALF, on_log=stop, log_every=1)
    other = Distillation(calls=1, teacher_calls=6)
    with pytest.raises(ValueError, match="belongs to a training with another model"):
        run(tmp_path / "cut", SHARED, start=teacher, distil=other)
    again = run(tmp_path / "cut", SHARED, start=teacher, distil=HALF)
    assert again.digest == whole.digest


def test_a_student_is_sampled_as_it_was_trained_and_taught_by_no_student(teacher, tmp_path):
    taught = run(tmp_path / "student", SHARED, start=teacher, distil=HALF)
    card = taught.card
    card.require_sampler(SamplerConfig.of(card.sampler, windows="independent"))
    for asked in ({"steps": 8}, {"solver": "dpmpp2m"}):
        with pytest.raises(CheckpointError, match="was distilled to 2 calls of ddim"):
            card.require_sampler(SamplerConfig.of(card.sampler, **asked))
    teacher.card.require_sampler(SamplerConfig(solver="ddim", steps=3))
    for distil in (HALF, None):
        with pytest.raises(ValueError, match="was distilled and knows no other noise levels"):
            run(tmp_path / "again", SHARED, start=taught, distil=distil)
    power = card.channels.model_copy(update={"rain": RainTransform(kind="power")})
    bent = replace(taught, card=card.model_copy(update={"channels": power}))
    assert bent.ending_in_a_line(0.01, tmp_path / "lined").card.distilled


def test_sampling_refuses_another_way(tiny_checkpoint: Path) -> None:
    checkpoint = Checkpoint.load(tiny_checkpoint)
    card = checkpoint.card.model_copy(update={"distilled": True})
    event = read_event(DEMO, frames="0:5", region="0:32,0:64")
    with pytest.raises(CheckpointError, match="leave solver and steps empty"):
        sampled(replace(checkpoint, card=card), event, 1, 0, SamplerConfig(steps=4)).compute()


def test_a_recipe_of_a_student_holds_together():
    asked = {
        "name": "s",
        "sources": ["a"],
        "start": "checkpoints/radar",
        "distil": {"calls": 2},
        "training": {"shared_level": 1.0},
    }
    assert Recipe.model_validate(asked).distil == Distillation(calls=2, teacher_calls=4)
    for change, said in [
        ({"start": None}, "only a checkpoint of STVD can be distilled"),
        ({"sampler": {"steps": 4}}, "leave sampler out"),
        ({"training": {"shared_level": 0.8}}, "needs shared_level 1"),
        ({"training": {"shared_level": 1.0, "reveal": 0.5}}, "distillation has no reveal"),
        ({"training": {"shared_level": 1.0, "mean_weight": 1.0}}, "has no mean_weight"),
    ]:
        with pytest.raises(ValidationError, match=said):
            Recipe.model_validate(asked | change)


def test_a_student_is_what_the_loop_trains(student: Student) -> None:
    loop: Trainable = student
    assert all(name.startswith("denoiser.") for name, _ in loop.named_parameters())
    assert loop.multiple == student.teacher.multiple
    with pytest.raises(ValueError, match="mean_warmup"):
        loop.mean_loss(*(torch.zeros(1),) * 3)


def test_a_student_without_a_teacher_is_refused(tmp_path):
    with pytest.raises(ValueError, match="give its teacher"):
        run(tmp_path, SHARED, distil=HALF)
