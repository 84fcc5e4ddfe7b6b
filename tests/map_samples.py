"""Small grids of every kind, and what stands on a figure, for the tests of maps and charts."""

from __future__ import annotations

import io

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from stvd.synthetic import synthetic_grid


def png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def texts(figure: Figure) -> list[str]:
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        found += [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel()]
        found += [t.get_text() for t in axes.texts]
    for legend in [*figure.legends, *(a.get_legend() for a in figure.axes)]:
        if legend is not None:
            found += [t.get_text() for t in legend.get_texts()]
    return [text.replace("\n", " ") for text in found]


def grid_of(kind: str, rows: int = 16, columns: int = 24) -> xr.Dataset:
    y, x = np.arange(rows), np.arange(columns)
    coords: dict = {}
    if kind == "global":
        coords = {
            "lat": ("y", np.linspace(-84, 84, rows)),
            "lon": ("x", x * 360 / columns),
        }
    elif kind == "regional":
        coords = {"lat": ("y", 40 + 0.5 * y), "lon": ("x", 350 + 0.5 * x)}
    elif kind == "projected":
        lat, lon = 46 + 0.01 * y[:, None] + 0.001 * x, 7 + 0.014 * x + 0.001 * y[:, None]
        coords = {"lat": (("y", "x"), lat), "lon": (("y", "x"), lon)}
    elif kind == "kilometres":
        coords = {"y": ("y", y * 1e3, {"units": "m"}), "x": ("x", x * 1e3, {"units": "m"})}
    land = (np.hypot(y[:, None] - 8, x - 12) < 6).astype(float)
    return xr.Dataset(
        {"land_fraction": (("y", "x"), land), "orog": (("y", "x"), 3000 * land)}, coords=coords
    )


def cubed_sphere(side: int = 12) -> xr.Dataset:
    """Six faces with a land of their own, `orog` and `land_fraction` (tile, y, x)."""
    return synthetic_grid((side, side), factor=4, tiles=6)
