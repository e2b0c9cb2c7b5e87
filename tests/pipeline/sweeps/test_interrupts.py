"""Signals that end a sweep in an orderly way."""

import os
import signal

import pytest

from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_interrupts_with_its_own_exit_code(signum):
    before = signal.getsignal(signum)

    def interrupted() -> None:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signum)
            interrupts.check()

    with pytest.raises(SweepInterrupted) as interrupt:
        interrupted()
    assert interrupt.value.exit_code == 128 + signum
    assert signal.getsignal(signum) is before


def test_a_hangup_that_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
