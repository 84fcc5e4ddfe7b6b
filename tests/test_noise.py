import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stvd.lattice import WindowLattice
from stvd.noise import correlated, frame_noise, window_noise

numbers = st.integers(0, 2**40)


@settings(max_examples=30)
@given(numbers, st.integers(0, 500), st.integers(0, 5), st.integers(-(2**40), 2**40))
def test_a_frame_is_a_function_of_its_name_alone(seed, member, tile, frame):
    once = frame_noise(seed, member, tile, frame, (4, 6))
    again = frame_noise(seed, member, tile, frame, (4, 6))
    assert np.array_equal(once, again)
    for other in [
        (seed + 1, member, tile, frame),
        (seed, member + 1, tile, frame),
        (seed, member, tile + 1, frame),
        (seed, member, tile, frame + 1),
    ]:
        assert not np.array_equal(once, frame_noise(*other, (4, 6)))


def test_a_window_holds_the_frames():
    noise = window_noise(3, range(2, 4), 1, range(10, 15), (4, 6))
    assert noise.shape == (2, 5, 1, 4, 6)
    assert torch.equal(noise[1, 2, 0], torch.from_numpy(frame_noise(3, 3, 1, 12, (4, 6))))


def test_noise_is_standard_normal_and_frames_are_independent():
    a, b = (frame_noise(0, 0, 0, k, (400, 400)).ravel() for k in (0, 1))
    # standard errors with 160,000 values: mean 0.0025, variance 0.0035, correlation 0.0025
    assert abs(a.mean()) < 0.0125
    assert abs(a.var() - 1) < 0.0175
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.0125


def joined(lattice, shape, share, rho=0.0):
    """Noise of two anchors that follow each other, each (member, time, y, x)."""
    return [
        window_noise(0, range(2), 0, lattice.anchor(n), shape, lattice.joints(n), share, rho)[
            :, :, 0
        ]
        for n in (4, 5)
    ]


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def test_windows_share_noise_where_they_are_joined():
    shape, share = (300, 300), 0.5
    lattice = WindowLattice(length=3)
    here, there = joined(lattice, shape, share)

    # standard error of a correlation of 90,000 pairs: 0.0033; of a variance 0.0047
    assert correlation(here[0, -1], there[0, 0]) == pytest.approx(share, abs=0.015)
    assert abs(correlation(here[0, -1], there[1, 0])) < 0.015  # members are drawn apart
    assert abs(correlation(here[0, -1], here[0, 0])) < 0.015  # within a window nothing changes
    assert abs(correlation(here[0, 0], there[0, -1])) < 0.015
    assert float(here[0, -1].var()) == pytest.approx(1, abs=0.025)
    plain = window_noise(0, range(2), 0, lattice.anchor(4), shape)[:, :, 0]
    assert torch.equal(plain[:, 1], here[:, 1])


def test_correlated_frames_are_standard_normal_with_powers_of_the_correlation():
    noise = correlated(
        torch.randn(1, 5, 1, 400, 400, generator=torch.Generator().manual_seed(0)), 0.6
    )
    frames = noise[0, :, 0].flatten(1)
    # correlations of frames 1, 2 and 4 apart: 0.6, 0.36, 0.1296; standard errors below 0.0035
    found = torch.corrcoef(frames)
    assert found[0].tolist() == pytest.approx([1, 0.6, 0.36, 0.216, 0.1296], abs=0.0175)
    assert frames.var(1).tolist() == pytest.approx([1] * 5, abs=0.0175)


def test_correlated_windows_share_as_much_where_they_are_joined():
    here, there = joined(WindowLattice(length=5), (300, 300), 0.5, rho=0.6)
    assert correlation(here[0, -1], there[0, 0]) == pytest.approx(0.5, abs=0.015)


def test_no_correlation_leaves_the_noise_as_it_is():
    noise = torch.randn(2, 5, 1, 4, 4)
    assert torch.equal(correlated(noise, 0.0), noise)


def test_a_correlated_bridge_has_noise_of_its_own():
    shape, lattice = (300, 300), WindowLattice(length=5)
    anchor = window_noise(0, range(1), 0, lattice.anchor(0), shape, correlation=0.6)[0, :, 0]
    bridge = window_noise(0, range(1), 0, lattice.bridge(0), shape, correlation=0.6, bridge=True)[
        0, :, 0
    ]
    # the bridge begins with the anchor's last frame: were its noise the same, this would be 0.6
    assert abs(correlation(anchor[-1], bridge[1])) < 0.0175
