"""Figures as small files: PNG with a palette, in which flat colours stay exactly what they are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial import cKDTree

EXACT = 0.25  # share of a palette that is the commonest colours as they are


@dataclass(frozen=True)
class Picture:
    """A file to look at: its bytes, its type, its size in pixels."""

    data: bytes
    mime: str
    width: int
    height: int


class Album(Mapping[str, Picture]):
    """The PNGs of figures by name, each drawn when it is first looked at and then kept."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = figures
        self._made: dict[str, Picture] = {}

    def __getitem__(self, name: str) -> Picture:
        if name not in self._made:
            self._made[name] = png(self._figures[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)


def image_of(figure: Figure) -> Image.Image:
    """A figure as it is drawn, RGB."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    FigureCanvasBase(figure)  # else the figure keeps its pixels
    return image


def png(figure: Figure, *, colours: int = 256) -> Picture:
    """A figure as PNG of at most 256 colours, a third of the size of one in full colour."""
    image = image_of(figure)
    buffer = io.BytesIO()
    reduced(image, palette(image, colours)).save(buffer, format="PNG", optimize=True)
    return Picture(buffer.getvalue(), "image/png", *image.size)


def gif(data: bytes) -> Picture:
    """A GIF that is made already."""
    with Image.open(io.BytesIO(data)) as image:
        return Picture(data, "image/gif", *image.size)


def palette(image: Image.Image, colours: int, always: np.ndarray | None = None) -> np.ndarray:
    """The commonest colours of a picture exactly, then those that stand best for the others.

    What the scale of a map fills is common; the rest are lines, letters and shades of relief.

    Parameters
    ----------
    colours : how many there may be
    always : array of uint8, shape (n, 3), colours that are to be among them

    Returns
    -------
    array of uint8, shape (at most `colours`, 3)
    """
    found, counts = np.unique(_packed(image), return_counts=True)
    exact = _unpacked(found[np.argsort(-counts, kind="stable")[: round(EXACT * colours)]])
    if always is not None:
        exact = np.concatenate([always, exact])
    rest = image.quantize(colours - len(exact)).getpalette() or []
    return np.concatenate([exact, np.array(rest, np.uint8).reshape(-1, 3)])[:colours]


def reduced(image: Image.Image, shades: np.ndarray) -> Image.Image:
    """A picture in the nearest colours of a palette, shape (n, 3); Pillow's own search is not exact."""
    found, inverse = np.unique(_packed(image), return_inverse=True)
    nearest = cKDTree(shades.astype(float)).query(_unpacked(found).astype(float))[1]
    made = Image.fromarray(nearest.astype(np.uint8)[inverse].reshape(image.height, image.width))
    made.putpalette(shades.ravel().tolist())
    return made


def _packed(image: Image.Image) -> np.ndarray:
    """A number for the colour of each pixel, shape (pixels,)."""
    rgb = np.asarray(image).reshape(-1, 3).astype(np.uint32)
    return np.asarray(rgb @ np.array([65536, 256, 1], np.uint32))


def _unpacked(colours: np.ndarray) -> np.ndarray:
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
