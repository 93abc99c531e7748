"""What `jepa check` says of an environment that cannot train."""

import pytest

from jepa.programs import check as program
from jepa.programs.check import check, render


def test_a_missing_package_is_named_and_nothing_that_needs_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without = {name: "1" for name in program.REQUIRED if name not in ("av", "faiss-cpu")}
    monkeypatch.setattr(program, "versions", lambda: without)
    (finding,) = check(None)
    assert finding.failed
    assert "missing: av faiss-cpu; run: pip install" in finding.text
    assert render([finding]).startswith("FAILED packages: missing")


def test_a_torchvision_that_does_not_fit_ends_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "torchvision_problem", lambda: "built for another torch")
    assert [(f.name, f.failed) for f in check(None)] == [("packages", False), ("torch and torchvision", True)]


def test_a_sound_environment_has_a_decoder_and_a_device() -> None:
    findings = {finding.name: finding for finding in check(None)}
    assert findings["decoder"].text in ("auto is pyav", "auto is torchcodec")
    assert not any(finding.failed for finding in findings.values())
