"""Small events of random rain, for tests of crops and training."""

from dataclasses import replace

import numpy as np

from stvd.event import Event


def event(seed=0, frames=12, cells=6, periodic=False) -> Event:
    rng = np.random.default_rng(seed)
    truth = (rng.gamma(0.3, 2.0, (frames, 8 * cells, 8 * cells)) / 3600).astype(np.float32)
    rain = truth.reshape(frames, cells, 8, cells, 8).mean((2, 4))
    tas = 280 + rng.normal(size=rain.shape)
    orog = rng.random((1, 8 * cells, 8 * cells)) * 1000
    return Event(
        name=f"event_{seed}",
        coarse=np.stack([rain, tas], axis=1).astype(np.float32),
        truth=truth,
        statics=orog.astype(np.float32),
        step_seconds=10800,
        spacing_km=25.0,
        periodic_x=periodic,
    )


def alone(record: Event) -> Event:
    """The same event with rain as its only input."""
    return replace(record, coarse=record.coarse[:, :1], statics=None)
