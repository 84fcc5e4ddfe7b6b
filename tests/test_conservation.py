import torch

from stvd.conservation import block_mean, conserve


def test_block_mean_weighs_by_area():
    fine = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    area = torch.tensor([[1.0, 1.0], [3.0, 3.0]])
    # (1·1 + 1·3 + 3·5 + 3·7) / 8 = 40 / 8
    assert block_mean(fine, area, 2).item() == 5.0


def test_block_means_are_the_coarse_input():
    draw = torch.Generator().manual_seed(0)
    fine = torch.rand(3, 32, 48, generator=draw) ** 8
    coarse = torch.rand(3, 4, 6, generator=draw)
    area = torch.linspace(1, 2, 32)[:, None].expand(32, 48).contiguous()
    out = conserve(fine, coarse, area, 8)
    torch.testing.assert_close(block_mean(out, area, 8), coarse, rtol=1e-5, atol=0)
    assert (out >= 0).all()


def test_dry_stays_dry_and_a_block_without_pattern_is_filled_evenly():
    fine = torch.zeros(2, 4)
    fine[:, 2:] = 4.0
    coarse = torch.tensor([[1.0, 0.0]])
    out = conserve(fine, coarse, torch.ones(2, 4), 2)
    assert out[:, :2].tolist() == [[1, 1], [1, 1]]
    assert out[:, 2:].tolist() == [[0, 0], [0, 0]]
