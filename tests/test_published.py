"""The published layout, at a size that a test can afford."""

import pytest
import torch

from stvd.model import ModelConfig, UNetConfig
from stvd.model.layers import TemporalAttention
from stvd.model.presets import PRESETS


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def network():
    """`paper` with three levels of 8 to 16 channels, and weights that are nowhere zero."""
    paper = PRESETS["paper"]
    less = {
        "width": 8,
        "multipliers": (1, 1, 2),
        "head_width": 8,
        "linear_levels": (0, 1, 2),
        "temporal_levels": (1, 2),
    }
    config = ModelConfig(
        inputs=2,
        mean=paper.mean.model_copy(update=less),
        denoiser=paper.denoiser.model_copy(update=less),
        interpolation_skip=False,
    )
    torch.manual_seed(0)
    network = config.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * draw(*parameter.shape))
    return network


def run(network, x, noisy, level=None):
    level = torch.zeros(x.shape[:2]) if level is None else level
    return network.denoise(noisy, level, network.condition(x))


def levels_with_temporal_attention(half, last=2):
    """Levels, 0 = finest, of one half of a UNet; the decoder counts from the lowest."""
    return [
        level
        for level, part in enumerate(half)
        if any(isinstance(m, TemporalAttention) for m in part.modules())
    ]


def test_temporal_attention_is_in_the_encoder_of_the_mean_and_in_the_decoder_of_the_denoiser(
    network,
):
    # The decoder's list begins at the lowest level, 2; the lowest has it in both halves.
    assert levels_with_temporal_attention(network.mean.encoder) == [1, 2]
    assert levels_with_temporal_attention(network.mean.decoder) == [0]
    assert levels_with_temporal_attention(network.denoiser.encoder) == [2]
    assert levels_with_temporal_attention(network.denoiser.decoder) == [0, 1]


def test_features_are_shared_at_every_level_and_at_the_bottleneck(network):
    x, noisy, level = draw(1, 5, 2, 16, 24), draw(1, 5, 1, 16, 24, seed=1), torch.zeros(1, 5)
    with torch.no_grad():
        condition = network.condition(x)
        # two blocks a level of 16 × 24, 8 × 12 and 4 × 6 cells, then two of the bottleneck
        assert [tuple(f.shape[1:]) for f in condition.features] == [
            *[(8, 16, 24)] * 2, *[(8, 8, 12)] * 2, *[(8, 4, 6)] * 2, *[(16, 4, 6)] * 2
        ]  # fmt: skip
        v = network.denoise(noisy, level, condition)
        for feature in condition.features:
            feature.add_(1)
            changed = network.denoise(noisy, level, condition)
            feature.sub_(1)
            assert not torch.allclose(changed, v, atol=1e-4)


def test_gradient_of_the_diffusion_loss_reaches_every_weight_of_the_mean(network):
    loss = network.loss(
        draw(1, 5, 1, 16, 16),
        draw(1, 5, 2, 16, 16, seed=1),
        time=torch.full((1, 5), 0.5),
        noise=draw(1, 5, 1, 16, 16, seed=2),
    )
    loss.backward()
    weights = {n: p.grad for n, p in network.named_parameters() if n.endswith("weight")}
    assert all(grad.abs().sum() > 0 for grad in weights.values())


def test_frames_see_each_other_and_have_no_order(network):
    x, noisy = draw(1, 5, 2, 16, 16), draw(1, 5, 1, 16, 16, seed=1)
    with torch.no_grad():
        v = run(network, x, noisy)
        torch.testing.assert_close(
            run(network, x.flip(1), noisy.flip(1)).flip(1), v, rtol=1e-4, atol=1e-5
        )
        x[:, 4] += 1
        assert not torch.allclose(run(network, x, noisy)[:, 0], v[:, 0], atol=1e-5)


def test_noise_level_is_one_of_each_frame(network):
    x, noisy = draw(1, 5, 2, 16, 16), draw(1, 5, 1, 16, 16, seed=1)
    with torch.no_grad():
        v = run(network, x, noisy)
        level = torch.tensor([[0.0, 0.0, 3.0, 0.0, 0.0]])
        changed = (run(network, x, noisy, level) - v).abs().mean(dim=(0, 2, 3, 4))
    assert changed.argmax() == 2
    assert changed[2] > 2 * changed[0]


def test_other_depths_than_the_published_are_refused():
    with pytest.raises(ValueError, match="two blocks a level and no patch"):
        UNetConfig(layout="published")
    with pytest.raises(ValueError, match="share features"):
        ModelConfig(inputs=1, mean=UNetConfig(layout="published", patch=1)).build()
