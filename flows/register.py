"""Put a checkpoint that lies in a folder into the model registry."""

from __future__ import annotations

from prefect import flow

from flows.parameters import locate_checkpoint
from flows.settings import Settings
from tasks.training import register_checkpoint


@flow(name="register", flow_run_name="{checkpoint}")
def register(checkpoint: str, description: str = "") -> str:
    """Register a checkpoint as the challenger of its model; returns its address.

    Args:
        checkpoint: Name or folder of the checkpoint.
        description: What it is for, in a sentence.
    """
    folder, _ = locate_checkpoint(checkpoint, Settings())
    made = register_checkpoint(str(folder), description)
    assert made.model is not None  # only a training of another network has none
    return made.model
