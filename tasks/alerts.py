"""Events for automations: something about a product wants somebody's attention."""

from __future__ import annotations

from typing import Literal

from prefect.events import emit_event

Alert = Literal[
    "stvd.input.late", "stvd.input.overdue", "stvd.input.shortened", "stvd.partition.quarantined"
]


def alert(event: Alert, product: str, message: str, **payload: str) -> None:
    """Tell Prefect, whose automations know whom to tell.

    Parameters
    ----------
    product : name or URI
    """
    name = product.rstrip("/").rsplit("/", 1)[-1]
    emit_event(
        event,
        {"prefect.resource.id": f"stvd.product.{name}", "prefect.resource.name": name},
        payload={"message": message, **payload},
    )
