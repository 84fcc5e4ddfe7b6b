"""Truth, input and members in motion: a GIF of bounded length and size."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from stvd.diagnostics.canvas import Canvas
from stvd.diagnostics.colours import INK, rain_scale
from stvd.diagnostics.maps import axes_for, high, moment, share_labels
from stvd.diagnostics.pictures import image_of, palette, reduced
from stvd.diagnostics.plots import MM_PER_HOUR

FRAMES = 24  # the most that are shown
WIDTH = 900  # pixels
LARGEST = 3_000_000  # bytes of a GIF
PANELS = 4
COLOURS = 96  # of a GIF, shared by its frames
FEWEST_PIXELS = 300


@dataclass(frozen=True)
class Movie:
    """Maps whose colours change from frame to frame, all else standing still.

    Parameters
    ----------
    figure : the maps
    meshes : the mesh of each map
    values : for each map its values of every frame, each of shape (y, x) as drawn
    clock : the text that says the time
    labels : the time of each frame
    """

    figure: Figure
    meshes: Sequence[QuadMesh]
    values: Sequence[Sequence[np.ndarray]]
    clock: Text
    labels: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)

    def show(self, frame: int) -> None:
        """Put a frame onto the figure."""
        for mesh, values in zip(self.meshes, self.values, strict=True):
            mesh.set_array(values[frame])
        self.clock.set_text(self.labels[frame])

    def images(self) -> Iterator[Image.Image]:
        """The frames as pictures, one after another."""
        for frame in range(len(self)):
            self.show(frame)
            yield image_of(self.figure)

    def gif(self, *, seconds: float = 0.4, largest: int = LARGEST) -> bytes:
        """An endless GIF of at most `largest` bytes, drawn smaller until it fits.

        What stands still is stored once: a frame holds the pixels that changed.

        Raises
        ------
        ValueError
            If 300 pixels across are still too many.
        """
        whole = self.figure.dpi
        share = 1.0
        try:
            while True:
                found = _encoded(self._reduced(), seconds)
                if len(found) <= largest:
                    return found
                share *= min(0.85, (largest / len(found)) ** 0.5)
                self.figure.set_dpi(whole * share)
                if self.figure.get_figwidth() * self.figure.dpi < FEWEST_PIXELS:
                    raise ValueError(
                        f"an animation of {len(self)} frames does not fit into {largest} bytes; "
                        "show fewer frames or allow more"
                    )
        finally:
            self.figure.set_dpi(whole)

    def _reduced(self) -> list[Image.Image]:
        """The frames in one palette."""
        shared, frames = None, []
        for image in self.images():
            if shared is None:
                shared = palette(image, COLOURS, self._scale())
            frames.append(reduced(image, shared))
        return frames

    def _scale(self) -> np.ndarray:
        """The colours of the scale, those that the first frame lacks among them, shape (n, 3)."""
        shades = self.meshes[0].cmap
        steps = shades(np.arange(shades.N))
        known = np.vstack([steps, shades.get_over(), shades.get_bad()])
        return np.round(255 * known[:, :3]).astype(np.uint8)


def animate(
    pr: xr.DataArray,
    coarse: xr.DataArray | None = None,
    truth: xr.DataArray | None = None,
    *,
    labels: Sequence[str],
    grid: xr.Dataset | None = None,
    title: str = "",
    width: int = WIDTH,
) -> Movie:
    """Input, truth and as many members as make four maps, in motion on one scale.

    Parameters
    ----------
    pr : DataArray, shape (member, time, [tile,] y, x), kg m-2 s-1; what is shown is loaded
    coarse : DataArray, shape (time, [tile,] y / factor, x / factor), kg m-2 s-1
    truth : DataArray, shape (time, [tile,] y, x), kg m-2 s-1
    labels : the time of each frame, as it is to be read; at most 24
    grid : static Dataset of the fine grid
    title : what, for example the product and the length of a step
    width : of the pictures, pixels

    Raises
    ------
    ValueError
        If there are more than 24 frames, or not as many labels as frames.
    """
    count = pr.sizes["time"]
    if count > FRAMES or len(labels) != count:
        raise ValueError(
            f"{count} frames and {len(labels)} labels: give a label for each of at most {FRAMES} "
            "frames (`wettest` picks them)"
        )
    others = (coarse is not None) + (truth is not None)
    fields = {
        name: field.transpose("time", ...).astype(np.float32).compute() * MM_PER_HOUR
        for name, field in moment(pr, coarse, truth, shown=PANELS - others).items()
    }
    canvas, scale = Canvas(pr, grid), rain_scale(0.1, high(fields), "mm h⁻¹")
    figure, axes = axes_for(len(fields), canvas, min(2, len(fields)), width=3.6)
    meshes, values = [], []
    for place, (name, field) in zip(axes, fields.items(), strict=True):
        meshes.append(canvas.draw(place, field.isel(time=0), scale))
        canvas.dress(place, name)
        values.append([canvas.plane.arrange(field.isel(time=k))[2] for k in range(count)])
    share_labels(axes, min(2, len(fields)))
    scale.bar(figure, axes, "precipitation rate")
    figure.suptitle(title, fontsize=11, color=INK, x=0.01, ha="left")
    clock = figure.text(0.99, 0.995, "", fontsize=11, color=INK, ha="right", va="top")
    figure.set_dpi(width / figure.get_figwidth())
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return Movie(figure, meshes, values, clock, labels)


def wettest(series: xr.DataArray, count: int = FRAMES) -> slice:
    """The at most `count` consecutive frames with most rain in all.

    Parameters
    ----------
    series : DataArray, shape (time,), area means; missing ones count as dry
    """
    values = np.nan_to_num(series.values)
    count = min(count, values.size)
    sums = np.convolve(values, np.ones(count), mode="valid")
    first = int(np.argmax(sums))
    return slice(first, first + count)


def _encoded(frames: Sequence[Image.Image], seconds: float) -> bytes:
    buffer = io.BytesIO()
    frames[0].save(
        buffer, format="GIF", save_all=True, append_images=frames[1:],
        duration=round(1000 * seconds), loop=0, optimize=True, disposal=1,
    )  # fmt: skip
    return buffer.getvalue()
