"""The processes of a supervisor: each inherits a mark that names it, so that none is forgotten.

Whatever carries the mark of a supervisor that is gone, a grandchild or the rest of a `kill -9`, is
ended before the next start.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

MARK = "STVD_SUPERVISOR"
STOP_SECONDS = 20.0


def mark() -> str:
    """Names this process: its number and when it started, since numbers are used again."""
    process = psutil.Process()
    return f"{process.pid}@{process.create_time():.0f}"


def alive(supervisor: str) -> bool:
    """Whether the process that `mark` named is still there; a clock may have moved by a minute."""
    try:
        number, started = supervisor.split("@")
        return abs(psutil.Process(int(number)).create_time() - float(started)) < 60
    except (psutil.Error, ValueError):
        return False


def marked(wanted: Callable[[str], bool]) -> list[psutil.Process]:
    """This user's processes whose supervisor's mark is `wanted`, but not this one."""
    found = []
    for process in psutil.process_iter():
        try:
            owner = process.environ().get(MARK)
        except (psutil.Error, OSError):
            continue
        if owner and process.pid != os.getpid() and wanted(owner):
            found.append(process)
    return found


def end(processes: list[psutil.Process], patience: float = STOP_SECONDS) -> None:
    """Ask processes to end; kill those that have not after `patience` seconds."""
    for process in processes:
        with gone_is_fine():
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=patience)
    for process in stubborn:
        with gone_is_fine():
            process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def reap() -> int:
    """End what supervisors and flow runs that are gone have left behind; how many there were."""
    orphans = marked(lambda owner: not alive(owner))
    end(orphans, patience=10)
    return len(orphans)


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for its parent to notice that it is."""
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Suppress the error of a process that has ended meanwhile."""
    try:
        yield
    except psutil.NoSuchProcess:
        return
