"""What all tests share."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("stvd", deadline=None, max_examples=50)
settings.load_profile("stvd")

# Flows read this once, when they are imported: tests keep their runs out of the working tree.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["STVD_RUNS"] = tempfile.mkdtemp(prefix="stvd-tests-")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that nobody trained, for `gcm_demo`: as fast as one can be."""
    import torch

    from stvd.checkpoint import Checkpoint, GridContract
    from stvd.conditioning import Channels, Standard
    from stvd.model import preset
    from stvd.transforms import RainTransform

    torch.manual_seed(0)
    channels = Channels(
        rain=RainTransform(),
        predictors=("prw",),
        statics=("orog",),
        scales={"prw": Standard(mean=20, std=15), "orog": Standard(mean=300, std=800)},
    )
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    Checkpoint.create(
        "tiny",
        preset("tiny", channels.channels).build(),
        channels,
        GridContract(factor=8, step_seconds=(10_800, 10_800), spacing_km=(50, 200)),
        {"trained": False},
        folder,
    )
    return folder
