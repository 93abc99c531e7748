"""Decoding processes outlive the signals that ask their parent for an end."""

import signal
from collections.abc import Iterator

import pytest

from jepa.data.workers import leave_signals_to_the_parent
from jepa.runtime.interrupts import Interrupts


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in Interrupts.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_worker_lives_through_every_signal_that_a_job_may_get() -> None:
    leave_signals_to_the_parent(0)
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    assert [signal.getsignal(number) for number in numbers] == [signal.SIG_IGN] * 4
