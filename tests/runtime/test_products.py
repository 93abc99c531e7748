"""Matrix products by either library."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

from jepa.runtime import products
from jepa.runtime.products import product, takes_onednn


@pytest.fixture(params=["onednn", "mkl"])
def library(request, monkeypatch):
    """Take either library, whatever the machine: oneDNN computes alike on all processors, if not as fast."""
    if request.param == "onednn" and not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda: request.param == "onednn")
    return request.param


@pytest.mark.parametrize("rows", [(300,), (4, 75), (2, 3, 50)])
def test_a_product_is_that_of_float64(library, rows):
    x, weight, bias = torch.randn(*rows, 96), torch.randn(128, 96), torch.randn(128)
    assert takes_onednn(x, weight) == (library == "onednn")
    wanted = F.linear(x.double(), weight.double(), bias.double())
    torch.testing.assert_close(product(x, weight, bias).double(), wanted, atol=1e-4, rtol=1e-5)
    without = F.linear(x.double(), weight.double())
    torch.testing.assert_close(product(x, weight).double(), without, atol=1e-4, rtol=1e-5)


def test_transposed_operands_are_read_as_they_lie(library):
    x, weight = torch.randn(96, 300), torch.randn(96, 128)
    assert takes_onednn(x.T, weight.T) == (library == "onednn")
    wanted = x.T.double() @ weight.double()
    torch.testing.assert_close(product(x.T, weight.T).double(), wanted, atol=1e-4, rtol=1e-5)


def test_only_large_plain_float32_products_go_to_onednn(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    x, weight = torch.randn(300, 96), torch.randn(128, 96)
    assert takes_onednn(x, weight)
    assert not takes_onednn(x[:10], weight)
    assert not takes_onednn(x.double(), weight.double())
    assert not takes_onednn(x.bfloat16(), weight.bfloat16())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not takes_onednn(x, weight)
    before = torch.backends.mkldnn.set_flags(False)
    try:
        assert not takes_onednn(x, weight)
    finally:
        torch.backends.mkldnn.set_flags(before[0])
    with FakeTensorMode() as fake:
        assert not takes_onednn(fake.from_tensor(x), weight)
        assert not takes_onednn(x, fake.from_tensor(weight))


@pytest.mark.parametrize(
    ("vendor", "capability", "faster"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_onednn_is_for_processors_whose_avx512_mkl_leaves_alone(
    monkeypatch, tmp_path, vendor, capability, faster
):
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: Other\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(products, "FACTS", facts)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert products.onednn_is_faster.__wrapped__() == faster


def test_a_torch_without_the_operator_multiplies_as_ever(monkeypatch):
    monkeypatch.setattr(products, "FACTS", type("Facts", (), {"is_file": lambda _: False})())
    monkeypatch.setattr("platform.processor", lambda: "AuthenticAMD")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    assert not products.onednn_is_faster.__wrapped__()


def test_where_the_system_keeps_no_facts_the_platform_names_the_vendor(monkeypatch, tmp_path):
    monkeypatch.setattr(products, "FACTS", tmp_path / "missing")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for name, faster in (
        ("AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD", True),
        ("i386", False),
        ("", False),
    ):
        monkeypatch.setattr("platform.processor", lambda name=name: name)
        assert products.onednn_is_faster.__wrapped__() == faster
