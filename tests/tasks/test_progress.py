"""Progress in a log: plain lines, few of them."""

import logging
import re
import socket
import time
from types import SimpleNamespace

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import progress


def test_a_log_gets_a_line_now_and_then(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(progress, "LINE_SECONDS", 5.0)
    with caplog.at_level(logging.INFO), progress.reporting("sampling") as report:
        for done in range(1, 21):
            report(done, 20)
    lines = [r.message for r in caplog.records]
    assert 1 < len(lines) < 10, "fewer lines than steps"
    assert all(line.startswith("sampling: ") and line.endswith("s left") for line in lines)


def test_two_bars_share_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(progress.console), "is_terminal", property(lambda self: True))
    with progress.reporting("partitions") as outer, progress.reporting("windows") as inner:
        inner(1, 4)
        outer(1, 2)
        tasks = {t.description: t.completed for t in progress._bars.tasks}
    assert tasks == {"partitions": 1, "windows": 1}
    assert progress._bars.task_ids == []


def test_work_goes_on_where_its_progress_cannot_be_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing listens at the address of the server."""
    monkeypatch.setattr(progress, "FlowRunContext", SimpleNamespace(get=object))
    monkeypatch.setattr(progress, "ARTIFACT_SECONDS", 0.0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api"
    with temporary_settings({PREFECT_API_URL: url}), progress._artifact("sampling") as report:
        report(1, 2)
        report(2, 2)
    assert [r.message for r in caplog.records if "progress is not shown" in r.message]


def test_an_artifact_says_when_the_rest_will_be_done() -> None:
    """One of four in 10 s: three more take 30 s."""
    assert re.fullmatch(
        r", about 0:00:30 left, done at \d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC",
        progress._expected(time.monotonic() - 10, 1, 4),
    )
    assert progress._expected(time.monotonic(), 0, 4) == ""
