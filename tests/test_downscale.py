"""Ensemble inference: the same numbers however the record is cut and the batches are planned."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

from stvd.checkpoint import Checkpoint, CheckpointError, GridContract
from stvd.conditioning import Channels, Standard
from stvd.downscale import downscale
from stvd.engine import BatchPlan, Engine, plan_batches
from stvd.lattice import TimeAxis, WindowLattice
from stvd.model import preset
from stvd.noise import RecordNoise
from stvd.sampling import SamplerConfig, SolverChoice
from stvd.transforms import RainTransform
from stvd.window_sampler import WindowSampler

AXIS = TimeAxis(epoch="2001-02-20T00:00:00", step_seconds=10800, calendar="noleap")
ENGINE = Engine(device="cpu", precision="float32")
SAMPLER = SamplerConfig(steps=3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Checkpoint:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = preset("tiny", 3, window=3).build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    channels = Channels(
        rain=RainTransform(s=0.5),
        predictors=("tas",),
        statics=("orog",),
        scales={"tas": Standard(mean=280, std=10), "orog": Standard(mean=0, std=1000)},
    )
    grid = GridContract(factor=8, step_seconds=(10800, 10800), spacing_km=(20, 200))
    return Checkpoint.create(
        "test", network, channels, grid, {}, tmp_path_factory.mktemp("checkpoint")
    )


def source(frames: range, tiles: int = 0, periodic: int = 0, cells=(2, 4)):
    """A coarse record and its fine grid; a frame's values depend on its absolute number alone."""
    tile = (tiles,) if tiles else ()
    dims = ("tile", "y", "x") if tiles else ("y", "x")
    rain = np.stack(
        [np.random.default_rng(1000 + k).gamma(0.5, 1e-4, (*tile, *cells)) for k in frames]
    )
    mid, bounds = AXIS.coordinates(frames)
    coarse = xr.Dataset(
        {
            "pr": (("time", *dims), rain.astype(np.float32)),
            "tas": (("time", *dims), (275 + 1e4 * rain).astype(np.float32)),
        },
        coords={"time": mid, "time_bnds": (("time", "bnds"), bounds)},
        attrs=AXIS.model_dump() | {"factor": 8, "periodic_x": periodic, "source": "test"},
    )
    fine = (*tile, *(8 * n for n in cells))
    grid = xr.Dataset(
        {
            "areacella": (dims, np.full(fine, 9e8)),
            "orog": (dims, np.random.default_rng(0).random(fine) * 2000),
        },
        attrs={"factor": 8, "periodic_x": periodic},
    )
    return coarse, grid


SMALL = ENGINE.model_copy(update={"memory_gib": 1e-6})  # one window, one member at a time


def sample(checkpoint, frames, members=range(3), *, data=None, seed=7, engine=ENGINE, **options):
    coarse, grid = data or source(frames)
    blocks = downscale(
        checkpoint, coarse, grid, frames=frames, members=members, seed=seed, engine=engine,
        sampler=options.pop("sampler", SAMPLER), **options,
    )  # fmt: skip
    return np.concatenate([b.pr for b in blocks], axis=1)


def test_shape_range_and_conservation(checkpoint):
    coarse, grid = source(range(6))
    pr = sample(checkpoint, range(6), data=(coarse, grid))
    assert pr.shape == (3, 6, 16, 32)
    assert pr.dtype == np.float32
    assert np.isfinite(pr).all()
    assert (pr >= 0).all()
    means = pr.reshape(3, 6, 2, 8, 4, 8).mean((3, 5))
    np.testing.assert_allclose(means, np.broadcast_to(coarse.pr, means.shape), rtol=1e-5)
    assert pr.std(axis=0).mean() > 0  # members differ


@pytest.mark.parametrize("solver", ["dpmpp2m", "dpmpp2m_sde"])
def test_a_piece_equals_the_same_piece_of_the_whole_bit_for_bit(checkpoint, solver):
    data, sampler = source(range(14), cells=(2, 2)), SAMPLER.model_copy(update={"solver": solver})
    whole = sample(checkpoint, range(14), data=data, sampler=sampler)
    for piece in (range(8), range(5, 6), range(6, 8), range(4, 5), range(11, 14)):
        part = sample(checkpoint, piece, data=data, sampler=sampler)
        assert np.array_equal(part, whole[:, piece.start : piece.stop])


def test_noise_of_the_calls_is_of_the_seed_and_member_and_changes_the_sample(checkpoint):
    def at(eta, **options):
        sampler = SamplerConfig(solver="dpmpp2m_sde", eta=eta, steps=3)
        return sample(checkpoint, range(3), sampler=sampler, engine=SMALL, **options)

    pr = at(0.4)
    assert np.array_equal(pr[1:2], at(0.4, members=range(1, 2)))
    assert not np.array_equal(pr, at(0.0))
    assert not np.array_equal(pr, at(0.4, seed=8))
    assert np.array_equal(at(0.0), sample(checkpoint, range(3), engine=SMALL))  # dpmpp2m


def test_a_checkpoint_says_how_it_is_sampled(checkpoint, tmp_path):
    choice = SolverChoice(solver="dpmpp2m_sde", steps=2)
    card = checkpoint.card
    said = Checkpoint.create(
        "said", checkpoint.network, card.channels, card.grid, {}, tmp_path, choice
    )
    assert said.card.sampler == choice
    assert said.digest == checkpoint.digest  # it is the same network
    ours = sample(said, range(3), sampler=None)
    assert np.array_equal(ours, sample(said, range(3), sampler=SamplerConfig.of(choice)))
    # and one that says nothing, as those of before did not, is sampled as they were
    text = json.loads((tmp_path / "checkpoint.json").read_text())
    del text["sampler"]
    (tmp_path / "checkpoint.json").write_text(json.dumps(text))
    plain = sample(Checkpoint.load(tmp_path), range(3), sampler=None)
    assert np.array_equal(plain, sample(said, range(3), sampler=SamplerConfig()))
    assert not np.array_equal(plain, ours)


def test_noise_is_as_correlated_as_is_asked_for(checkpoint, tmp_path):
    other = checkpoint.network.config.model_copy(update={"noise_correlation": 0.5}).build()
    other.load_state_dict(checkpoint.network.state_dict())
    card = checkpoint.card
    trained = Checkpoint.create("other", other, card.channels, card.grid, {}, tmp_path)
    asked = sample(checkpoint, range(3), sampler=SamplerConfig(steps=3, noise_correlation=0.5))
    assert np.array_equal(asked, sample(trained, range(3)))
    white = sample(trained, range(3), sampler=SamplerConfig(steps=3, noise_correlation=0.0))
    assert np.array_equal(white, sample(checkpoint, range(3)))
    assert not np.array_equal(asked, white)


def test_a_sampler_that_asks_for_no_correlation_has_the_fingerprint_it_had():
    assert "noise_correlation" not in SamplerConfig().model_dump(mode="json")
    assert SamplerConfig(noise_correlation=0.0).model_dump()["noise_correlation"] == 0


def test_what_is_asked_for_goes_before_what_a_checkpoint_says():
    choice = SolverChoice(solver="dpmpp2m_sde", steps=10)
    assert SamplerConfig.of(choice, solver=None, steps=4, conserve=False) == SamplerConfig(
        solver="dpmpp2m_sde", steps=4, conserve=False
    )


def test_what_decides_a_piece_is_what_it_reads(checkpoint):
    lattice, sampler = WindowLattice(length=3), SAMPLER.model_copy(update={"steps": 2})
    coarse, grid = source(range(24), cells=(2, 2))
    for piece in (range(10, 12), range(11, 12), range(12, 13)):
        reads = lattice.reads(piece, calls=2)
        assert range(24).start < reads.start < reads.stop < range(24).stop

        def part(frames, piece=piece):
            around = coarse.isel(time=slice(frames.start, frames.stop)), grid
            return sample(checkpoint, piece, range(1), data=around, sampler=sampler)

        whole = part(range(24))
        assert np.array_equal(part(reads), whole)
        # without its first or last frame it is nearer to an end of the record
        assert not np.array_equal(part(range(reads.start + 1, reads.stop)), whole)
        assert not np.array_equal(part(range(reads.start, reads.stop - 1)), whole)


@pytest.mark.parametrize("frames", [range(1), range(5), range(2, 8)])
def test_a_record_of_any_length_is_sampled_to_its_ends(checkpoint, frames):
    coarse, grid = source(frames)
    pr = sample(checkpoint, frames, data=(coarse, grid))
    assert pr.shape == (3, len(frames), 16, 32)
    means = pr.reshape(3, len(frames), 2, 8, 4, 8).mean((3, 5))
    np.testing.assert_allclose(means, np.broadcast_to(coarse.pr, means.shape), rtol=1e-5)
    assert pr.std(axis=0).mean(axis=(1, 2)).min() > 0


def test_independent_windows_need_no_other_frames(checkpoint):
    sampler = SAMPLER.model_copy(update={"windows": "independent"})
    whole = sample(checkpoint, range(12), sampler=sampler, engine=SMALL)
    part = sample(checkpoint, range(3, 6), sampler=sampler, engine=SMALL)
    assert np.array_equal(part, whole[:, 3:6])
    joined = sample(checkpoint, range(12), engine=SMALL)
    assert not np.array_equal(joined[:, :3], whole[:, :3])


def test_another_batch_plan_agrees_within_the_tolerance(checkpoint):
    one = sample(checkpoint, range(12), engine=SMALL)
    many = sample(checkpoint, range(12), engine=ENGINE.model_copy(update={"memory_gib": 2}))
    assert np.abs(one - many).max() <= 1e-4 * one.std()


def test_a_batch_that_does_not_fit_is_tried_smaller_and_the_plan_told(checkpoint, monkeypatch):
    predict = WindowSampler.predict

    def small_memory(self, noisy, log_snr, condition):
        if len(noisy) > 1 or condition.groups[0].stop > 1:
            raise torch.OutOfMemoryError("too large")
        return predict(self, noisy, log_snr, condition)

    coarse, grid = source(range(12), tiles=2)
    whole = sample(checkpoint, range(12), data=(coarse, grid))
    monkeypatch.setattr(WindowSampler, "predict", small_memory)
    blocks = list(
        downscale(
            checkpoint, coarse, grid, frames=range(12), members=range(3), seed=7, engine=ENGINE,
            sampler=SAMPLER,
        )
    )  # fmt: skip
    assert {block.plan for block in blocks} == {BatchPlan(1, 1)}
    small = np.concatenate([block.pr for block in blocks], axis=1)
    assert np.abs(small - whole).max() <= 1e-4 * whole.std()


def test_seed_and_member_change_the_sample_and_nothing_else_does(checkpoint):
    first = sample(checkpoint, range(3))
    assert np.array_equal(first, sample(checkpoint, range(3)))
    assert not np.array_equal(first, sample(checkpoint, range(3), seed=8))


def test_faces_are_sampled_each_with_their_own_noise(checkpoint):
    coarse, grid = source(range(6), tiles=6)
    coarse = coarse.map(lambda v: v * 0 + v.isel(tile=0), keep_attrs=True).transpose(
        "time", "tile", ...
    )
    pr = sample(checkpoint, range(6), data=(coarse, grid))
    assert pr.shape == (3, 6, 6, 16, 32)
    assert not np.array_equal(pr[:, :, 0], pr[:, :, 1])
    again = sample(checkpoint, range(6), data=(coarse, grid), engine=SMALL)
    assert np.abs(pr - again).max() <= 1e-4 * pr.std()


def test_a_circle_of_longitude_has_no_preferred_meridian(checkpoint, monkeypatch):
    coarse, grid = source(range(3), periodic=1)
    straight = sample(checkpoint, range(3), data=(coarse, grid))
    frame = RecordNoise.frame
    monkeypatch.setattr(RecordNoise, "frame", lambda self, k: frame(self, k).roll(16, -1))
    turned = sample(checkpoint, range(3), data=(coarse.roll(x=2), grid.roll(x=16)))
    assert np.abs(np.roll(straight, 16, -1) - turned).max() <= 1e-4 * straight.std()


def test_bfloat16_stays_close(checkpoint):
    exact = sample(checkpoint, range(3))
    rough = sample(checkpoint, range(3), engine=Engine(device="cpu", precision="bfloat16"))
    assert 0 < np.abs(rough - exact).mean() < 0.05 * exact.std()


def test_progress_is_told(checkpoint):
    seen = []
    sample(
        checkpoint, range(9), progress=lambda done, total: seen.append((done, total)), engine=SMALL
    )  # fmt: skip
    # windows at 0, 2, 4 and 6, three calls each
    assert seen == [(k, 12) for k in range(1, 13)]


def test_plans_fit_the_budget():
    network = preset("small", 1).build()

    def plan(gib, device="cuda", size=64):
        shape = (size, size)
        return plan_batches(
            network, shape, calls=8, tiles=6, members=4, memory_gib=gib, device=device
        )

    assert plan(1e-6) == BatchPlan(1, 1)
    plans = [plan(g) for g in (0.1, 0.2, 0.3, 1, 10)]
    sizes = [p.tiles * p.members for p in plans]
    assert sizes == sorted(sizes)
    assert plans[-1] == BatchPlan(6, 4)
    # on a CPU a call has no more than 128 MiB of activations; a sample of 64 × 64 cells has 15
    assert plan(10, "cpu") == BatchPlan(2, 4)
    assert plan(10, "cpu", size=256) == BatchPlan(1, 1)
    assert BatchPlan(6, 4).smaller() == BatchPlan(3, 4)
    assert BatchPlan(1, 4).smaller() == BatchPlan(1, 2)
    assert BatchPlan(1, 1).smaller() is None


def test_absent_frames_are_refused(checkpoint):
    coarse, grid = source(range(6))
    with pytest.raises(ValueError, match="test has no frame at 2001-02-20T18:00:00"):
        sample(checkpoint, range(6, 9), data=(coarse, grid))
    with pytest.raises(ValueError, match="test has no frame at 2001-02-20T12:00:00"):
        sample(checkpoint, range(4), data=(coarse.isel(time=[0, 1, 2, 3, 5]), grid))


def test_sources_that_do_not_fit_are_refused(checkpoint):
    coarse, grid = source(range(3))
    with pytest.raises(ValueError, match="test has no tas, orog, which checkpoint test needs"):
        sample(checkpoint, range(3), data=(coarse.drop_vars("tas"), grid.drop_vars("orog")))
    with pytest.raises(CheckpointError, match="factor 4, trained at 8"):
        sample(checkpoint, range(3), data=(coarse.assign_attrs(factor=4), grid))
    with pytest.raises(ValueError, match="coarse cells along x"):
        sample(checkpoint, range(3), data=(coarse.isel(x=slice(3)), grid))


def test_a_device_that_is_not_there_is_refused():
    if torch.cuda.is_available():
        assert Engine(device="cuda").resolve().precision in ("bfloat16", "float32")
    else:
        with pytest.raises(ValueError, match="device cuda is not available"):
            Engine(device="cuda").resolve()
    assert Engine(device="cpu").resolve().memory_gib > 0
