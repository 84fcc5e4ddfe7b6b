"""`stvd stack`: servers and workers on this machine."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated, Any

import typer

from flows.settings import Settings
from flows.terminal import console, told

app = typer.Typer()


@app.command()
def stack(
    stop: Annotated[bool, typer.Option("--stop", help="End the stack that runs.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what runs.")] = False,
    prefect_port: Annotated[int, typer.Option(help="Port of the Prefect server.")] = 4200,
    mlflow_port: Annotated[int, typer.Option(help="Port of the MLflow server.")] = 5000,
    store: Annotated[
        bool, typer.Option("--store", help="Products and artifacts in an S3 store of its own.")
    ] = False,
    store_port: Annotated[int, typer.Option(help="First of the ports of the object store.")] = 8333,
) -> None:
    """Start Prefect, MLflow and a worker for each queue on this machine, until Ctrl-C.

    - `stvd stack` open the two addresses that it prints
    - `stvd stack --store` with an object store (extra `store`)
    - `stvd stack --prefect-port 4300` where 4200 is taken
    - `stvd stack --status` addresses, and whether each service is well
    - `stvd stack --stop` from another terminal
    """
    from flows import stack as local

    with told(quiet=False):
        settings = Settings()
        running = local.running(settings)
        if status:
            console.print(_addresses(running) if running else "No stack runs here")
            for name, well in (local.health(running) if running else {}).items():
                console.print(f"{name:<15}{'well' if well else 'DOWN'}")
        elif stop:
            console.print("Stopped" if local.stop(settings) else "No stack ran here")
        else:
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            ports = local.Ports(
                prefect=prefect_port, mlflow=mlflow_port, store=store_port if store else None
            )
            with local.stack(settings, ports, say=console.print) as started:
                console.print(_addresses(started) + "\nCtrl-C stops everything")
                while True:
                    time.sleep(1)
                    local.check(started, settings)


def _addresses(running: Any) -> str:
    store = f"\nS3       {running.store_url}" if running.store_url else ""
    return f"Prefect  {running.prefect_url}\nMLflow   {running.mlflow_url}{store}"
