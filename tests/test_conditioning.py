import pytest
import torch
from pydantic import ValidationError

from stvd.conditioning import Channels, Standard, upsample
from stvd.transforms import RainTransform


def test_upsampling_keeps_a_constant_and_a_ramp():
    field = torch.arange(8.0).expand(1, 6, 8) * 8
    fine = upsample(field, 8)
    assert fine.shape == (1, 48, 64)
    # cell centres of the coarse ramp lie at 3.5, 11.5, …: the fine value at column i is i − 3.5
    inner = fine[0, 24, 24:40]
    torch.testing.assert_close(inner, torch.arange(24.0, 40.0) - 3.5)
    torch.testing.assert_close(
        upsample(torch.full((1, 3, 3), 2.5), 4), torch.full((1, 12, 12), 2.5)
    )


def test_upsampling_a_circle_commutes_with_turning_it():
    field = torch.randn(2, 5, 10, generator=torch.Generator().manual_seed(0))
    turned = upsample(field.roll(3, -1), 8, periodic_x=True)
    torch.testing.assert_close(turned, upsample(field, 8, periodic_x=True).roll(24, -1))
    assert not torch.allclose(upsample(field.roll(3, -1), 8), upsample(field, 8).roll(24, -1))


def test_channels_come_in_order_and_scaled():
    channels = Channels(
        rain=RainTransform(c=1.0, s=1.0, dry=0.0),
        predictors=("tas",),
        statics=("orog",),
        scales={"tas": Standard(mean=280, std=10), "orog": Standard(mean=0, std=1000)},
        factor=2,
    )
    coarse = torch.stack([torch.ones(3, 2, 2), torch.full((3, 2, 2), 290.0)], dim=1)
    x = channels.inputs(coarse, torch.full((1, 4, 4), 500.0), periodic_x=False)
    assert x.shape == (3, 3, 4, 4)
    # rain log(1 + 1/1) = 0.6931; temperature (290 − 280) / 10 = 1; orography 500 / 1000
    for channel, value in enumerate([0.693147, 1.0, 0.5]):
        torch.testing.assert_close(x[:, channel], torch.full((3, 4, 4), value))


def test_a_channel_without_scale_is_refused():
    with pytest.raises(ValidationError, match="no scale for tas"):
        Channels(rain=RainTransform(), predictors=("tas",))
