"""Positions: T5's buckets, rotations, and counts within documents, against transformers' own functions."""

import pytest
import torch
from torch import Tensor

from models.attention.positions import positions_of, relative_buckets, rotary_angles, rotate
from tests.models.attention.formula import random


@pytest.mark.parametrize("bidirectional", [True, False])
def test_relative_buckets_are_t5s(bidirectional: bool) -> None:
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-400, 401)
    expected = T5Attention._relative_position_bucket(distances, bidirectional, 32, 128)
    assert torch.equal(relative_buckets(distances, bidirectional=bidirectional), expected)


def test_relative_buckets_begin_where_the_table_says() -> None:
    """C9: the first distance of every bucket."""
    behind = -torch.arange(200)
    for bidirectional, starts in {
        True: [*range(8), 8, 12, 16, 23, 32, 46, 64, 91],
        False: [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113],
    }.items():
        buckets = relative_buckets(behind, bidirectional=bidirectional)
        firsts = [int((buckets == bucket).nonzero()[0]) for bucket in range(len(starts))]
        assert firsts == starts
    ahead = relative_buckets(torch.arange(1, 200), bidirectional=True)
    assert torch.equal(ahead, relative_buckets(-torch.arange(1, 200), bidirectional=True) + 16)
    assert (relative_buckets(torch.arange(200), bidirectional=False) == 0).all()


def test_rotary_positions_are_llamas() -> None:
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    config = LlamaConfig(hidden_size=32, num_attention_heads=4, max_position_embeddings=64)
    query, key = torch.randn(2, 1, 4, 20, 8)
    theirs = LlamaRotaryEmbedding(config)(query, torch.arange(20)[None])
    expected, _ = apply_rotary_pos_emb(query, key, *theirs)
    found = rotate(query.transpose(1, 2), *rotary_angles(torch.arange(20), 8)).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_traced", [False, True])
@pytest.mark.parametrize("of_rows", [False, True])
def test_a_rotation_and_its_gradient_are_those_of_the_formula(of_rows: bool, is_traced: bool) -> None:
    """Float64, 1e-12; positions of all rows or of each; states that are a part of wider ones; what is compiled, too."""
    turn = torch.compile(rotate, backend="eager") if is_traced else rotate
    places = torch.tensor([[0, 1, 2, 3, 4], [0, 1, 0, 1, 2]]) if of_rows else torch.arange(5)
    cosines, sines = (angles.double() for angles in rotary_angles(places, 6))
    wide, upstream = random(2, 5, 4, 6).requires_grad_(), random(2, 5, 3, 6, seed=1)
    first, second = wide[:, :, :3].chunk(2, dim=-1)
    expected = wide[:, :, :3] * cosines + torch.cat([-second, first], dim=-1) * sines
    found = turn(wide[:, :, :3], cosines, sines)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    gradients = [torch.autograd.grad(one, wide, upstream)[0] for one in (expected, found)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-12, atol=1e-13)


def test_rotary_scores_follow_from_the_distance_alone() -> None:
    query, key = random(1, 1, 1, 8), random(1, 1, 1, 8, seed=1)  # a row, a position, a head

    def score(at: int, other: int) -> Tensor:
        angles = [rotary_angles(torch.tensor([place]), 8) for place in (at, other)]
        return (rotate(query, *angles[0]) * rotate(key, *angles[1])).sum()

    torch.testing.assert_close(score(3, 1), score(13, 11), rtol=1e-4, atol=1e-5)
    assert not torch.isclose(score(3, 1), score(3, 2))


def test_positions_begin_anew_in_every_document() -> None:
    documents = torch.tensor([[1, 1, 1, 2, 3, 3], [-1, -1, 1, 1, 0, 0]])
    assert positions_of(documents).tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 0, 1, 0, 1]]
