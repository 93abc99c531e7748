"""Signals during a piece of work: the first is a request, and the handlers come back."""

import os
import signal

import pytest

from jepa.runtime.interrupts import Interrupts, inside_job


@pytest.mark.parametrize("number", Interrupts.SIGNALS)
def test_a_signal_becomes_a_request_and_the_handlers_come_back(number: int) -> None:
    before = {one: signal.getsignal(one) for one in Interrupts.SIGNALS}
    with Interrupts() as interrupts:
        assert interrupts.requested is None
        os.kill(os.getpid(), number)
        assert interrupts.requested == signal.Signals(number).name
    assert {one: signal.getsignal(one) for one in Interrupts.SIGNALS} == before


def test_a_scheduler_may_repeat_itself() -> None:
    """A second SIGTERM while the checkpoint is written must not end the process."""
    with Interrupts() as interrupts:
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR1):
            os.kill(os.getpid(), number)
    assert interrupts.requested == "SIGUSR2"
    assert interrupts.received == {"SIGTERM", "SIGUSR1", "SIGUSR2"}


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_inside_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JEPA_JOB", raising=False)
    assert not inside_job()
    monkeypatch.setenv("JEPA_JOB", "7")
    assert inside_job()
