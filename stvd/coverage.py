"""The part of a radar composite that has data in every frame."""

from __future__ import annotations

import numpy as np

from stvd.contract import CatalogError

VALID = 0.999  # share of frames with data from which a cell counts as covered


def valid_region(
    valid: np.ndarray, rain: np.ndarray, multiple: int, largest: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The largest fully valid rectangle at multiples of `multiple`; of equals the rainiest.

    Parameters
    ----------
    valid : bool, shape (y, x)
    rain : shape (y, x), what is summed to choose among rectangles of one size
    multiple : edges lie at its multiples
    largest : longest side

    Returns
    -------
    `(start, stop)` of y and of x

    Raises
    ------
    CatalogError
        If no block of `multiple` × `multiple` cells is valid.
    """
    ny, nx = valid.shape[0] // multiple, valid.shape[1] // multiple
    cells = (slice(ny * multiple), slice(nx * multiple))
    blocks = (ny, multiple, nx, multiple)
    holes = _summed((~valid)[cells].reshape(blocks).sum((1, 3)))
    wet = _summed(np.where(valid, rain, 0.0)[cells].reshape(blocks).sum((1, 3)))
    best: tuple[float, ...] = ()
    found = ((0, 0), (0, 0))
    for h in range(1, min(ny, largest // multiple) + 1):
        for w in range(1, min(nx, largest // multiple) + 1):
            free = _boxes(holes, h, w) == 0
            if not free.any():
                continue
            rainiest = np.where(free, _boxes(wet, h, w), -1.0)
            i, j = np.unravel_index(int(rainiest.argmax()), rainiest.shape)
            score = (h * w, min(h, w), float(rainiest[i, j]))
            if score > best:
                best = score
                found = (
                    (int(i) * multiple, (int(i) + h) * multiple),
                    (int(j) * multiple, (int(j) + w) * multiple),
                )
    if not best:
        raise CatalogError(
            f"no rectangle of {multiple} × {multiple} cells has data in all frames; "
            "give a region in a catalog entry."
        )
    return found


def _summed(field: np.ndarray) -> np.ndarray:
    """Summed-area table with a leading row and column of zeros."""
    return np.pad(field.cumsum(0).cumsum(1), ((1, 0), (1, 0)))


def _boxes(table: np.ndarray, h: int, w: int) -> np.ndarray:
    """Sums over all boxes of `h` × `w`, from a summed-area table."""
    return np.asarray(table[h:, w:] - table[:-h, w:] - table[h:, :-w] + table[:-h, :-w])
