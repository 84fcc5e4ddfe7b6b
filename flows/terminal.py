"""What commands share: the console, and how work and errors are told."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from flows.settings import Settings
from flows.stack_processes import reap

console = Console(highlight=False)
state = {"verbose": False}


@contextmanager
def told(*, quiet: bool = True) -> Iterator[None]:
    """Tell of the work as it goes, and of an error in a sentence instead of a traceback."""
    if quiet and not state["verbose"]:  # our own lines say enough
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    # 0 / 0 of cells where it never rained is meant to be missing.
    warnings.filterwarnings("ignore", "invalid value encountered in divide", RuntimeWarning)
    reap()  # a server that a killed run left behind holds its database
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    logger = logging.getLogger("stvd")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    except KeyboardInterrupt:
        console.print("Stopped")
        raise typer.Exit(130) from None
    except Exception as error:
        if state["verbose"]:
            raise
        said = f"{error}{_remedy(error)}"
        console.print(f"[red]{type(error).__name__}[/red] {escape(said)}", soft_wrap=True)
        raise typer.Exit(1) from None
    finally:
        logger.removeHandler(handler)


def _remedy(error: Exception) -> str:
    """What to do where Prefect's client gave up: its errors name no server."""
    from httpx import TransportError

    if not isinstance(error, TransportError):
        return ""
    server = Settings().prefect_api_url or "that this command started"
    return (
        f": Prefect's server {server} is out of reach. What was published stays; run the same "
        "command again when it answers"
    )
