import numpy as np
import pytest
import torch

from stvd.structure import USUAL, scaling_exponent, squared_increments, texture_step
from stvd.transforms import MM_PER_HOUR


def test_increments_of_a_ramp():
    root = torch.arange(6.0).expand(4, 6)  # √P, mm/h: 0 along y, 1 a cell along x
    found = squared_increments(root**2 * MM_PER_HOUR)
    # one cell: 12 + 6·3 = 18 steps of 0 along y, 4·5 = 20 of 1 along x; two: 12 of 0 and 16 of 2² = 4
    torch.testing.assert_close(found, torch.tensor([20 / 38, 64 / 28]))


def test_missing_cells_are_left_out():
    rain = torch.rand(3, 8, 8) * MM_PER_HOUR
    rain[1, :4] = float("nan")
    torch.testing.assert_close(squared_increments(rain)[1], squared_increments(rain[1, 4:]))
    assert squared_increments(torch.full((8, 8), float("nan"))).tolist() == [0, 0]


def test_the_exponent_of_a_dry_field_is_the_usual_one():
    exponent = scaling_exponent(squared_increments(torch.zeros(5, 8, 8)))
    torch.testing.assert_close(exponent, torch.full((5,), float(np.log2(USUAL))))


@pytest.mark.parametrize("hurst", [0.2, 0.5])
def test_the_exponent_of_a_fractional_brownian_surface(hurst):
    rng = np.random.default_rng(1)
    size = 1024
    ky, kx = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    k = np.hypot(ky, kx)
    k[0, 0] = np.inf
    spectrum = k ** -(hurst + 1)  # power k^-(2H + 2)
    field = np.fft.ifft2(np.fft.fft2(rng.normal(size=(size, size))) * spectrum).real
    # every 8th cell: increments over distances at which the discrete spectrum has no say
    root = torch.from_numpy(5 + field / field.std())[::8, ::8]
    found = float(scaling_exponent(squared_increments(root**2 * MM_PER_HOUR)))
    assert found == pytest.approx(2 * hurst, abs=0.15)


@pytest.mark.parametrize(
    ("frames", "cells", "step"),
    [(48, 40_000, 1), (96, 40_000, 2), (36, 4_000_000, 8), (3, 10**8, 3)],
)
def test_a_texture_is_measured_on_a_bounded_part_of_a_record(frames, cells, step):
    assert texture_step(frames, cells) == step
