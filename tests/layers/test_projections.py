import pytest
import torch

from adaptive_attention_tiling.errors import ArgumentError
from adaptive_attention_tiling.layers import ProjectionConfig
from adaptive_attention_tiling.layers.projections import AttentionProjections
from adaptive_attention_tiling.layers.rotary import rotate
from adaptive_attention_tiling.layers.short_convolution import ShortConvolution
from adaptive_attention_tiling.testing import assert_close


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"width": 0, "heads": 1}, "width"),
        ({"width": 8, "heads": 3}, "heads"),
        ({"width": 8, "heads": 4, "key_value_heads": 3}, "key_value_heads"),
        ({"width": 8, "heads": 4, "query_width": 0}, "query_width"),
        ({"width": 8, "heads": 4, "query_width": 3, "rotary_base": 1e4}, "rotary_base"),
        ({"width": 8, "heads": 4, "rotary_base": 0.5}, "rotary_base"),
        ({"width": 8, "heads": 4, "convolution_width": -1}, "convolution_width"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(settings, name):
    with pytest.raises(ArgumentError) as refusal:
        ProjectionConfig(**settings)
    assert refusal.value.name == name


def test_heads_have_the_widths_that_were_asked_for():
    config = ProjectionConfig(width=8, heads=4, key_value_heads=2, head_width=3, query_width=5)
    (query, key, value), _ = AttentionProjections(config)(torch.randn(2, 6, 8))
    assert (query.shape, key.shape, value.shape) == ((2, 4, 6, 5), (2, 2, 6, 5), (2, 2, 6, 3))


def test_queries_and_keys_have_unit_mean_square_with_qk_norm():
    config = ProjectionConfig(width=8, heads=2, qk_norm=True)
    (query, key, value), _ = AttentionProjections(config)(torch.randn(2, 6, 8) * 9)
    for heads in (query, key):
        assert_close(heads.square().mean(-1), torch.ones(2, 2, 6))
    assert value.square().mean(-1).std() > 0.1


def test_rotation_by_hand():
    heads = torch.tensor([1.0, 0.0, 0.0, 2.0]).double().view(1, 1, 1, 4)
    # Angles 3 and 3/10 at position 3: (1, 0) is the first pair, (0, 2) the second.
    turned = rotate(heads, torch.tensor([[3]]), base=100.0)
    angle = torch.tensor([3.0, 0.3], dtype=torch.float64)
    expected = [angle[0].cos(), -2 * angle[1].sin(), angle[0].sin(), 2 * angle[1].cos()]
    assert_close(turned.flatten(), torch.stack(expected))


def test_scores_of_rotated_heads_depend_on_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 6, dtype=torch.float64)

    def score(at, other):
        place = [torch.tensor([[position]]) for position in (at, other)]
        return (rotate(query, place[0]) * rotate(key, place[1])).sum()

    assert_close(score(7, 3), score(1004, 1000))
    assert abs(score(7, 3) - score(7, 5)) > 1e-3


def test_convolution_by_hand():
    convolution = ShortConvolution(1, 3)
    convolution.weight.data = torch.tensor([[100.0], [10.0], [1.0]])
    out, carried = convolution(torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1))
    assert out.flatten().tolist() == [1, 12, 123, 234]
    assert carried.flatten().tolist() == [3, 4]


def test_convolution_is_that_of_torch():
    convolution = ShortConvolution(5, 4).double()
    x = torch.randn(2, 9, 5, dtype=torch.float64)
    kernel = convolution.weight.T[:, None]
    padded = torch.nn.functional.pad(x, (0, 0, 3, 0)).transpose(1, 2)
    expected = torch.nn.functional.conv1d(padded, kernel, groups=5).transpose(1, 2)
    assert_close(convolution(x)[0], expected)


def test_a_convolution_carries_the_last_tokens_and_not_padding():
    convolution = ShortConvolution(1, 3)
    x = torch.tensor([[1.0, 2.0, 3.0, 9.0], [9.0, 9.0, 9.0, 5.0], [9.0, 9.0, 9.0, 9.0]])
    padding = torch.tensor([[1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]).bool()
    before = torch.tensor([[7.0, 8.0]] * 3)[..., None]
    _, carried = convolution(x[..., None], before, padding)
    assert carried[..., 0].tolist() == [[2, 3], [0, 5], [7, 8]]
