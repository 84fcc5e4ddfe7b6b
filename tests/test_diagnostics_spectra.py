"""Spectra, autocorrelation and neighbourhoods against direct sums and known fields."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from rain_samples import area, axis, rain, record

from stvd.diagnostics.spectra import by_system, on_fine_cells
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score_ensemble
from stvd.spatial import (
    autocorrelation,
    box_counts,
    event_table,
    radial_frequencies,
    radial_spectrum,
)


def direct_spectrum(field: np.ndarray) -> np.ndarray:
    """Power of every mode by its definition, averaged mode by mode over rings."""
    ny, nx = field.shape
    size = max(ny, nx)
    rings: dict[int, list[float]] = {}
    y, x = np.mgrid[:ny, :nx]
    for ky in range(-(ny // 2), -(-ny // 2)):
        for kx in range(-(nx // 2), -(-nx // 2)):
            wave = np.exp(-2j * np.pi * (ky * y / ny + kx * x / nx))
            power = abs((field * wave).sum()) ** 2 / (ny * nx)
            rings.setdefault(round(size * np.hypot(ky / ny, kx / nx)), []).append(power)
    return np.array([np.mean(rings[k]) for k in range(1, size // 2 + 1)])


@pytest.mark.parametrize("shape", [(8, 8), (6, 10), (9, 7)], ids=str)
def test_spectrum_equals_the_definition(shape: tuple[int, int]) -> None:
    field = np.random.default_rng(0).normal(size=shape)
    ours = radial_spectrum(field, taper=False)
    assert ours == pytest.approx(direct_spectrum(field), rel=1e-9)
    assert radial_frequencies(shape).shape == ours.shape


def test_a_wave_has_its_power_in_its_ring() -> None:
    # 2 cos with 4 waves over 32 cells: the two modes (0, ±4) have |F|²/n = 1024²/1024 = 1024 each.
    x = np.arange(32)
    field = np.broadcast_to(2 * np.cos(2 * np.pi * 4 * x / 32), (32, 32))
    power = radial_spectrum(field, taper=False)
    radius = np.rint(32 * np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)))
    assert power[3] == pytest.approx(2 * 1024 / (radius == 4).sum())
    assert radial_frequencies((32, 32))[3] == 4 / 32
    assert power[[0, 1, 2, 5, 9]] == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize("taper", [False, True], ids=["plain", "tapered"])
def test_white_noise_is_flat_at_its_variance(taper: bool) -> None:
    field = 3 * np.random.default_rng(1).normal(size=(300, 32, 32))
    power = radial_spectrum(field, taper=taper).mean(axis=0)
    assert power[3:] == pytest.approx(9, rel=0.08)


def test_the_taper_keeps_an_edge_jump_out_of_the_small_scales() -> None:
    # A ramp has no small scales, but its ends do not meet; periodic_x says that they do.
    ramp = np.broadcast_to(np.linspace(0, 1, 64), (64, 64))
    plain, tapered = radial_spectrum(ramp, taper=False), radial_spectrum(ramp)
    assert tapered[-1] < 1e-4 * plain[-1]
    assert radial_spectrum(ramp, periodic_x=True)[-1] > 100 * tapered[-1]


def direct_autocorrelation(field: np.ndarray, lag: int, valid: np.ndarray, wrap: bool) -> float:
    cells = [tuple(c) for c in np.argwhere(valid)]
    mean = np.mean([field[c] for c in cells])
    product, pairs = 0.0, 0
    for y, x in cells:
        east = (x + lag) % field.shape[1] if wrap else x + lag
        for other in ((y + lag, x), (y, east)):
            if other in cells:
                product += (field[y, x] - mean) * (field[other] - mean)
                pairs += 1
    variance = np.mean([(field[c] - mean) ** 2 for c in cells])
    return product / pairs / variance


@given(st.integers(0, 1000), st.sampled_from([1, 2, 3]), st.booleans())
def test_autocorrelation_equals_the_sum_over_pairs(seed: int, lag: int, wrap: bool) -> None:
    rng = np.random.default_rng(seed)
    field, valid = rng.normal(size=(6, 7)), rng.random((6, 7)) < 0.8
    ours = autocorrelation(field, [lag], valid=valid, periodic_x=wrap)[0]
    assert ours == pytest.approx(
        direct_autocorrelation(field, lag, valid, wrap), rel=1e-9, abs=1e-12
    )


def test_autocorrelation_by_hand_and_where_it_is_not_defined() -> None:
    # Rows 0, 1, 0, 1: deviations ±½. At lag 1 the 12 pairs along x give −¼ each, the 12 along y ¼:
    # I = 0; at lag 2 all pairs give ¼, the variance: I = 1.
    stripes = np.tile([0.0, 1.0], (4, 2))
    assert autocorrelation(stripes, [1, 2]) == pytest.approx([0.0, 1.0])
    assert np.isnan(autocorrelation(np.ones((4, 4)), [1])).all()
    assert np.isnan(autocorrelation(np.eye(2), [5])).all()


def test_box_counts_by_hand() -> None:
    table = event_table(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]], bool))
    # 2 × 2 boxes: 1 top left, 0, 0, 1 bottom right.
    assert box_counts(table, 2).tolist() == [[1, 0], [0, 1]]
    wrapped = box_counts(table, 2, periodic_x=True)
    assert wrapped.shape == (2, 3)
    assert wrapped.sum() == 4  # each event lies in two boxes of a row of boxes
    with pytest.raises(ValueError, match="4 cells does not fit in a grid of 3 × 3"):
        box_counts(table, 4)


def test_spectrum_of_the_input_lies_on_that_of_the_fine_field_at_large_scales() -> None:
    # A wave of 64 cells, coarsened by 4: block means keep sinc²(π/16) = 0.987 of its power.
    x = np.arange(64)
    fine = np.broadcast_to(1 + np.cos(2 * np.pi * (x + 0.5) / 64), (2, 64, 64)) * 1e-4
    coarse = fine.reshape(2, 16, 4, 16, 4).mean(axis=(2, 4))
    config = ScoreConfig(periodic_x=True, block_frames=2)
    cells = area(np.ones((64, 64)))
    scored = score_ensemble(record(fine[None]), None, cells, config=config)
    given_ = on_fine_cells(record(coarse), cells, config, axis())
    assert given_["frequency"].values[:2] == pytest.approx([1 / 64, 2 / 64])
    assert float(given_["frequency"].max()) == pytest.approx(1 / 8)
    ratio = float(given_["rapsd"][0] / scored["rapsd"][0])
    assert ratio == pytest.approx(0.987, abs=0.01)


def test_systems_by_name() -> None:
    cells = area(np.ones((8, 8)))
    pr, truth = record(rain((2, 4, 8, 8))), record(rain((4, 8, 8), 1))
    scored = score_ensemble(pr, truth, cells, config=ScoreConfig(scales=(1,)))
    names = by_system("rapsd", {"stvd": scored, "bicubic": scored}, None)
    assert list(names) == ["truth", "stvd", "bicubic"]
    xr.testing.assert_equal(names["truth"], scored["rapsd_truth"])
