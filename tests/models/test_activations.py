"""GELU in place: the same numbers, only without gradients, and never over what somebody gave."""

import torch
import torch.nn.functional as F

from jepa.models.activations import GELU
from jepa.models.blocks import MLP


def test_it_is_gelu_and_overwrites_only_where_no_gradient_is_wanted() -> None:
    x = torch.linspace(-4, 4, 101)
    expected = F.gelu(x)
    with torch.no_grad():
        given = x.clone()
        out = GELU()(given)
        assert out.data_ptr() == given.data_ptr()
    torch.testing.assert_close(out, expected, atol=1e-6, rtol=1e-6)
    kept = x.clone().requires_grad_()
    torch.testing.assert_close(GELU()(kept), expected, atol=0, rtol=0)
    torch.testing.assert_close(kept.detach(), x, atol=0, rtol=0)


def test_an_mlp_gives_the_same_with_and_without_gradients_and_leaves_its_input() -> None:
    torch.manual_seed(0)
    mlp, x = MLP(16, 64).eval(), torch.randn(3, 5, 16)
    before = x.clone()
    with torch.no_grad():
        out = mlp(x)
    torch.testing.assert_close(out, mlp(x).detach(), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(x, before, atol=0, rtol=0)
