"""Events that tell Prefect what happened to a product, for automations to wait for."""

from __future__ import annotations

from prefect.events import emit_event

from stvd.generate import Outcome

PUBLISHED = "stvd.partition.published"


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
