import pytest
import torch
import torch.nn.functional as F

from stvd.model import ModelConfig, UNetConfig, preset
from stvd.model.diffusion import (
    LOG_SNR_MAX,
    LOG_SNR_MIN,
    alpha_sigma,
    clean_from_velocity,
    log_snr_of_time,
    velocity,
)
from stvd.model.layers import ChannelNorm, Down, GroupNorm


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shaken(config):
    """A network whose zero-initialised outputs are not zero."""
    torch.manual_seed(0)
    network = config.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * draw(*parameter.shape))
    return network.eval()


def test_group_norm_equals_the_library():
    ours, theirs = GroupNorm(4, 16), torch.nn.GroupNorm(4, 16)
    with torch.no_grad():
        theirs.weight.copy_(draw(16))
        theirs.bias.copy_(draw(16, seed=1))
    ours.load_state_dict(theirs.state_dict())
    x = draw(3, 16, 5, 7).add(2)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(ours(a), theirs(b), rtol=1e-5, atol=1e-5)
    weight = draw(3, 16, 5, 7, seed=2)
    (ours(a) * weight).sum().backward()
    (theirs(b) * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_channel_norm_equals_the_library_and_applies_film():
    ours, x, film = ChannelNorm(16), draw(3, 16, 5, 7).add(2), (draw(3, 16), draw(3, 16, seed=1))
    with torch.no_grad():
        ours.weight.copy_(draw(16, seed=2))
        ours.bias.copy_(draw(16, seed=3))
    plain = F.layer_norm(x.movedim(1, -1), (16,), ours.weight, ours.bias).movedim(-1, 1)
    torch.testing.assert_close(ours(x), plain)
    modulated = plain * (1 + film[0])[:, :, None, None] + film[1][:, :, None, None]
    torch.testing.assert_close(ours(x, film), modulated)


def test_norms_of_channels_know_nothing_of_the_rest_of_the_frame():
    """Group statistics are those of the whole frame: rain far away changes what a network says here."""
    x = draw(1, 3, 2, 16, 160)
    far = x.clone()
    far[..., 128:] *= 5
    changes = {}
    for norm in ("group", "channel"):
        network = shaken(preset("tiny", 2, window=3, norm=norm)).mean
        here, there = (network(field.flatten(0, 1), 3)[0][..., :32] for field in (x, far))
        changes[norm] = (here - there).detach().abs().max().item()
    assert changes["channel"] == 0
    assert changes["group"] > 1e-3


def test_schedule_runs_from_clean_to_noise():
    time = torch.linspace(0, 1, 11)
    log_snr = log_snr_of_time(time)
    assert (log_snr.diff() < 0).all()
    assert log_snr[0].item() == pytest.approx(LOG_SNR_MAX, abs=1e-3)
    assert log_snr[-1].item() == pytest.approx(LOG_SNR_MIN, abs=1e-3)
    # sigmoid schedule at t = 1/2: (σ(3) − σ(0)) / (σ(3) − σ(−3)) = 1/2, so λ = 0
    assert log_snr[5].item() == pytest.approx(0, abs=1e-6)


def test_velocity_and_clean_field_are_inverse():
    clean, noise, level = draw(4), draw(4, seed=1), draw(4, seed=2)
    alpha, sigma = alpha_sigma(level)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(4))
    noisy = alpha * clean + sigma * noise
    torch.testing.assert_close(
        clean_from_velocity(noisy, velocity(clean, noise, level), level), clean
    )


def test_gradient_of_the_loss_reaches_the_mean_downscaler():
    torch.manual_seed(0)
    network = shaken(preset("tiny", 2))
    loss = network.loss(
        draw(1, 5, 1, 16, 16),
        draw(1, 5, 2, 16, 16),
        time=torch.full((1, 5), 0.5),
        noise=draw(1, 5, 1, 16, 16),
    )
    loss.backward()
    without = [
        n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not [n for n in without if n.startswith("mean.") and not n.endswith("bias")]


@pytest.mark.parametrize("window", [1, 3, 5, 20])
def test_any_number_of_frames_and_shape(window):
    network = shaken(preset("tiny", 3, window=window))
    condition = network.condition(draw(2, window, 3, 16, 24))
    v = network.denoise(draw(2, window, 1, 16, 24), torch.zeros(2, window), condition)
    assert v.shape == (2, window, 1, 16, 24)
    assert torch.isfinite(v).all()


def test_frames_are_ordered_and_see_each_other():
    network = shaken(preset("tiny", 1))
    x = draw(1, 5, 1, 16, 16)
    mean = network.condition(x).mean
    assert not torch.allclose(network.condition(x.flip(1)).mean.flip(1), mean, atol=1e-6)
    other = x.clone()
    other[:, 4] += 1
    assert not torch.equal(network.condition(other).mean[:, 0], mean[:, 0])


def test_a_circle_has_no_seam():
    network = shaken(preset("tiny", 2)).wrap_x(True)
    x, noisy, level = draw(1, 5, 2, 16, 32), draw(1, 5, 1, 16, 32, seed=1), torch.zeros(1, 5)
    v = network.denoise(noisy, level, network.condition(x))
    turned = network.denoise(noisy.roll(8, -1), level, network.condition(x.roll(8, -1)))
    torch.testing.assert_close(turned, v.roll(8, -1), rtol=1e-4, atol=1e-5)
    network.wrap_x(False)
    flat = network.denoise(noisy.roll(8, -1), level, network.condition(x.roll(8, -1)))
    assert not torch.allclose(flat, v.roll(8, -1), atol=1e-4)


def test_members_share_their_windows_conditioning():
    network = shaken(preset("tiny", 1))
    condition = network.condition(draw(2, 5, 1, 16, 16))
    repeated = condition.repeat(3)
    noisy = draw(6, 5, 1, 16, 16, seed=1)
    level = torch.zeros(6, 5)
    together = network.denoise(noisy, level, repeated)
    x = condition.inputs[1:]
    alone = network.denoise(noisy[3:4], level[:1], network.condition(x))
    torch.testing.assert_close(together[3:4], alone, rtol=1e-4, atol=1e-5)


def test_space_to_depth_and_pixel_shuffle_keep_cells_in_place():
    config = ModelConfig(inputs=1, mean=UNetConfig(width=8), denoiser=UNetConfig(width=8))
    network = config.build().eval()
    x = F.pad(torch.ones(1, 5, 1, 8, 8), (4, 4, 4, 4))
    torch.testing.assert_close(
        network.condition(x).mean, x
    )  # zero output layer: interpolation alone


def test_uneven_networks_and_missing_levels_are_refused():
    with pytest.raises(ValueError, match="share features"):
        ModelConfig(inputs=1, mean=UNetConfig(patch=1), denoiser=UNetConfig(patch=2)).build()
    with pytest.raises(ValueError, match="level 3 does not exist"):
        UNetConfig(temporal_levels=(3,))


def test_the_strided_convolution_is_a_pixel_unshuffle_and_a_pointwise_one():
    down = Down(8)
    x = draw(2, 8, 6, 10)
    expected = F.conv2d(F.pixel_unshuffle(x, 2), down.weight, down.bias)
    torch.testing.assert_close(down(x), expected)


def test_film_is_the_same_with_and_without_gradients():
    norm, x, film = GroupNorm(4, 16), draw(3, 16, 5, 7), (draw(3, 16), draw(3, 16, seed=1))
    with torch.no_grad():
        fast = norm(x, film)
    torch.testing.assert_close(norm(x, film), fast, rtol=1e-4, atol=1e-5)
    plain = F.group_norm(x, 4) * (1 + film[0])[:, :, None, None] + film[1][:, :, None, None]
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-5)
