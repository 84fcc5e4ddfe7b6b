"""Progress for people: a bar in a terminal, plain lines in a log, an artifact in the Prefect UI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import FlowRunContext, TaskRunContext
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

log = logging.getLogger("stvd.progress")
console = Console(highlight=False)

LINE_SECONDS = 10.0
ARTIFACT_SECONDS = 2.0

Report = Callable[[int, int], None]
"""Told how much is done, and of how much."""


@contextmanager
def reporting(title: str) -> Iterator[Report]:
    """Report a piece of work under `title`, wherever somebody may be looking."""
    with _bar(title) if console.is_terminal else _lines(title) as show, _artifact(title) as publish:

        def report(done: int, total: int) -> None:
            show(done, total)
            publish(done, total)

        yield report


@contextmanager
def reporting_each() -> Iterator[Callable[[str, int, int], None]]:
    """Report several pieces of work, each under the title that it is told with."""
    with ExitStack() as stack:
        reports: dict[str, Report] = {}

        def progress(title: str, done: int, total: int) -> None:
            if title not in reports:
                reports[title] = stack.enter_context(reporting(title))
            reports[title](done, total)

        yield progress


_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f}%"),
    TimeElapsedColumn(),
    TextColumn("left"),
    TimeRemainingColumn(),
)
_bars = Progress(
    *_COLUMNS, console=console, transient=True
)  # a terminal takes one display at a time


@contextmanager
def _bar(title: str) -> Iterator[Report]:
    """A bar among those that are showing."""
    bar = _bars.add_task(title, total=None)
    _bars.start()
    try:
        yield lambda done, total: _bars.update(bar, completed=done, total=total)
    finally:
        _bars.remove_task(bar)
        if not _bars.task_ids:
            _bars.stop()


@contextmanager
def _lines(title: str) -> Iterator[Report]:
    start = time.monotonic()
    due = _Every(LINE_SECONDS)

    def report(done: int, total: int) -> None:
        if 0 < done < total and due():
            left = _left(start, done, total)
            log.info("%s: %.0f%%, about %.0f s left", title, 100 * done / total, left)

    yield report


@contextmanager
def _artifact(title: str) -> Iterator[Report]:
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        yield lambda done, total: None
        return
    start = time.monotonic()
    due = _Every(ARTIFACT_SECONDS)
    artifact: UUID | None = None

    def report(done: int, total: int) -> None:
        nonlocal artifact
        if not (due() or done == total):
            return
        progress = 100 * done / max(total, 1)
        text = f"{title}: {done} of {total}{_expected(start, done, total)}" if total else title
        try:
            if artifact is None:
                artifact = cast(UUID, create_progress_artifact(progress, description=text))
            else:
                update_progress_artifact(artifact, progress=progress, description=text)
        except httpx.HTTPError as error:  # the work goes on, whoever looks
            log.warning("%s: progress is not shown: %s", title, error)

    report(0, 0)
    yield report


def _expected(start: float, done: int, total: int) -> str:
    """When the rest will be done, at the pace so far."""
    if not 0 < done < total:
        return ""
    left = timedelta(seconds=round(_left(start, done, total)))
    return f", about {left} left, done at {datetime.now(UTC) + left:%Y-%m-%d %H:%M} UTC"


def _left(start: float, done: int, total: int) -> float:
    return (time.monotonic() - start) * (total - done) / done


class _Every:
    """True once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.last = seconds, time.monotonic()

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True
