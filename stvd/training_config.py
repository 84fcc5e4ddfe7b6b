"""How to train."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, model_validator

from stvd.crops import Crops
from stvd.engine import Precision
from stvd.event import Event


class TrainingConfig(BaseModel):
    """How to train.

    Parameters
    ----------
    steps : optimiser steps
    batch : crops a step
    crop : side of a crop, fine cells
    learning_rate, final_learning_rate : cosine decay from one to the other
    warmup : steps of linear warm-up
    ema : decay of the exponential moving average of the weights, which is what is published
    clip : largest norm of the gradient
    seed : of weights, crops, noise levels and noise
    precision : of the network's arithmetic; `auto` takes bfloat16 where the device computes in it, as where it
        does not it is several times slower than float32
    recompute : blocks are computed again in the backward pass, a third more work for a third of the memory
        at full size (docs/model.md); the numbers are the same
    flips : mirror and transpose crops (only without winds among the predictors)
    zoom : largest magnification of crops (`stvd.crops.Crops`); 1 for none
    blur : largest standard deviation that crops are smoothed with, fine cells (`stvd.crops.Crops`)
    valid_share : least share of cells with data in a crop; the loss is taken over these
    rainiest_of : each crop is the one with the most coarse rain of so many
    intense_share : share of crops that are placed around intense coarse rain instead (`stvd.crops.Crops`)
    offsets : crops begin at any fine cell (`stvd.crops.Crops`); only without predictors
    shared_level : share of windows whose frames have one noise level, as in sampling; the others have one
        level a frame, as published
    reveal : share of windows of which the first frame, the last or both are given without noise; the loss is
        taken over the others, so that frames learn from one another
    mean_warmup : steps at the beginning that train μ alone, on ‖y − μ(x)‖²
    mean_weight : weight of ‖y − μ(x)‖² beside the diffusion loss afterwards; 0 as published
    save_every : steps between saves of the resumable state
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(4000, ge=1)
    batch: int = Field(8, ge=1)
    crop: int = Field(96, ge=16)
    learning_rate: float = 4e-4
    final_learning_rate: float = 5e-7
    warmup: int = Field(100, ge=0)
    ema: float = Field(0.998, ge=0, lt=1)
    clip: float = 1.0
    seed: int = Field(0, ge=0)
    precision: Precision = "auto"
    recompute: bool = False
    flips: bool = False
    zoom: float = Field(1.0, ge=1, le=4)
    blur: float = Field(0.0, ge=0, le=4)
    valid_share: float = Field(1.0, gt=0, le=1)
    rainiest_of: int = Field(1, ge=1)
    intense_share: float = Field(0.0, ge=0, le=1)
    offsets: bool = False
    shared_level: float = Field(0.0, ge=0, le=1)
    reveal: float = Field(0.0, ge=0, le=1)
    mean_warmup: int = Field(0, ge=0)
    mean_weight: float = Field(0.0, ge=0)
    save_every: int = Field(200, ge=1)

    @model_validator(mode="after")
    def _warm_before_done(self) -> TrainingConfig:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} is not shorter than the {self.steps} steps")
        return self

    def crops(
        self,
        events: Sequence[Event],
        window: int,
        factor: int,
        *,
        roughness: bool = False,
        texture: bool = False,
    ) -> Crops:
        """The crops that are trained on."""
        return Crops(
            events,
            window,
            self.crop,
            factor,
            flips=self.flips,
            zoom=self.zoom,
            blur=self.blur,
            valid_share=self.valid_share,
            rainiest_of=self.rainiest_of,
            intense_share=self.intense_share,
            offsets=self.offsets,
            roughness=roughness,
            texture=texture,
        )
