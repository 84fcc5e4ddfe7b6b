"""Overlapping windows of a Gaussian record whose denoiser is known exactly: the sample is linear in its noise."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from stvd.lattice import WindowLattice
from stvd.model.diffusion import alpha_sigma
from stvd.sampling import SamplerConfig
from stvd.window_chain import WindowChain

T = 5
LATTICE = WindowLattice(length=T)


@dataclass(frozen=True)
class Condition:
    mean: torch.Tensor


def autoregressive(rho, length):
    """Covariance of x_k = ρ x_{k−1} + √(1 − ρ²) ε_k, which is ρ^|i − j|."""
    steps = torch.arange(length, dtype=torch.float64)
    return rho ** (steps[:, None] - steps[None, :]).abs()


class Exact:
    """Windows of x ~ N(0, v ρ^|i − j|) in noise of correlation `noise`, one member per unit of noise.

    The units are those of the frames, for each draw.
    """

    def __init__(self, record, rho, noise, variance, draws=1):
        self.units = range(record.start - T, record.stop + T)  # windows reach over the ends
        self.draws = draws
        self.target, self.noisy = variance * autoregressive(rho, T), autoregressive(noise, T)
        self.calls = []

    def condition(self, window):
        mean = torch.tensor([float(window.start)]).expand(1, T, 1, 1, 1)  # each window says its own
        return Condition(mean)

    def noise(self, frame, draw):
        unit = torch.zeros(self.draws, len(self.units), 1, 1, 1, dtype=torch.float64)
        unit[draw, self.units.index(frame)] = 1
        return unit.flatten(0, 1)

    def clean(self, noisy, log_snr, condition):
        self.calls.append(float(log_snr))
        alpha, sigma = alpha_sigma(log_snr)
        mixed = alpha**2 * self.target + sigma**2 * self.noisy
        gain = alpha * self.target @ torch.linalg.inv(mixed)
        return torch.einsum("ij,bjcyx->bicyx", gain, noisy)


def chain(record, frames, rule="overlapping", **how):
    lattice = WindowLattice(length=T, rule=rule)
    return WindowChain(lattice, SamplerConfig(windows=rule, **how), record, frames)


def sampled(network, record, frames, rule="overlapping", **how):
    """Gains (frame, draw, unit of noise) and the means, of all that is finished."""
    found = [f for f in chain(record, frames, rule, **how).run(network) if f is not None]
    assert [k for f in found for k in f.frames] == list(frames)
    gains = torch.cat([f.residual[:, :, 0, 0] for f in found], dim=1).T
    gains = gains.unflatten(1, (network.draws, len(network.units)))
    return gains, torch.cat([f.mean[:, 0, 0] for f in found])


def covariance(rho, noise, variance=0.5, frames=range(40, 48), rule="overlapping", **how):
    """Covariance of some frames in the middle of a long record."""
    record = range(88)
    network = Exact(record, rho, noise, variance, draws=how.get("steps", 1))
    gains, _ = sampled(network, record, frames, rule, **how)
    unit = autoregressive(noise, gains.shape[2])
    return torch.einsum("idu,uv,jdv->ij", gains, unit, gains).numpy()


def seam(found, rule="overlapping"):
    """Mean |x_k − x_{k−1}| over the seams of a cycle against that over its other steps."""
    change = np.sqrt(np.diag(found)[1:] + np.diag(found)[:-1] - 2 * np.diag(found, 1))
    lattice = WindowLattice(length=T, rule=rule)
    arrivals = np.arange(41, 41 + lattice.cycle) % lattice.cycle
    edge = np.isin(arrivals, lattice.edges)
    return change[: lattice.cycle][edge].mean() / change[: lattice.cycle][~edge].mean()


@pytest.mark.parametrize(
    "how", [{}, {"solver": "dpmpp2m_sde", "steps": 10, "inflation": 1.0}], ids=str
)
@pytest.mark.parametrize("rho", [0.3, 0.5, 0.6])
def test_a_record_has_no_seam_and_the_correlation_of_the_truth(rho, how):
    found = covariance(rho, noise=0.5, **how)
    variance = np.diag(found)
    assert variance / 0.5 == pytest.approx(1, abs=0.06 if how else 0.04)
    assert seam(found) == pytest.approx(1, abs=0.05)
    correlation = np.diag(found, 1) / np.sqrt(variance[1:] * variance[:-1])
    assert correlation[:4].mean() == pytest.approx(rho, abs=0.021)


def test_windows_that_do_not_overlap_have_seams():
    assert seam(covariance(0.6, noise=0.0, rule="independent"), "independent") > 1.4


def test_noise_as_correlated_as_the_record_makes_it_exact():
    found = covariance(0.8, noise=0.8)
    correlation = np.diag(found, 1) / np.diag(found)[:-1]
    assert correlation == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize("solver", ["dpmpp2m", "dpmpp2m_sde"])
def test_any_piece_has_the_numbers_of_the_whole(solver):
    record = range(60)
    network = Exact(record, 0.6, 0.5, 0.5, draws=3)
    how = {"solver": solver, "steps": 3}
    whole, means = sampled(network, record, record, **how)
    for piece in (range(7), range(24, 32), range(30, 31), range(28, 29), range(57, 60)):
        reads = LATTICE.reads(piece, calls=3)
        inside = range(max(reads.start, 0), min(reads.stop, 60))
        gains, mean = sampled(network, inside, piece, **how)
        assert torch.equal(gains, whole[piece.start : piece.stop])
        assert torch.equal(mean, means[piece.start : piece.stop])
        # and depends on no noise from without
        outside = [i for i, k in enumerate(network.units) if k not in reads]
        assert not gains[:, :, outside].any()


def test_a_frame_that_windows_share_has_the_mean_of_what_they_say():
    record = range(17)
    _, mean = sampled(Exact(record, 0.5, 0.5, 0.5), record, record, steps=1)
    assert mean[3:6].tolist() == [0, 2, 4]  # windows at 0 and 4


@pytest.mark.parametrize("frames", [range(1), range(4, 5), range(3, 9), range(13)], ids=str)
def test_a_record_of_any_length_is_sampled_to_its_ends(frames):
    gains, _ = sampled(Exact(range(20), 0.5, 0.5, 0.5), frames, frames)
    assert (gains.abs().sum((1, 2)) > 0).all()


def test_every_window_is_called_once_a_level():
    record = range(41)
    network = Exact(record, 0.5, 0.5, 0.5)
    made = chain(record, record, steps=4)
    assert sum(1 for _ in made.run(network)) == made.calls == len(network.calls) == 10 * 4


def test_what_is_held_does_not_grow_with_the_record():
    held = []
    record = range(401)
    network = Exact(record, 0.5, 0.5, 0.5)
    run = chain(record, record, steps=4).run(network)
    for _ in run:
        state = run.gi_frame.f_locals["state"]
        held.append((len(state.conditions), len(state.noisy)))
    assert max(c for c, _ in held) <= 2 * 4 + 1
    assert max(n for _, n in held) <= (2 * 4 + 1) * T
    assert not state.conditions
    assert not state.waiting
