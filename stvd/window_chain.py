"""Windows side by side: overlapping ones are merged at every call, as the pieces of a field are.

A frame that two windows share has one state. Each call of the network predicts its clean field from
both, the mean of the two is what the sampler goes on with, and so what a window says reaches its
neighbours one call later (as MultiDiffusion does in space: Bar-Tal et al. 2023). The numbers of a frame
depend on the windows within as many steps of its own as there are calls, and on no more: any piece of a
record is sampled with the same numbers.

Window w makes call s at tick w + 2s: its neighbours have made call s − 1 by then. So the record passes
through in order of time, and no more than two windows a call are held at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from stvd.lattice import WindowLattice
from stvd.sampling import SamplerConfig
from stvd.tiling import TiledConditioning


class Network(Protocol):
    """What runs on windows."""

    def condition(self, window: range) -> TiledConditioning:
        """What the denoiser needs of a window."""

    def noise(self, frame: int, draw: int) -> Tensor:
        """Noise of a frame, shape (member, 1, rows, columns): the first, or that of a call."""

    def clean(self, noisy: Tensor, log_snr: Tensor, condition: TiledConditioning) -> Tensor:
        """The clean residual that is expected, shape (member, time, 1, rows, columns) as `noisy`."""


class Finished(NamedTuple):
    """Frames that are sampled, in the transformed space.

    frames : absolute frames
    mean : Tensor, shape (time, rows, columns), μ
    residual : Tensor, shape (member, time, rows, columns)
    """

    frames: range
    mean: Tensor
    residual: Tensor


class WindowChain:
    """The windows that decide the numbers of some frames.

    Parameters
    ----------
    lattice : where windows lie
    sampler : how they are sampled
    record : the frames there are; a window that reaches over an end is sampled whole
    frames : that are wanted, of the record
    """

    def __init__(
        self, lattice: WindowLattice, sampler: SamplerConfig, record: range, frames: range
    ) -> None:
        self.lattice, self.sampler, self.wanted = lattice, sampler, frames
        self.there = lattice.within(record)
        # Windows of each call, then of μ, which is merged before the first call.
        self.of_call = [self._known(sampler.steps - call) for call in range(sampler.steps)]
        self.of_mean = self._known(sampler.steps + 1)
        self.calls = sum(map(len, self.of_call))

    def _known(self, calls: int) -> range:
        wide = self.lattice.sampled(self.wanted, calls)
        return range(max(wide.start, self.there.start), min(wide.stop, self.there.stop))

    def run(self, network: Network) -> Iterator[Finished | None]:
        """Sample the chain: the frames that a call finished, or None, after every call."""
        state = _State(self, network)
        last = self.sampler.steps - 1
        for tick in range(self.of_mean.start, self.of_call[last].stop + 2 * last):
            for call in range(self.sampler.steps):
                window = tick - 2 * call
                if window in self.of_call[call]:
                    state.advance(window, call)
                    yield state.finished(window) if call == last else None

    def owned(self, window: int) -> range:
        """The wanted frames that are finished with a window."""
        frames = self.lattice.window(window)
        last = window + 1 == self.of_call[-1].stop
        stop = frames.stop if last else frames.start + self.lattice.cycle
        return range(max(frames.start, self.wanted.start), min(stop, self.wanted.stop))


class _State:
    """What a chain holds between calls, by window and by frame."""

    def __init__(self, chain: WindowChain, network: Network) -> None:
        self.chain, self.network = chain, network
        self.following = chain.of_mean.start  # the window that is conditioned next
        self.conditions: dict[int, TiledConditioning] = {}
        self.means: dict[int, Tensor] = {}
        self.noisy: dict[int, Tensor] = {}
        self.clean: dict[int, Tensor] = {}  # of the last call
        self.waiting: dict[int, Tensor] = {}  # for the second of two windows

    def advance(self, window: int, call: int) -> None:
        """One call of the network on a window, and on with the frames of which all is said by it."""
        chain, frames = self.chain, self.chain.lattice.window(window)
        if call == 0:
            self._begin(window)
        noisy = torch.stack([self.noisy[k] for k in frames], dim=1)
        mean = torch.stack([self.means[k] for k in frames])[None]
        condition = replace(self.conditions[window], mean=mean)
        clean = self.network.clean(noisy, chain.sampler.levels()[call], condition)
        for frame, found in self._merged(window, call, clean):
            if call + 1 < chain.sampler.steps:
                noisy, before = self.noisy[frame], self.clean.get(frame)
                fresh = self.network.noise(frame, call + 1) if chain.sampler.stochastic else None
                self.noisy[frame] = chain.sampler.advance(call, noisy, found, before, fresh)
            self.clean[frame] = found
        if call + 1 == chain.sampler.steps or window not in chain.of_call[call + 1]:
            del self.conditions[window]

    def finished(self, window: int) -> Finished | None:
        """The frames that are finished with a window; what is held of them and before is let go."""
        owned, ready = self.chain.owned(window), None
        if owned:
            mean = torch.cat([self.means[k] for k in owned])
            residual = torch.cat([self.clean[k] for k in owned], dim=1)
            ready = Finished(owned, mean, residual)
        until = self.chain.lattice.window(window + 1).start
        for held in (self.means, self.noisy, self.clean):
            for frame in [k for k in held if k < until]:
                del held[frame]
        return ready

    def _begin(self, window: int) -> None:
        """μ up to the next window, with which the last frame is merged, and the noise of the frames."""
        while self.following <= min(window + 1, self.chain.of_mean[-1]):
            self._condition(self.following)
            self.following += 1
        for frame in self.chain.lattice.window(window):
            if frame not in self.noisy:
                self.noisy[frame] = self.network.noise(frame, 0)

    def _condition(self, window: int) -> None:
        condition = self.network.condition(self.chain.lattice.window(window))
        if window in self.chain.of_call[0]:
            self.conditions[window] = condition
        for frame, mean in zip(self.chain.lattice.window(window), condition.mean[0], strict=True):
            before = self.means.get(frame)
            self.means[frame] = mean if before is None else (before + mean) / 2

    def _merged(self, window: int, call: int, clean: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The frames that no other window has still to say something of, and what all have said."""
        frames, shared = self.chain.lattice.window(window), self.chain.lattice.overlap
        for place, frame in enumerate(frames):
            found = clean[:, place]
            if shared and place == 0 and window - 1 in self.chain.there:
                if window - 1 in self.chain.of_call[call]:
                    yield frame, (self.waiting.pop(frame) + found) / 2
            elif shared and frame == frames[-1] and window + 1 in self.chain.there:
                if window + 1 in self.chain.of_call[call]:
                    self.waiting[frame] = found
            else:
                yield frame, found
