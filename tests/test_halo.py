"""Pieces and their surroundings: geometry alone, no network."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stvd.grid import unit_vectors
from stvd.halo import HaloIndex, Join, Side, extend_faces, find_joins
from stvd.synthetic import synthetic_grid

N = 16
SPACING = np.pi / 2 / N  # of the cells in the middle of a face, radians


def cube(tiles=6, n=N):
    grid = synthetic_grid((n, n), tiles=tiles)
    return grid["lat"].values, grid["lon"].values


def turned(field, how):
    """A face as another of the 8 ways to lay it out: quarter turns, and mirrored or not."""
    turns, mirror = how
    field = np.rot90(field, turns)
    return field[:, ::-1] if mirror else field


LAYOUTS = st.tuples(st.integers(0, 3), st.booleans())


def test_faces_of_a_cube_are_joined_on_every_side():
    joins = find_joins(*cube())
    assert len(joins) == 6 * 4
    assert joins[0, Side.EAST] == Join(1, Side.WEST, False)  # the equator, eastwards
    assert joins[3, Side.EAST] == Join(0, Side.WEST, False)
    assert joins[0, Side.NORTH] == Join(4, Side.SOUTH, False)
    assert joins[2, Side.NORTH] == Join(4, Side.NORTH, True)  # across the pole: backwards
    for (tile, side), join in joins.items():  # and back again
        assert joins[join.tile, join.side] == Join(tile, side, join.backwards)


def test_sides_without_a_neighbour_are_not_joined():
    joins = find_joins(*cube(tiles=2))
    assert set(joins) == {(0, Side.EAST), (1, Side.WEST)}
    assert find_joins(*cube(tiles=1)) == {}


@given(st.permutations(range(6)), st.lists(LAYOUTS, min_size=6, max_size=6))
def test_neighbours_are_found_in_any_numbering_and_orientation(order, layouts):
    """Across an edge the next centre is a grid spacing away, however the faces are laid out."""
    lat, lon = (
        np.stack([turned(face[t], how) for t, how in zip(order, layouts, strict=True)])
        for face in cube()
    )
    joins = find_joins(lat, lon)
    assert len(joins) == 24
    shape = lat.shape
    extended = unit_vectors(lat, lon).reshape(-1, 3)[extend_faces(joins, shape, (4, 4), (4, 4))]
    inside = slice(4, -4)
    for rows in (extended[:, :, inside], extended[:, inside].swapaxes(1, 2)):
        step = np.linalg.norm(np.diff(rows, axis=1), axis=-1)
        assert step.max() < 1.3 * SPACING  # cells of an equiangular cube: 0.7 to 1 of the middle
        assert step.min() > 0.5 * SPACING


def test_what_surrounds_a_face_continues_a_smooth_field():
    """Steps of a smooth field are no larger over edges than within faces."""
    lat, lon = cube(n=32)
    points = unit_vectors(lat, lon)
    smooth = points[..., 0] * points[..., 2] + points[..., 1]
    joins = find_joins(lat, lon)
    around = smooth.reshape(-1)[extend_faces(joins, lat.shape, (4, 4), (4, 4))]
    across = np.abs(np.diff(around[:, :, 4:-4], axis=1)).max()
    within = max(np.abs(np.diff(smooth, axis=axis)).max() for axis in (1, 2))
    assert across < 1.1 * within


def test_beyond_a_corner_the_faces_around_it_meet_on_the_diagonal():
    lat, lon = cube()
    number = extend_faces(find_joins(lat, lon), lat.shape, (4, 4), (4, 4))
    tile = number // N**2
    south, west = tile[0, 0, N // 2], tile[0, N // 2, 0]
    assert {south, west} == {5, 3}
    corner = tile[0, :4, :4]
    # Deeper in the west than in the south: on from the western face, into the southern one.
    assert (corner[np.tril_indices(4, -1)] == south).all()
    assert (corner[np.triu_indices(4, 1)] == west).all()
    # Cells beside each other stay beside each other, but over the diagonal.
    points = unit_vectors(lat, lon).reshape(-1, 3)[number[0]]
    assert np.linalg.norm(points[2, 3] - points[2, 4], axis=-1) < 1.3 * SPACING


def test_four_tiles_of_a_plane_have_a_fourth_beyond_their_corner():
    lat, lon = np.meshgrid(np.arange(8) * 0.1, np.arange(8) * 0.1, indexing="ij")
    quarters = list(product([slice(4), slice(4, 8)], repeat=2))
    tiles = [np.stack([field[q] for q in quarters]) for field in (lat, lon)]
    joins = find_joins(*tiles)
    assert len(joins) == 8
    number = extend_faces(joins, (4, 4, 4), (2, 2), (2, 2))
    found = tiles[0].reshape(-1)[number], tiles[1].reshape(-1)[number]
    np.testing.assert_array_equal(found[0][0][2:, 2:], lat[:6, :6])
    np.testing.assert_array_equal(found[1][3][:-2, :-2], lon[2:, 2:])


def test_beyond_a_side_without_a_neighbour_a_face_is_mirrored():
    # Rows of 3 cells, 4 more on either side: mirrored at the edges, and once more behind that.
    assert extend_faces({}, (1, 1, 3), (0, 0), (4, 4))[0, 0].tolist() == [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]  # fmt: skip


def test_pieces_of_a_row_by_hand():
    # 12 cells in pieces of at most 6 with 2 around: the first reaches from 0 to 9, the last from 2 to 11.
    index = HaloIndex.of((1, 2, 12), {}, tile=6, halo=2, multiple=2, blend=1)
    assert index.index[:, 0].tolist() == [list(range(10)), list(range(2, 12))]
    # Over the border between 5 and 6 the weights pass in 2 cells: 3/4 and 1/4, then 1/4 and 3/4.
    ones = torch.stack([torch.ones(2, 10), torch.zeros(2, 10)])
    assert index.merge(ones)[0].tolist() == [1, 1, 1, 1, 1, 0.75, 0.25, 0, 0, 0, 0, 0]
    hard = HaloIndex.of((1, 2, 12), {}, tile=6, halo=2, multiple=2, blend=0)
    assert hard.merge(ones)[0].tolist() == [1] * 6 + [0] * 6


def test_pieces_of_a_circle_go_around_it():
    index = HaloIndex.of((1, 2, 12), {}, tile=6, halo=2, multiple=2, periodic_x=True)
    assert index.index[:, 0].tolist() == [
        [10, 11, 0, 1, 2, 3, 4, 5, 6, 7],
        [4, 5, 6, 7, 8, 9, 10, 11, 0, 1],
    ]
    assert not index.wrap_x
    uncut = HaloIndex.of((1, 4, 12), {}, tile=12, halo=2, multiple=2, periodic_x=True)
    assert uncut.wrap_x
    assert uncut.index[0].tolist() == [list(range(12 * r, 12 * r + 12)) for r in range(4)]


SIZES = st.integers(1, 12).map(lambda k: 8 * k)


@given(
    SIZES,
    SIZES,
    st.sampled_from([16, 40, 64]),
    st.sampled_from([8, 16]),
    st.booleans(),
    st.sampled_from([None, 0, 3]),
)
def test_what_was_cut_is_put_together_again(ny, nx, tile, halo, periodic, blend):
    index = HaloIndex.of(
        (1, ny, nx), {}, tile=tile, halo=halo, multiple=8, periodic_x=periodic, blend=blend
    )
    field = torch.randn(3, ny, nx)
    pieces = index.gather(field)
    assert pieces.shape == (3, index.pieces, *index.piece_shape)
    assert all(size % 8 == 0 for size in index.piece_shape)
    assert max(index.piece_shape) <= -(-tile // 8) * 8 + 2 * halo
    torch.testing.assert_close(index.merge(pieces), field)
    torch.testing.assert_close(pieces[:, -1], index.gather(field, -1))


@pytest.mark.parametrize(
    ("tile", "multiple", "blend"), list(product([None, 8], [4, 16], [None, 0]))
)
def test_faces_are_put_together_again(tile, multiple, blend):
    lat, lon = cube(n=24)
    index = HaloIndex.of(
        lat.shape, find_joins(lat, lon), halo=16, tile=tile, multiple=multiple, blend=blend
    )
    assert all(size % multiple == 0 for size in index.piece_shape)
    field = torch.randn(2, 6 * 24, 24)
    torch.testing.assert_close(index.merge(index.gather(field)), field)


def test_weights_pass_smoothly_from_face_to_face():
    """Every piece holds its own number: merged, the field steps by a part of the weight a cell."""
    lat, lon = cube()
    joins = find_joins(lat, lon)
    index = HaloIndex.of(lat.shape, joins, halo=8, blend=4)
    own = torch.arange(6.0)[:, None, None].expand(6, *index.piece_shape)
    around = HaloIndex.of(lat.shape, joins, halo=1).gather(index.merge(own))
    step = (around[0, 0, 1:-1] - around[0, 1, 1:-1]).abs()
    largest = 5 - 0  # face 5 lies south of face 0: 5 / 8 a cell in the middle of the side
    assert step[N // 2] == pytest.approx(largest / 8, rel=1e-5)
    assert step.max() < 1.1 * largest / 8
