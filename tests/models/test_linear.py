"""Linear layers that keep less and multiply faster are linear layers."""

import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from jepa.models.linear import Linear
from jepa.runtime import products


@pytest.fixture(params=["onednn", "mkl"], autouse=True)
def library(request, monkeypatch):
    if request.param == "onednn" and not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param == "onednn")


def pair(inside: int, outside: int, *, bias: bool = True) -> tuple[Linear, nn.Linear]:
    ours, plain = Linear(inside, outside, bias=bias), nn.Linear(inside, outside, bias=bias)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def gradients(out, tensors):
    torch.manual_seed(1)
    return torch.autograd.grad(out, tensors, torch.randn(out.shape))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(200,), (4, 50), (2, 5, 20), (3,)])
def test_values_and_gradients_are_those_of_torch(rows, bias):
    ours, plain = pair(96, 160, bias=bias)
    x = torch.randn(*rows, 96, requires_grad=True)
    out, wanted = ours(x), plain(x)
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    found = gradients(out, (x, *ours.parameters()))
    for one, other in zip(found, gradients(wanted, (x, *plain.parameters())), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("trained", ["weight", "bias", "x"])
def test_only_what_learns_gets_a_gradient(trained):
    ours, plain = pair(96, 160)
    for layer in (ours, plain):
        layer.weight.requires_grad_(trained == "weight")
        layer.bias.requires_grad_(trained == "bias")
    x = torch.randn(200, 96, requires_grad=trained == "x")
    found = []
    for layer in (ours, plain):
        leaf = x if trained == "x" else getattr(layer, trained)
        found.append(gradients(layer(x), leaf)[0])
    torch.testing.assert_close(*found, atol=2e-4, rtol=1e-5)


def test_what_is_prepared_again_gives_the_same_gradients():
    ours, plain = pair(96, 160)
    x, scale = torch.randn(200, 96, requires_grad=True), torch.randn(96, requires_grad=True)

    def prepare(x, scale):
        return F.gelu(x) * scale

    out, wanted = ours.after(prepare, x, scale), plain(prepare(x, scale))
    torch.testing.assert_close(out, wanted, atol=1e-5, rtol=1e-5)
    found = gradients(out, (x, scale, ours.weight, ours.bias))
    for one, other in zip(found, gradients(wanted, (x, scale, plain.weight, plain.bias)), strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=1e-5)


def kept_numbers(layer, run):
    """Count the numbers that the backward pass has been kept, the layer's weights apart."""
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda one: kept.setdefault(one.untyped_storage().data_ptr(), one), lambda one: one
    ):
        run().sum()
    own = {one.untyped_storage().data_ptr() for one in layer.parameters()}
    return sum(one.numel() for place, one in kept.items() if place not in own)


def test_inputs_alone_are_kept():
    ours, plain = pair(96, 160)
    x = torch.randn(200, 96, requires_grad=True)
    assert kept_numbers(ours, lambda: ours.after(F.gelu, x)) == x.numel()
    assert kept_numbers(plain, lambda: plain(F.gelu(x))) == 2 * x.numel()


def test_what_was_prepared_is_gone_after_the_forward_pass():
    layer, made = Linear(96, 160), []

    def prepare(x):
        out = F.gelu(x)
        made.append(weakref.ref(out))
        return out

    out = layer.after(prepare, torch.randn(200, 96, requires_grad=True))
    assert made[0]() is None
    out.sum().backward()
    assert len(made) == 2


def test_autocast_computes_in_its_own_precision():
    ours, plain = pair(96, 160)
    x = torch.randn(200, 96, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, wanted = ours.after(F.gelu, x), plain(F.gelu(x))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, wanted, atol=0, rtol=0)
    found = torch.autograd.grad(out.sum(), ours.weight)[0]
    torch.testing.assert_close(found, torch.autograd.grad(wanted.sum(), plain.weight)[0], atol=0, rtol=0)


def test_a_graph_can_be_exported():
    ours, plain = pair(96, 160)
    x = torch.randn(200, 96)
    program = torch.export.export(ours, (x,))
    assert not any(
        "mkldnn" in str(node.target) or "_Prepared" in str(node.target) for node in program.graph.nodes
    )
    torch.testing.assert_close(program.module()(x), plain(x), atol=1e-5, rtol=1e-5)


def test_compilers_see_plain_operations_and_choose_what_to_keep():
    layer, graphs = Linear(96, 160), []

    def backend(module, inputs):
        graphs.append(str(module.graph))
        return module.forward

    x = torch.randn(200, 96)
    out = torch.compile(lambda x: layer.after(F.gelu, x), backend=backend)(x)
    torch.testing.assert_close(out, layer.after(F.gelu, x), atol=1e-5, rtol=1e-5)
    assert "autograd" not in graphs[0] and "linear" in graphs[0]
