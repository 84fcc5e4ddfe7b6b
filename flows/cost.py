"""What `stvd info --preset` tells."""

from __future__ import annotations

import json

from rich.table import Table

from stvd.complexity import Complexity
from stvd.model.presets import PRESETS, preset
from stvd.sampling import SamplerConfig


def cost(
    name: str,
    *,
    inputs: int | None = None,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    calls: int | None = None,
) -> Complexity:
    """Cost of a window of a preset; None is what the preset was published or is shipped for.

    Parameters
    ----------
    calls : of the denoiser in a sample; None is those of the default sampler
    """
    model = preset(name, inputs, frames)
    sampler = None if calls is None else SamplerConfig(steps=calls)
    return Complexity.of(model, size or PRESETS[name].size, sampler=sampler)


def as_json(name: str, found: Complexity) -> str:
    """As documented in `docs/reference.md`."""
    return json.dumps({"preset": name, **found.model_dump(mode="json")}, indent=2)


def table(name: str, found: Complexity) -> Table:
    """The same for a reader."""
    y, x = found.size
    shown = Table(
        "", name, title=f"{found.inputs} channels, {found.frames} frames, {y} × {x} cells"
    )
    for key, count in found.parameters.model_dump().items():
        shown.add_row(f"parameters, {key}", f"{count / 1e6:.2f} M")
    for key, flops in found.flops.model_dump().items():
        calls = f" of {found.network_calls} calls" if key == "sample" else ""
        shown.add_row(f"arithmetic, {key.replace('_', ' ')}{calls}", f"{flops / 1e12:.3g} TFLOP")
    for key, nbytes in found.memory.model_dump().items():
        shown.add_row(f"memory, {key.replace('_', ' ')}", f"{nbytes / 2**30:.2f} GiB")
    return shown
