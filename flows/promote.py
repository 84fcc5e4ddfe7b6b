"""Make a version champion by hand: the first one, or an earlier one to roll back."""

from __future__ import annotations

from typing import Annotated

from prefect import flow
from pydantic import Field

from tasks.promotion import appoint


@flow(name="promote", flow_run_name="{version}")
def promote(version: str, reason: Annotated[str, Field(min_length=1)]) -> str:
    """Move the alias champion to a version without scoring it, for example to roll back.

    Args:
        version: Address in the registry, e.g. models:/stvd-gcm/2 or models:/stvd-gcm@challenger.
        reason: Why, in words; it is kept with the version.
    """
    return appoint(version, reason).uri
