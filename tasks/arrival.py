"""Waiting for input that is expected, up to a deadline."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from prefect import task

from stvd.arrival import lateness, shortened
from stvd.production import Production
from stvd.source import Source
from tasks.announcement import alert
from tasks.retry import PATIENTLY

log = logging.getLogger("stvd.arrival")

LOOK_SECONDS = 600.0


class InputMissing(RuntimeError):
    """Input that was expected is not there; what it would have become was not published."""


@task(name="await input", **PATIENTLY)
def await_input(production: Production, lag_days: float | None, wait_hours: float) -> list[str]:
    """Wait for a record to reach as far as it should; what is wrong with it at the end, in words.

    The first look that finds it late raises an alert, the deadline another one.
    """
    deadline = time.monotonic() + 3600 * wait_hours
    late = _late(production.source, lag_days)
    if late and wait_hours:
        alert("stvd.input.late", production.product, late)
    while late and (left := deadline - time.monotonic()) > 0:
        log.info("%s: %s; waiting, %.1f h at most", production.source.name, late, left / 3600)
        time.sleep(min(LOOK_SECONDS, left))
        late = _late(production.source, lag_days)
    if late:
        alert("stvd.input.overdue", production.product, late)
    source = _fresh(production.source)
    published = [entry.frames for entry in production.ledger().values()]
    short = shortened(source.axis, source.info.frames, published)
    if short:
        alert("stvd.input.shortened", production.product, short)
    return [problem for problem in (late, short) if problem]


def _late(source: Source, lag_days: float | None) -> str:
    if lag_days is None:
        return ""
    source = _fresh(source)
    return lateness(source.axis, source.info.frames, lag_days, datetime.now(UTC))


def _fresh(source: Source) -> Source:
    """The source as it is now: what one has read of its record stays with it."""
    return Source(**source.model_dump())
