from datetime import UTC, datetime

import pytest
from product_samples import cell

from stvd.arrival import lateness, shortened
from stvd.lattice import TimeAxis

AXIS = TimeAxis(epoch="2030-01-01", step_seconds=10_800)  # 8 frames a day
NOW = datetime(2030, 1, 11, 12, tzinfo=UTC)


@pytest.mark.parametrize("frames", [76, 200])
def test_a_record_that_reaches_far_enough_is_not_late(frames):
    # a day before now is 10 January 12:00: 9 days of 8 frames, and 4 more, are over
    assert lateness(AXIS, range(frames), 1, NOW) == ""


def test_a_late_record_says_by_how_much():
    said = lateness(AXIS, range(8 * 8), 1, NOW)  # ends with 8 January
    assert "ends at 2030-01-09T00:00, 1.5 days before 2030-01-10T12:00" in said


def test_another_clock_is_refused_by_name():
    with pytest.raises(ValueError, match="360_day"):
        lateness(AXIS.model_copy(update={"calendar": "360_day"}), range(8), 1, NOW)


def test_a_record_that_lost_its_end_is_told_and_one_that_lost_its_start_is_not():
    published = [cell(0).frames, cell(1).frames]  # frames 0-20 and 20-40
    assert shortened(AXIS, range(40), published) == ""
    assert shortened(AXIS, range(30, 40), published) == ""
    said = shortened(AXIS, range(30), published)
    assert "ends at 2030-01-04T18:00:00" in said  # 30 x 3 h
    assert "reaches to 2030-01-06T00:00:00 (1 of its partitions" in said
