import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stvd.noise import RecordNoise, correlated, frame_noise

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
    assert not np.array_equal(once, frame_noise(seed, member, tile, frame, (4, 6), draw=1))


def test_noise_is_standard_normal_and_frames_are_independent():
    a, b = (frame_noise(0, 0, 0, k, (400, 400)).ravel() for k in (0, 1))
    # standard errors with 160,000 values: mean 0.0025, variance 0.0035, correlation 0.0025
    assert abs(a.mean()) < 0.0125
    assert abs(a.var() - 1) < 0.0175
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.0125


def test_the_noise_of_a_record_is_that_of_its_members_and_faces():
    noise = RecordNoise(3, range(2, 4), 2, (4, 6)).frame(12)
    assert noise.shape == (2, 1, 8, 6)
    assert torch.equal(noise[1, 0, 4:], torch.from_numpy(frame_noise(3, 3, 1, 12, (4, 6))))


@pytest.mark.parametrize("rho", [0.3, 0.55, 0.9])
def test_the_noise_of_a_record_is_standard_normal_with_powers_of_the_correlation(rho):
    noise = RecordNoise(0, range(1), 1, (400, 400), rho)
    frames = torch.stack([noise.frame(k).flatten() for k in range(30, 35)])  # 32 begins a span
    # standard errors with 160,000 values: variance 0.0035, correlation below 0.0025
    assert torch.corrcoef(frames)[0].tolist() == pytest.approx(
        [rho**k for k in range(5)], abs=0.015
    )
    assert frames.var(1).tolist() == pytest.approx([1] * 5, abs=0.0175)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_the_noise_of_a_frame_does_not_depend_on_what_was_read_before(rho):
    ahead, alone = (RecordNoise(5, range(2), 1, (4, 6), rho) for _ in range(2))
    read = [ahead.frame(k) for k in range(-3, 70)]
    for k in (69, 64, 63, 29, 0, -1, -3):  # and backwards, over the edges of spans
        assert torch.equal(read[k + 3], alone.frame(k))
        assert torch.equal(read[k + 3], alone.frame(k))


def test_correlated_frames_are_standard_normal_with_powers_of_the_correlation():
    noise = correlated(
        torch.randn(1, 5, 1, 400, 400, generator=torch.Generator().manual_seed(0)), 0.6
    )
    frames = noise[0, :, 0].flatten(1)
    # correlations of frames 1, 2 and 4 apart: 0.6, 0.36, 0.1296; standard errors below 0.0035
    found = torch.corrcoef(frames)
    assert found[0].tolist() == pytest.approx([1, 0.6, 0.36, 0.216, 0.1296], abs=0.0175)
    assert frames.var(1).tolist() == pytest.approx([1] * 5, abs=0.0175)


def test_no_correlation_leaves_the_noise_as_it_is():
    noise = torch.randn(2, 5, 1, 4, 4)
    assert torch.equal(correlated(noise, 0.0), noise)
