"""Crops of events."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from event_samples import alone, event

from stvd.crops import HALO, Crops
from stvd.remake import Remake, blurred, magnify
from stvd.structure import scaling_exponent, squared_increments


def test_crops_of_coarse_and_truth_are_the_same_place():
    crops = Crops([event(periodic=True)], window=3, size=16, factor=8)
    coarse, statics, truth, *_ = crops.batch(seed=1, step=5, size=4)
    assert coarse.shape == (4, 3, 2, 2 + 2 * HALO, 2 + 2 * HALO)
    assert statics.shape == (4, 1, 16, 16)
    assert truth.shape == (4, 3, 1, 16, 16)
    blocks = truth.view(4, 3, 2, 8, 2, 8).mean((3, 5))
    torch.testing.assert_close(blocks, coarse[:, :, 0, HALO:-HALO, HALO:-HALO])


def test_magnified_crops_still_agree_and_are_smoother():
    record = alone(event(cells=10))
    coarse, statics, truth, *_ = Crops([record], 3, 16, 8, zoom=2.0).batch(1, 5, 64)
    assert statics is None
    blocks = truth.view(64, 3, 2, 8, 2, 8).mean((3, 5))
    torch.testing.assert_close(blocks, coarse[:, :, 0, HALO:-HALO, HALO:-HALO])
    plain = Crops([record], 3, 16, 8).batch(1, 5, 64).truth
    step = truth.diff(dim=-1).abs().mean() / truth.mean()
    # white noise between whose cells one interpolates linearly: half of the crops have flatter steps
    assert step < 0.85 * plain.diff(dim=-1).abs().mean() / plain.mean()


def test_blurred_crops_are_those_of_the_blurred_record():
    record = alone(event(cells=10))
    record.truth[:] = np.random.default_rng(3).gamma(0.5, 1e-3, record.truth.shape)
    record = replace(record, coarse=record.truth.reshape(-1, 1, 10, 8, 10, 8).mean((-3, -1)))
    crops = Crops([record], 3, 16, 8, blur=1.5, texture=True, roughness=True)
    found = crops.batch(1, 5, 64)
    inner = found.coarse[:, :, 0, HALO:-HALO, HALO:-HALO]
    torch.testing.assert_close(found.truth.view(64, 3, 2, 8, 2, 8).mean((3, 5)), inner)
    # half of them as they are; where a texture lies between those of two blurs, so does the blur
    assert found.texture is not None
    zooms, blurs = crops._remakes
    assert (len(zooms), [b.blur for b in blurs]) == (1, [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5])
    as_it_is = found.texture == crops.textures[0, 0]
    assert float(as_it_is.float().mean()) == pytest.approx(0.5, abs=0.2)
    assert float(found.texture.max()) > float(crops.textures[0, 4])
    rough = found.truth.diff(dim=-1).square().mean((1, 2, 3, 4))
    assert float(rough[~as_it_is].mean()) < 0.6 * float(rough[as_it_is].mean())
    whole = blurred(record.truth, 1.0)
    expected = squared_increments(torch.from_numpy(whole), 2).mean(0)
    assert float(crops.textures[0, 4]) == pytest.approx(float(scaling_exponent(expected)))
    coarse = torch.from_numpy(whole).unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).mean((-3, -1))
    expected = squared_increments(coarse[2:5]).mean(0)
    exponent = crops.exponent(0, slice(2, 5), Remake(blur=1.0))
    assert float(exponent) == pytest.approx(float(scaling_exponent(expected)))
    both = Crops([record], 3, 16, 8, zoom=2.0, blur=1.5, texture=True, roughness=True)
    told = both.batch(1, 5, 64).texture
    assert told is not None
    assert float((told == both.textures[0, 0]).float().mean()) == pytest.approx(0.5, abs=0.2)
    with pytest.raises(ValueError, match="zoom and blur remake rain alone"):
        Crops([event()], 3, 16, 8, blur=1.0)


def test_a_blur_of_a_crop_is_that_of_the_field_around_it():
    record = alone(event(cells=10))
    record.truth[:] = np.random.default_rng(3).gamma(0.5, 1e-3, record.truth.shape)
    crops = Crops([record], 3, 16, 8, blur=1.5)
    remake = Remake(blur=1.2)
    made = crops._remade(np.random.default_rng(0), record, slice(0, 3), remake, None)
    assert made is not None
    whole = blurred(record.truth[:3], 1.2)
    (j, i), *others = np.argwhere(np.isclose(whole[0], made[2][0, 0, 0], rtol=1e-6))
    assert not others
    np.testing.assert_allclose(made[2], whole[:, j : j + 16, i : i + 16], rtol=1e-5)
    missing = np.ones((8, 8), np.float32)
    missing[4, 4] = np.nan
    assert np.isnan(blurred(missing, 0.5)).sum() == 25  # two cells each way


def test_linear_magnification():
    piece = np.array([[0.0, 2.0, 6.0]], np.float32)
    # at 0, 1/2, 1, 3/2: 0, 1, 2, (2 + 6) / 2
    assert magnify(np.repeat(piece, 2, 0), 2.0, (1, 4)).tolist() == [[0, 1, 2, 4]]


def test_rain_is_preferred_when_crops_are_drawn():
    record = event()
    record.coarse[..., :3] *= 0.1
    one, best = (
        Crops([record], 3, 16, 8, rainiest_of=k).batch(1, 5, 64).coarse[:, :, 0] for k in (1, 4)
    )
    assert float(best.mean()) > 1.2 * float(one.mean())


@pytest.mark.parametrize("zoom", [1.0, 2.0])
def test_crops_are_placed_around_intense_rain(zoom):
    record = alone(event(frames=20, cells=12))
    record.truth[:] *= 0.01
    record.truth[11, 40:48, 64:72] *= 1e4
    blocks = record.truth.reshape(20, 12, 8, 12, 8).mean((2, 4))
    record = replace(record, coarse=blocks[:, None])
    crops = Crops([record], 3, 16, 8, wet_share=0.0, intense_share=1.0, zoom=zoom)
    found = crops.batch(1, 5, 32).truth.amax((1, 2, 3, 4))
    assert float(found.min()) > 0.1 * float(record.truth.max())
    plain = Crops([record], 3, 16, 8, wet_share=0.0, zoom=zoom).batch(1, 5, 32).truth
    assert float((plain.amax((1, 2, 3, 4)) > 0.1 * record.truth.max()).float().mean()) < 0.3


@pytest.mark.parametrize("periodic", [False, True])
def test_crops_begin_at_any_fine_cell(periodic):
    record = replace(alone(event(cells=6)), periodic_x=periodic)
    record.truth[:] = np.random.default_rng(3).gamma(0.5, 1e-3, record.truth.shape)
    record = replace(record, coarse=record.truth.reshape(-1, 1, 6, 8, 6, 8).mean((-3, -1)))
    found = Crops([record], 3, 32, 8, offsets=True).batch(1, 5, 24)
    inner = found.coarse[:, :, 0, HALO:-HALO, HALO:-HALO]
    blocks = found.truth[:, :, 0].unflatten(-1, (4, 8)).unflatten(-3, (4, 8)).mean((-3, -1))
    torch.testing.assert_close(inner, blocks)
    starts = [np.argwhere(record.truth == float(t[0, 0, 0, 0]))[0] for t in found.truth]
    assert len({tuple(k[1:] % 8) for k in starts}) > 12
    for crop, (t, y, x) in zip(found.truth, starts, strict=True):
        columns = (x + np.arange(32)) % 48
        np.testing.assert_array_equal(crop[:, 0], record.truth[t : t + 3, y : y + 32][..., columns])
    assert (max(x for *_, x in starts) > 16) == periodic
    # without, they lie on the blocks of the record; where there is one block too few, too
    plain = Crops([record], 3, 32, 8).batch(1, 5, 24).truth
    assert all(not (np.argwhere(record.truth == float(t[0, 0, 0, 0]))[0, 1:] % 8).any() for t in plain)  # fmt: skip
    whole = Crops([replace(record, periodic_x=False)], 3, 48, 8, offsets=True).batch(1, 5, 1)
    assert whole.truth.shape[-2:] == (48, 48)
    with pytest.raises(ValueError, match="offsets average rain alone anew"):
        Crops([event()], 3, 16, 8, offsets=True)


def test_a_crop_knows_the_roughness_of_its_field():
    record = alone(event(cells=10))
    crops = Crops([record], 3, 16, 8, zoom=2.0, roughness=True)
    whole = squared_increments(torch.from_numpy(record.coarse[2:5, 0])).mean(0)
    frames = slice(2, 5)
    assert crops.exponent(0, frames) == scaling_exponent(whole)
    # 2^(1/8) lies half-way between the first two magnifications
    near, far = (crops.exponent(0, frames, Remake(zoom=2**k)) for k in (0, 0.25))
    assert float(crops.exponent(0, frames, Remake(zoom=2**0.125))) == pytest.approx(
        float(near + far) / 2
    )
    known = crops.batch(1, 5, 32).exponent
    assert known.shape == (32,)
    assert len(set(known.tolist())) > 10
    plain = Crops([record], 3, 16, 8, roughness=True)
    assert plain.exponent(0, frames) == scaling_exponent(whole)


def test_a_crop_knows_the_texture_of_its_event():
    record = alone(event(cells=10))
    crops = Crops([record], 3, 16, 8, zoom=2.0, roughness=True, texture=True)
    smooth = crops.textures[0]
    whole = squared_increments(torch.from_numpy(record.truth), 2).mean(0)
    assert smooth[0] == scaling_exponent(whole)
    assert smooth[-1] > smooth[0]
    known = crops.batch(1, 5, 32).texture
    assert known is not None
    assert (known == smooth[0]).float().mean() == pytest.approx(0.5, abs=0.3)
    assert float(smooth.min()) <= float(known.min()) < float(known.max()) <= float(smooth.max())


def test_magnification_takes_rain_alone():
    with pytest.raises(ValueError, match="without predictors"):
        Crops([event()], window=3, size=16, factor=8, zoom=2.0)


def test_flipped_crops_still_agree():
    crops = Crops([event()], window=3, size=16, factor=8, flips=True)
    coarse, _, truth, *_ = crops.batch(seed=1, step=5, size=8)
    blocks = truth.view(8, 3, 2, 8, 2, 8).mean((3, 5))
    torch.testing.assert_close(blocks, coarse[:, :, 0, HALO:-HALO, HALO:-HALO])


def test_a_batch_is_a_function_of_seed_and_step():
    crops = Crops([event()], window=3, size=16, factor=8)
    assert torch.equal(crops.batch(1, 5, 2).truth, crops.batch(1, 5, 2).truth)
    assert not torch.equal(crops.batch(1, 5, 2).truth, crops.batch(1, 6, 2).truth)


def test_cells_without_radar_are_never_drawn():
    record = event()
    record.truth[:, :24] = np.nan
    record.coarse[:, 0, :3] = np.nan
    crops = Crops([record], window=3, size=16, factor=8)
    # rows 0–2 are missing and the halo of 2 is cut too: only crops from coarse row 5 on would do
    with pytest.raises(ValueError, match="no valid crop of 16"):
        crops.batch(1, 5, 8)
