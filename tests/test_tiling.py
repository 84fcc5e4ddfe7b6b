"""A network over pieces: the same as over the whole where it can be, close to it where it cannot."""

import pytest
import torch

from stvd.halo import HaloIndex, find_joins
from stvd.model import STVD, preset
from stvd.synthetic import synthetic_grid
from stvd.tiling import TiledSTVD

WINDOWS, MEMBERS, FRAMES = 2, 3, 2


@pytest.fixture(scope="module")
def network() -> STVD:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = preset("tiny", 2, window=FRAMES).build().eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.add_(0.03 * torch.randn_like(parameter))
    return network


def fields(shape, seed=1):
    """x of windows, noisy residuals of their members and log SNR of every frame."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(WINDOWS, FRAMES, 2, *shape, generator=draw)
    noisy = torch.randn(WINDOWS * MEMBERS, FRAMES, 1, *shape, generator=draw)
    return x, noisy, torch.randn(WINDOWS * MEMBERS, FRAMES, generator=draw)


def call(network, x, noisy, levels, **options):
    condition = network.condition(x, **options)
    return condition.mean, network.denoise(noisy, levels, condition.repeat(MEMBERS))


def cube(n, order=range(6)):
    grid = synthetic_grid((n, n), tiles=6)
    return [grid[name].values[list(order)] for name in ("lat", "lon")]


@pytest.mark.parametrize("periodic", [False, True])
def test_one_piece_is_the_whole_bit_for_bit(network, periodic):
    x, noisy, levels = fields((16, 32))
    index = HaloIndex.of((1, 16, 32), {}, halo=8, tile=32, multiple=8, periodic_x=periodic)
    mean, v = call(TiledSTVD(network, index), x, noisy, levels)
    whole = call(network.wrap_x(periodic), x, noisy, levels)
    assert torch.equal(mean, whole[0])
    assert torch.equal(v, whole[1])


@pytest.mark.parametrize("periodic", [False, True])
def test_pieces_with_halos_are_close_to_the_whole(network, periodic):
    """What is left is the norms, whose statistics are those of a piece, and the far reach of cells."""
    x, noisy, levels = fields((64, 96))
    whole = call(network.wrap_x(periodic), x, noisy, levels)
    apart = []
    for halo in (0, 16):
        index = HaloIndex.of((1, 64, 96), {}, halo=halo, tile=32, multiple=8, periodic_x=periodic)
        pieces = call(TiledSTVD(network, index), x, noisy, levels)
        apart.append(
            [
                float((a - b).square().mean().sqrt() / b.std())
                for a, b in zip(pieces, whole, strict=True)
            ]
        )
    assert max(apart[1]) < 0.15
    assert all(far > 1.5 * near for far, near in zip(*apart, strict=True))


def test_neither_the_grouping_of_pieces_nor_what_is_kept_changes_the_numbers(network):
    lat, lon = cube(8)
    index = HaloIndex.of(lat.shape, find_joins(lat, lon), halo=8, multiple=8)
    x, noisy, levels = fields(index.shape)
    tiled = TiledSTVD(network, index)
    mean, v = call(tiled, x, noisy, levels, together=index.pieces)
    for other, together in ((tiled, 1), (tiled, 4), (TiledSTVD(network, index, keep_bytes=0), 4)):
        again = call(other, x, noisy, levels, together=together)
        torch.testing.assert_close(again[0], mean, rtol=0, atol=1e-5)
        torch.testing.assert_close(again[1], v, rtol=0, atol=1e-5)


def test_members_and_windows_do_not_meet(network):
    lat, lon = cube(8)
    tiled = TiledSTVD(network, HaloIndex.of(lat.shape, find_joins(lat, lon), halo=8, multiple=8))
    x, noisy, levels = fields(tiled.index.shape)
    mean, v = call(tiled, x, noisy, levels)
    alone = tiled.condition(x[1:])
    one = tiled.denoise(noisy[-1:], levels[-1:], alone.repeat(1))
    torch.testing.assert_close(mean[1:], alone.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(v[-1:], one, rtol=0, atol=1e-5)


def test_the_numbering_of_faces_does_not_matter(network):
    order = [3, 0, 5, 1, 4, 2]
    tiled = [
        TiledSTVD(network, HaloIndex.of(lat.shape, find_joins(lat, lon), halo=8, multiple=8))
        for lat, lon in (cube(16), cube(16, order))
    ]
    x, noisy, levels = fields(tiled[0].index.shape)

    def renumbered(field):
        faces = field.unflatten(-2, (6, 16))
        return faces[..., order, :, :].flatten(-3, -2)

    _, v = call(tiled[0], x, noisy, levels)
    _, again = call(tiled[1], renumbered(x), renumbered(noisy), levels)
    torch.testing.assert_close(again, renumbered(v), rtol=0, atol=1e-5)


def test_a_face_sees_the_rain_of_its_neighbour(network):
    lat, lon = cube(16)
    tiled = TiledSTVD(network, HaloIndex.of(lat.shape, find_joins(lat, lon), halo=8, multiple=8))
    x, noisy, levels = fields(tiled.index.shape)
    _, v = call(tiled, x, noisy, levels)
    noisy[..., 16:32, :] += 1  # face 1, east of face 0 and opposite of face 3
    _, moved = call(tiled, x, noisy, levels)
    change = (moved - v).abs().mean((0, 1, 2)).unflatten(0, (6, 16))
    assert change[0, :, -1].mean() > 3 * change[0, :, :4].mean() > 0  # a little by the norms
    # Face 3 alone makes its middle; its edges are shared with faces that face 1 changes by the norms.
    assert change[3, 4:-4, 4:-4].max() < 1e-6 < change[3].max()
