"""Sums over pairs of consecutive frames: jumps at window edges, lag-1 correlation, wet and dry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from stvd.pointwise import Sums


class Frames(NamedTuple):
    """Consecutive frames of members, truth and of where they are scored.

    x : shape (member, time, tile, y, x); y : shape (time, tile, y, x), or None; valid : bool, as y
    """

    x: np.ndarray
    y: np.ndarray | None
    valid: np.ndarray

    def last(self) -> Frames:
        """The last frame alone, copied."""
        y = None if self.y is None else self.y[-1:].copy()
        return Frames(self.x[:, -1:].copy(), y, self.valid[-1:].copy())


class Step(NamedTuple):
    """Two consecutive frames in the cells that are scored in both, and the weights of these.

    `pairs` has, per system, the rain before and after, each of shape (member, cell).
    """

    arrival: int
    weights: np.ndarray
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]


def temporal_sums(
    now: Frames,
    before: Frames | None,
    frames: np.ndarray,
    weights: np.ndarray,
    *,
    wet: float,
    window: int | None,
    edges: tuple[int, ...],
) -> Sums:
    """Sums over the steps into each frame whose predecessor is at hand.

    Parameters
    ----------
    now : the frames of the piece, kg m-2 s-1
    before : the frame before them; None if it is not at hand
    frames : absolute numbers of the frames, consecutive, shape (time,)
    weights : array, shape (tile, y, x)
    wet : kg m-2 s-1, from which on a cell is wet
    window, edges : the cycle of windows and the places in it where one begins; None leaves
        the jumps out
    """
    steps = list(_steps(now, before, frames, weights))
    names = ["", "_truth"] if now.y is not None else [""]
    out: Sums = {}
    if window is not None:
        at_edge = np.array([s.arrival % window in edges for s in steps], bool)
        out["steps_edge"] = ((), float(at_edge.sum()))
        out["steps_inside"] = ((), float((~at_edge).sum()))
        for name in names:
            jumps = np.array([_jump(*s.pairs[name], s.weights) for s in steps])
            out["jump_edge" + name] = ((), float(jumps[at_edge].sum()))
            out["jump_inside" + name] = ((), float(jumps[~at_edge].sum()))
    if now.y is not None:
        for name in names:
            moments = [_moments(*s.pairs[name], s.weights) for s in steps]
            out["moments" + name] = ("moment", np.sum(moments, axis=0) if steps else np.zeros(6))
            changes = [_changes(*s.pairs[name], s.weights, wet) for s in steps]
            out["changes" + name] = ("change", np.sum(changes, axis=0) if steps else np.zeros(4))
    return out


def _steps(
    now: Frames, before: Frames | None, frames: np.ndarray, weights: np.ndarray
) -> Iterator[Step]:
    for k, arrival in enumerate(frames):
        earlier, at = (now, k - 1) if k else (before, 0)
        if earlier is None:
            continue
        both = earlier.valid[at] & now.valid[k] & (weights > 0)
        if not both.any():
            continue
        index = slice(None) if both.all() else np.flatnonzero(both)
        systems = {"": (earlier.x[:, at], now.x[:, k])}
        if earlier.y is not None and now.y is not None:
            systems["_truth"] = (earlier.y[at][None], now.y[k][None])
        pairs = {
            name: tuple(v.reshape(len(v), -1)[:, index].astype(np.float64) for v in values)
            for name, values in systems.items()
        }
        yield Step(int(arrival), weights.ravel()[index], pairs)  # type: ignore[arg-type]


def _jump(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> float:
    """Mean |change| over cells and members."""
    return float(np.mean([weights @ np.abs(q - p) for p, q in zip(a, b, strict=True)])) / float(
        weights.sum()
    )


def _moments(a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ w, Σ w a, Σ w b, Σ w a², Σ w b², Σ w a b, mean over members."""
    sums = np.zeros(6)
    for p, q in zip(a, b, strict=True):
        wp, wq = weights * p, weights * q
        sums += [weights.sum(), wp.sum(), wq.sum(), wp @ p, wq @ q, wp @ q]
    return sums / len(a)


def _changes(a: np.ndarray, b: np.ndarray, weights: np.ndarray, wet: float) -> np.ndarray:
    """Weight of wet cells, of those that turn dry, of dry cells, of those that turn wet; mean."""
    sums = np.zeros(4)
    for p, q in zip(a >= wet, b >= wet, strict=True):
        sums += [weights @ which for which in (p, p & ~q, ~p, ~p & q)]
    return sums / len(a)
