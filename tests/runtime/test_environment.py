"""What is said of an environment whose packages do not fit together."""

import importlib

import pytest

from jepa.runtime import environment


def importing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)


def test_this_environment_fits() -> None:
    assert environment.torchvision_problem() is None
    assert {"python", "torch", "av"} <= set(environment.versions())


def test_a_cpu_torch_beside_a_cuda_torchvision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    importing(monkeypatch, RuntimeError("operator torchvision::nms does not exist"))
    problem = environment.torchvision_problem()
    assert problem is not None
    assert "was built for another torch" in problem
    assert "pip install --upgrade --force-reinstall torch torchvision" in problem


def test_a_missing_torchvision_is_named_and_other_errors_are_not_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importing(monkeypatch, ImportError("No module named 'torchvision'"))
    assert "pip install --upgrade torch torchvision" in str(environment.torchvision_problem())
    importing(monkeypatch, RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        environment.torchvision_problem()
