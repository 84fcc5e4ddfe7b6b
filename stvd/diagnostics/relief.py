"""Shading of topography, as if the sun stood in the north-west."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from stvd.diagnostics.plane import Plane

# Shadow over nothing over light: laid over the colour of land.
SHADES = LinearSegmentedColormap.from_list(
    "relief", [(0.25, 0.22, 0.18, 0.55), (0.4, 0.37, 0.33, 0.0), (1.0, 1.0, 1.0, 0.9)]
)
FAINT_SHADES = LinearSegmentedColormap.from_list(
    "faint relief", [(0.0, 0.0, 0.0, 0.22), (0.5, 0.5, 0.5, 0.0), (1.0, 1.0, 1.0, 0.15)]
)
MOST = 300  # points along an axis of a grid that is not regular


def hillshade(
    height: np.ndarray,
    dx: np.ndarray | float,
    dy: float,
    *,
    azimuth: float = 315.0,
    altitude: float = 45.0,
) -> np.ndarray:
    """How much brighter (to 1) or darker (to −1) than flat land a lit slope is.

    With the slope (p, q) = (∂z/∂x, ∂z/∂y) and the sun s = (sin A cos h, cos A cos h, sin h), the
    brightness is (−p s_x − q s_y + s_z) / √(1 + p² + q²) (Horn, 1981), of which that of flat land is
    taken. Heights are stretched so that one slope in 50 is steeper than 0.7, less so where heights
    differ by less than 500 m.

    Parameters
    ----------
    height : array, shape (y, x), m, rows from the south; NaN is flat
    dx, dy : size of cells, m, `dx` of any shape that broadcasts to `height`
    azimuth, altitude : of the sun, degrees, from north by east

    Returns
    -------
    array, shape (y, x), −1…1
    """
    if min(height.shape) < 2:
        return np.zeros_like(height)
    height = np.nan_to_num(height)
    q, p = np.gradient(height)
    p, q = p / dx, q / dy
    slope = np.hypot(p, q)
    steep = slope[slope > 0]
    if steep.size == 0:
        return np.zeros_like(height)
    low, high = np.quantile(height, (0.01, 0.99))
    stretch = 0.7 / np.quantile(steep, 0.98) * min(1.0, float(high - low) / 500.0)
    p, q = p * stretch, q * stretch
    a, h = np.deg2rad(azimuth), np.deg2rad(altitude)
    sun = np.array([np.sin(a) * np.cos(h), np.cos(a) * np.cos(h), np.sin(h)])
    lit = np.maximum((-p * sun[0] - q * sun[1] + sun[2]) / np.sqrt(1 + p**2 + q**2), 0.0)
    relative = lit - sun[2]
    return np.asarray(np.where(relative > 0, relative / (1 - sun[2]), relative / sun[2]))


def draw_relief(
    axes: Axes,
    plane: Plane,
    x: np.ndarray,
    y: np.ndarray,
    height: np.ndarray,
    *,
    above: bool = False,
) -> None:
    """Lay shadow and light of heights (y, x), m, on the land; NaN is left alone.

    Above a field that covers the land they are faint, so that its colours can still be told.
    """
    dx, dy = plane.cell
    shade = np.ma.masked_invalid(np.where(np.isnan(height), np.nan, hillshade(height, dx, dy)))
    look: dict[str, Any] = {"cmap": SHADES, "vmin": -1.0, "vmax": 1.0, "zorder": 0.5}
    if above:
        look |= {"cmap": FAINT_SHADES, "zorder": 1.2}
    if x.ndim == 1:
        west, east, south, north = plane.limits
        axes.imshow(
            shade, extent=(west, east, south, north), origin="lower", aspect="auto",
            interpolation="bilinear", **look,
        )  # fmt: skip
        return
    every = -(-max(shade.shape) // MOST)
    part = (slice(None, None, every),) * 2
    axes.pcolormesh(x[part], y[part], shade[part], shading="gouraud", rasterized=True, **look)
