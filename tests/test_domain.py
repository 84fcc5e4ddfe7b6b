"""Fields on faces and in tiles: interpolation over edges, and samples that do not show the cuts."""

import numpy as np
import pytest
import torch
import xarray as xr

from stvd.checkpoint import Checkpoint, GridContract
from stvd.conditioning import Channels, Standard, Texture
from stvd.domain import Domain, stacked
from stvd.downscale import downscale
from stvd.engine import Engine
from stvd.lattice import TimeAxis
from stvd.model import preset
from stvd.sampling import SamplerConfig
from stvd.synthetic import synthetic_coarse, synthetic_grid
from stvd.transforms import RainTransform

AXIS = TimeAxis(epoch="2001-01-01", step_seconds=10800)
SAMPLER = SamplerConfig(steps=2, halo=8, windows="independent")
CHANNELS = Channels(
    rain=RainTransform(s=0.5),
    predictors=("tas",),
    statics=("orog",),
    scales={"tas": Standard(mean=280, std=20), "orog": Standard(mean=0, std=1000)},
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Checkpoint:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = preset("tiny", 3, window=2).build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    grid = GridContract(factor=8, step_seconds=(10800, 10800), spacing_km=(20, 2000))
    return Checkpoint.create(
        "test", network, CHANNELS, grid, {}, tmp_path_factory.mktemp("checkpoint")
    )


def source(shape, tiles=None):
    coarse = synthetic_coarse(AXIS, range(20, 22), shape, tiles=tiles, predictors=("tas",))
    return coarse.compute(), synthetic_grid(shape, tiles=tiles)


def sample(checkpoint, coarse, grid, sampler=SAMPLER, memory_gib=1.0) -> np.ndarray:
    engine = Engine(device="cpu", precision="float32", memory_gib=memory_gib)
    (block,) = downscale(
        checkpoint, coarse, grid, frames=range(20, 22), members=range(2), seed=3,
        sampler=sampler, engine=engine,
    )  # fmt: skip
    return block.pr


def over_the_equator(fields):
    """Mean |difference| over the edges between faces 0–1, 1–2, 2–3 and 3–0, of (..., tile, y, x)."""
    west, east = fields[..., [0, 1, 2, 3], :, -1], fields[..., [1, 2, 3, 0], :, 0]
    return float(np.abs(east - west).mean())


def test_x_goes_on_over_the_edges_of_faces():
    coarse, grid = source((32, 32), tiles=6)
    fields = torch.stack(
        [torch.from_numpy(coarse[v].values.astype(np.float32)) for v in ("pr", "tas")], dim=1
    )[None]
    jumps = {}
    for joined in (False, True):
        domain = Domain.of(grid, CHANNELS, periodic_x=False, joined=joined)
        x = domain.inputs(fields).unflatten(-2, (6, 32))
        assert x.shape == (1, 2, 3, 6, 32, 32)
        jumps[joined] = over_the_equator(x[0, :, 1].numpy())
        inside = float(np.abs(np.diff(x[0, :, 1, :4].numpy())).mean())
        orog = CHANNELS.scale_statics(torch.from_numpy(grid["orog"].values)[:, None])[:, 0]
        assert torch.equal(x[0, 0, 2], orog)  # what is already fine is what it was
    assert jumps[True] < 1.3 * inside
    assert jumps[False] > 2 * inside


def test_the_texture_of_a_source_is_told_on_every_face():
    coarse, grid = source((32, 32), tiles=6)
    channels = Channels(
        rain=RainTransform(),
        scales={name: Standard(mean=1.0, std=0.5) for name in ("roughness", "texture")},
        roughness=True,
        texture=Texture(low=0.5, high=1.5, usual=(1.0, 0.0)),
    )
    rain = torch.from_numpy(coarse["pr"].values.astype(np.float32))[None, :, None]
    for asked, told in ((None, 0.0), (1.25, 0.5), (1.9, 1.0)):
        domain = Domain.of(grid, channels, periodic_x=False, joined=True, texture=asked)
        assert (domain.inputs(rain)[:, :, 2] == told).all()


def test_faces_that_nothing_locates_are_sampled_one_by_one():
    _, grid = source((16, 16), tiles=6)
    assert len(Domain.of(grid, CHANNELS, periodic_x=False, joined=True).joins) == 24
    for alone in (grid.drop_vars(["lat", "lon"]), grid.isel(tile=[1])):
        domain = Domain.of(alone, CHANNELS, periodic_x=False, joined=True)
        assert domain.joins == {}
        assert domain.pieces(SAMPLER, 8).piece_shape == (16, 16)


def test_faces_are_joined_by_halos_in_any_batch(checkpoint):
    coarse, grid = source((16, 16), tiles=6)
    pr = sample(checkpoint, coarse, grid)
    assert pr.shape == (2, 2, 6, 16, 16)
    apart = sample(checkpoint, coarse, grid, SAMPLER.model_copy(update={"halo": 0}))
    assert not np.array_equal(pr, apart)
    small = sample(checkpoint, coarse, grid, memory_gib=1e-6)
    assert np.abs(pr - small).max() <= 1e-4 * pr.std()
    for rain in (pr, apart):
        weight = grid["areacella"].values.reshape(6, 2, 8, 2, 8)
        blocks = (rain.reshape(2, 2, 6, 2, 8, 2, 8) * weight).sum((4, 6)) / weight.sum((2, 4))
        np.testing.assert_allclose(blocks, coarse["pr"].values[None].repeat(2, 0), rtol=1e-5)


def test_tiles_of_a_large_grid_show_no_seam(checkpoint):
    """A circle of longitude in three tiles, whose seams are at 64, 128 and 0 of 192 columns."""
    coarse, grid = source((32, 192))
    whole = sample(checkpoint, coarse, grid)
    jumps = {}
    for halo in (0, 16):
        sampler = SAMPLER.model_copy(update={"tile": 64, "halo": halo})
        tiles = sample(checkpoint, coarse, grid, sampler)
        error = np.abs(tiles - whole).mean((0, 1, 2))
        jumps[halo] = error[[63, 64, 127, 128, 191, 0]].mean() / error.mean()
        small = sample(checkpoint, coarse, grid, sampler, memory_gib=1e-6)
        assert np.abs(tiles - small).max() <= 1e-4 * tiles.std()
        assert np.abs(tiles - whole).mean() < 0.2 * whole.std()
    assert jumps[16] < 1.5 < jumps[0]  # without a halo the cells at a seam differ most


def test_pieces_are_a_function_of_grid_and_sampler(checkpoint):
    wide = xr.Dataset({n: (("y", "x"), np.ones((400, 840))) for n in ("areacella", "orog")})
    domain = Domain.of(wide, CHANNELS, periodic_x=False, joined=True)
    index = domain.pieces(SamplerConfig(), 8)
    assert index.pieces == 1 * 2  # of 400 × 424 cells, 840 / 2 rounded up, and 16 around
    assert index.piece_shape == (400, 456)
    assert domain.pieces(SamplerConfig(tile=1024), 8).pieces == 1


def test_a_circle_that_is_no_multiple_is_refused():
    _, grid = source((16, 40))
    domain = Domain.of(grid, CHANNELS, periodic_x=True, joined=True)
    with pytest.raises(ValueError, match="a circle of 40 cells cannot be padded"):
        domain.pieces(SamplerConfig(), 32)
    assert domain.pieces(SamplerConfig(tile=32), 32).piece_shape == (32, 96)


def test_stacked_faces_are_blocks_of_rows():
    faces = torch.arange(12).view(3, 2, 2)
    assert stacked(faces)[2:4].equal(faces[1])
