"""Slopes to the north-west are light, those to the south-east dark."""

from __future__ import annotations

import numpy as np
import pytest

from stvd.diagnostics.relief import hillshade

HILL = 2000 * np.exp(-(np.hypot(*np.mgrid[-10:11, -10:11]) ** 2) / 20.0)


def test_flat_land_is_neither_light_nor_dark() -> None:
    assert (hillshade(np.full((5, 6), 300.0), 1e3, 1e3) == 0).all()


def test_the_sun_stands_in_the_north_west() -> None:
    shade = hillshade(HILL, 1e3, 1e3)  # rows from the south: north-west is up and left
    assert shade[13, 7] > 0.2
    assert shade[7, 13] < -0.4
    assert shade == pytest.approx(shade.T[::-1, ::-1])  # the sun shines along the diagonal
    assert np.abs(shade).max() <= 1


def test_a_known_slope() -> None:
    # A plane rising to the east by 0.7 after stretching: (−0.7 s_x + s_z) / √1.49 with
    # s_x = −0.5, s_z = 0.7071: (0.35 + 0.7071) / 1.2207 = 0.8660; relative (0.8660 − 0.7071) / 0.2929.
    ramp = np.broadcast_to(np.arange(12.0) * 1000, (9, 12))
    assert hillshade(ramp, 1e3, 1e3) == pytest.approx(0.5426, abs=1e-3)


def test_heights_and_cells_set_the_slope_together() -> None:
    assert hillshade(3 * HILL, 3e3, 3e3) == pytest.approx(hillshade(HILL, 1e3, 1e3))


def test_low_hills_are_gentle() -> None:
    low = np.abs(hillshade(HILL / 100, 1e3, 1e3)).max()
    assert 0 < low < 0.1 * np.abs(hillshade(HILL, 1e3, 1e3)).max()


def test_missing_heights_do_no_harm() -> None:
    assert np.isfinite(hillshade(np.where(HILL > 10, HILL, np.nan), 1e3, 1e3)).all()
    assert hillshade(np.ones((1, 4)), 1e3, 1e3).tolist() == [[0, 0, 0, 0]]
