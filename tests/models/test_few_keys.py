"""Attention of one query to a few keys: the numbers of torch's attention, and where it is taken."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode

from jepa.models.blocks import Attention
from jepa.models.few_keys import FEW, attend_few, takes_few


def draw(keys: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Queries, keys and values, (B, h, 1 or M, d), laid out as a linear layer leaves them."""
    draw = torch.Generator().manual_seed(keys)
    sizes = (1, keys, keys)
    return [torch.randn(5, size, 4, 8, generator=draw, dtype=dtype).transpose(1, 2) for size in sizes]


@pytest.mark.parametrize("keys", range(1, FEW + 1))
def test_it_is_scaled_dot_product_attention(keys: int) -> None:
    parts = [part.requires_grad_() for part in draw(keys, torch.float64)]
    few, plain = attend_few(*parts), F.scaled_dot_product_attention(*parts)
    torch.testing.assert_close(few, plain, atol=1e-10, rtol=1e-10)
    weight = torch.randn_like(plain)
    found, expected = (
        torch.autograd.grad((out * weight).sum(), parts, materialize_grads=True) for out in (few, plain)
    )
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-10, rtol=1e-10)


def test_it_is_taken_for_one_query_and_few_keys_in_float32_and_never_in_a_graph() -> None:
    q, k, _ = draw(FEW)
    assert takes_few(q, k)
    assert not takes_few(q, draw(FEW + 1)[1])
    assert not takes_few(k, k)
    assert not takes_few(q.bfloat16(), k.bfloat16())
    assert not takes_few(q.to("meta"), k.to("meta"))
    with FakeTensorMode():
        assert not takes_few(torch.empty(5, 4, 1, 8), torch.empty(5, 4, 2, 8))


@pytest.mark.parametrize("keys", [1, 3])
def test_attention_gives_the_same_numbers_either_way(keys: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = Attention(32, 4).eval()
    parts = draw(keys)
    taken = attention.mix(*parts)
    monkeypatch.setattr("jepa.models.blocks.takes_few", lambda q, k: False)
    torch.testing.assert_close(taken, attention.mix(*parts), atol=1e-5, rtol=1e-5)


def test_a_mask_and_dropout_are_left_to_torchs_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    attention, (q, k, v) = Attention(32, 4, dropout=0.5).eval(), draw(3)
    expected = attention.mix(q, k[:, :, ::2], v[:, :, ::2])
    monkeypatch.setattr("jepa.models.blocks.attend_few", lambda *parts: pytest.fail("it knows neither"))
    torch.testing.assert_close(attention.mix(q, k, v, torch.tensor([[True, False, True]])), expected)
    attention.train().mix(q, k, v)
