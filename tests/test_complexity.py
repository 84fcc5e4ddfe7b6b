import pytest
import torch

from stvd.complexity import Complexity, _Alive
from stvd.model import preset
from stvd.sampling import SamplerConfig

FRAME = preset("tiny", inputs=1, window=1)


def test_operations_of_a_small_network_counted_by_hand():
    # μ of `tiny`: 8 × 8 cells become 4 × 4 of 4 channels; level 0 has 8 channels, level 1 has 2 × 2 of 16.
    def conv(cells, a, b, size=3):
        return 2 * cells * a * b * size**2

    def block(cells, a, b):
        return conv(cells, a, b) + conv(cells, b, b) + (conv(cells, a, b, 1) if a != b else 0)

    # 4 heads of 8: q, k, v are 96 channels; one frame has one product each of q k and of weight v.
    attention = 2 * 4 * (16 * 96 + 4 * 8 + 4 * 8 + 32 * 16)
    mean = (
        conv(16, 4, 8)  # stem
        + block(16, 8, 8)
        + conv(4, 8, 8, 2)  # down: 2 × 2 cells into one
        + block(4, 8, 16) + attention
        + 2 * block(4, 16, 16) + attention  # bottleneck
        + block(4, 32, 16) + attention
        + conv(16, 16, 8)  # up
        + block(16, 16, 8)
        + block(16, 16, 8)  # final
        + conv(16, 8, 4, 1)
    )  # fmt: skip
    found = Complexity.of(FRAME, (8, 8), sampler=SamplerConfig(steps=3))
    assert found.flops.mean == mean
    assert found.flops.sample == mean + 3 * found.flops.denoiser
    # backward: a product for the gradient of the weights, one for that of the input
    forward = found.flops.mean + found.flops.denoiser
    assert 2.8 * forward < found.flops.training_step <= 3 * forward


def test_cost_grows_with_the_area_and_recomputing_saves_memory():
    small, large = Complexity.of(FRAME, (8, 8)), Complexity.of(FRAME, (8, 16))
    assert large.flops.mean == 2 * small.flops.mean
    assert large.parameters == small.parameters
    assert small.memory.weights == 4 * (small.parameters.total + 16)  # and 16 fixed frequencies
    assert small.memory.sample < small.memory.training_step_recompute < small.memory.training_step


def test_norms_cost_no_products():
    channel = Complexity.of(preset("tiny", inputs=1, window=1, norm="channel"), (8, 8))
    assert channel.flops == Complexity.of(FRAME, (8, 8)).flops


def test_a_size_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="size 8 × 10: both must be multiples of 4"):
        Complexity.of(FRAME, (8, 10))


def test_memory_is_that_of_the_tensors_alive_at_once():
    given = torch.empty(100, device="meta")
    with _Alive() as alive:
        a = given + 1  # 400; `given` was there before
        b = a * 2  # 800
        view = b.view(10, 10)  # no memory of its own
        del a, b  # 400
        c = view + 1  # 800
        c.add_(1)  # in place
        d = c * 2  # 1200
        del c, d
    assert (alive.peak, alive.now) == (1200, 400)
