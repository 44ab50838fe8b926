"""How many channels a resolution opens, and that work follows it."""

import pytest
import torch

from adaptive_attention_tiling.ops.selective_scan import channels_used
from adaptive_attention_tiling.ops.selective_scan.widths import pieces


@pytest.mark.parametrize(
    ("resolution", "used"), [(1.0, 6), (0.5, 3), (0.51, 4), (1e-9, 1), (1 / 3, 2), (1 / 6, 1)]
)
def test_a_resolution_opens_its_share_rounded_up(resolution, used):
    assert channels_used(resolution, 6) == used
    as_tensor = torch.tensor([resolution], dtype=torch.float32)
    assert channels_used(as_tensor, 6).tolist() == [used]


def test_every_share_of_channels_opens_just_these():
    for N in (3, 7, 16, 100):
        shares = torch.arange(1, N + 1) / N
        assert channels_used(shares, N).tolist() == list(range(1, N + 1))


def work(widths, chunk=32):
    """Tokens times channels, and what each token's piece covers."""
    covered = torch.zeros_like(widths)
    total = 0
    for piece in pieces(widths, 16, widths.shape[1], lambda _: chunk):
        rows = torch.arange(len(widths)) if piece.rows is None else piece.rows
        assert 0 < piece.stop - piece.start <= chunk
        covered[rows, piece.start : piece.stop] += piece.width
        total += len(rows) * (piece.stop - piece.start) * piece.width
    assert bool((covered >= widths).all())
    return total


@pytest.mark.parametrize("length", [8, 20, 64])
def test_work_is_that_of_the_channels_used(length):
    runs = torch.tensor([[16, 4, 8, 4, 16], [2, 8, 2, 8, 2], [2, 8, 2, 8, 2]])
    widths = runs.repeat_interleave(length, 1)
    assert work(widths) == int(widths.sum())


def test_short_runs_are_read_with_their_neighbours():
    widths = torch.tensor([[4, 16]]).repeat(1, 32)
    assert len(pieces(widths, 16, 64, lambda _: 32)) < 9
    assert work(widths) <= 64 * 16


def test_every_token_is_in_one_piece():
    for seed in range(20):
        torch.manual_seed(seed)
        widths = torch.randint(1, 17, (3, 11)).repeat_interleave(seed % 4 + 1, 1)
        seen = torch.zeros_like(widths)
        for piece in pieces(widths, 16, widths.shape[1], lambda _: 10):
            rows = torch.arange(3) if piece.rows is None else piece.rows
            seen[rows, piece.start : piece.stop] += 1
            mine = widths[rows, piece.start : piece.stop]
            assert int(mine.max()) == piece.width
            if piece.live is not None:
                assert piece.live.sum(-1).T.tolist() == mine.tolist()
            else:
                assert bool((mine == piece.width).all())
        assert bool((seen == 1).all())


def test_narrow_tokens_are_read_more_at_once():
    widths = torch.tensor([[16, 4]]).repeat_interleave(32, 1)
    found = pieces(widths, 16, 64, lambda width: 128 // width)
    assert [(piece.width, piece.stop - piece.start) for piece in found] == [(16, 8)] * 4 + [(4, 32)]
