"""Events that tell Prefect what happened to a product, for automations to wait for."""

from __future__ import annotations

from typing import Literal

from prefect.events import emit_event

from stvd.generate import Outcome

PUBLISHED = "stvd.partition.published"
Alert = Literal[
    "stvd.input.late", "stvd.input.overdue", "stvd.input.shortened", "stvd.partition.quarantined"
]
"""Something about a product wants somebody's attention."""


def resource(product: str) -> dict[str, str]:
    """A product, by its name or URI, as events speak of it."""
    name = product.rstrip("/").rsplit("/", 1)[-1]
    return {"prefect.resource.id": f"stvd.product.{name}", "prefect.resource.name": name}


def announce(outcome: Outcome) -> None:
    """Tell that a partition is new; one that stood there already is no news."""
    if outcome.published:
        emit_event(
            PUBLISHED,
            resource(outcome.product),
            payload={"partition": outcome.partition, "snapshot": outcome.snapshot},
        )


def alert(event: Alert, product: str, message: str, **payload: str) -> None:
    """Tell that somebody should look at a product, named or given by its URI."""
    emit_event(event, resource(product), payload={"message": message, **payload})
