"""Radar networks whose composites were measured."""

from __future__ import annotations

TEXTURES = {"FMI": 0.98, "MeteoSwiss": 1.54, "MRMS": 0.92, "OPERA": 0.83, "RADOLAN": 1.05}
"""Scaling exponent of fine rain (`stvd.structure.texture`) at 1 to 2 km, of one event of each network."""


def texture_of(network: object) -> float | None:
    """The texture of a network by what a file says in its attribute `network`, such as `MRMS (USA)`."""
    said = str(network).partition("(")[0].strip().casefold()
    return {name.casefold(): texture for name, texture in TEXTURES.items()}.get(said)
