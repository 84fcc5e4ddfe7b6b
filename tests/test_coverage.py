"""Rectangles with data in every frame."""

import numpy as np
import pytest

from stvd.contract import CatalogError
from stvd.coverage import valid_region


def test_the_largest_rectangle_goes_round_a_hole():
    valid = np.ones((6, 8), dtype=bool)
    valid[1, 1] = False  # of blocks of 2: the first of the first row
    region = valid_region(valid, np.ones((6, 8)), multiple=2, largest=100)
    assert region == ((0, 6), (2, 8))  # 6 × 6 cells; below the hole there are 4 × 8 = 32


def test_of_equal_rectangles_the_rainiest_is_taken():
    rain = np.zeros((4, 8))
    rain[:, 5] = 1.0
    valid = np.ones((4, 8), dtype=bool)
    assert valid_region(valid, rain, multiple=2, largest=4) == ((0, 4), (2, 6))
    rain[:, 0] = 2.0
    assert valid_region(valid, rain, multiple=2, largest=4) == ((0, 4), (0, 4))


def test_rain_where_there_is_no_data_does_not_count():
    valid = np.ones((2, 4), dtype=bool)
    valid[0, 0] = False
    rain = np.full((2, 4), np.nan)
    rain[:, 2:] = 1.0
    assert valid_region(valid, rain, multiple=2, largest=2) == ((0, 2), (2, 4))


def test_cells_beyond_the_last_multiple_are_left_out():
    valid = np.ones((5, 7), dtype=bool)
    assert valid_region(valid, np.ones((5, 7)), multiple=2, largest=100) == ((0, 4), (0, 6))


def test_no_rectangle_at_all_is_an_error():
    with pytest.raises(CatalogError, match="no rectangle of 2 × 2 cells"):
        valid_region(np.eye(4, dtype=bool), np.ones((4, 4)), multiple=2, largest=4)
