"""Small files whose flat colours are what they were."""

from __future__ import annotations

import io

import numpy as np
import pytest
from map_samples import png as full
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from stvd.diagnostics.colours import RAIN
from stvd.diagnostics.pictures import Picture, gif, image_of, png


@pytest.fixture(scope="module")
def figure() -> Figure:
    made = Figure(figsize=(4, 3), dpi=100)
    axes = made.subplots()
    axes.imshow(np.random.default_rng(0).random((40, 40)), cmap="gray", extent=(0, 1, 0, 1))
    for k, shade in enumerate(RAIN):
        axes.axvspan(1.0 + k / 8, 1.1 + k / 8, color=shade)
    axes.set(xlim=(0, 2.6), ylim=(0, 1), aspect="auto", title="colours")
    return made


def test_scale_colours_are_exact(figure: Figure) -> None:
    image = Image.open(io.BytesIO(png(figure).data)).convert("RGB")
    there = {to_hex(np.array(c) / 255) for _, c in image.getcolors(1 << 20)}
    assert set(RAIN) <= there


def test_other_colours_are_near(figure: Figure) -> None:
    small = np.asarray(Image.open(io.BytesIO(png(figure).data)).convert("RGB")).astype(int)
    apart = np.abs(small - np.asarray(image_of(figure)).astype(int)).max(axis=-1)
    assert apart.mean() < 2
    assert np.quantile(apart, 0.99) < 16


def test_it_is_smaller_and_always_the_same(figure: Figure) -> None:
    made = png(figure)
    assert (made.width, made.height, made.mime) == (400, 300, "image/png")
    assert len(made.data) < 0.6 * len(full(figure))
    assert png(figure) == made


def test_a_figure_does_not_keep_its_pixels(figure: Figure) -> None:
    png(figure)
    assert not hasattr(figure.canvas, "buffer_rgba")  # a report has dozens, of some MB each


def test_a_gif_knows_its_size() -> None:
    buffer = io.BytesIO()
    Image.new("P", (30, 20)).save(buffer, format="GIF")
    assert gif(buffer.getvalue()) == Picture(buffer.getvalue(), "image/gif", 30, 20)
