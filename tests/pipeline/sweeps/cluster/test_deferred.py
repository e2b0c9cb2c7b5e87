import signal

import pytest

from pipeline.sweeps.cluster.deferred import signals_deferred
from pipeline.sweeps.interrupts import SIGNALS, Interrupts, SweepInterrupted


def start(steps, *signals):
    """Raise the signals within the block; those that were not answered at once are added."""
    with Interrupts("out"), signals_deferred():
        for signum in signals:
            signal.raise_signal(signum)
            steps.append(signum)


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_is_raised_after_the_block(signum):
    steps = []
    with pytest.raises(SweepInterrupted) as raised:
        start(steps, signum)
    assert steps == [signum]
    assert raised.value.signum == signum


def test_a_second_signal_is_not_waited_for():
    steps = []
    with pytest.raises(SweepInterrupted) as raised:
        start(steps, signal.SIGTERM, signal.SIGINT)
    assert steps == [signal.SIGTERM]
    assert raised.value.signum == signal.SIGINT


def test_handlers_that_raise_nothing_are_all_called():
    called = []
    before = [
        signal.signal(signum, lambda number, frame: called.append(number)) for signum in SIGNALS
    ]
    try:
        with signals_deferred():
            for signum in SIGNALS:
                signal.raise_signal(signum)
            assert called == list(SIGNALS[1:])
        assert called == [*SIGNALS[1:], SIGNALS[0]]
    finally:
        for signum, handler in zip(SIGNALS, before, strict=True):
            signal.signal(signum, handler)


def test_what_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_deferred():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_error_of_the_block_comes_out_where_no_signal_came():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError, match="no room"), signals_deferred():
        raise OSError("no room")
    assert signal.getsignal(signal.SIGTERM) is before


def test_ray_does_not_put_a_handler_of_its_own_in_the_way():
    from ray._private import utils

    with signals_deferred():
        ours = signal.getsignal(signal.SIGTERM)
        utils.set_sigterm_handler(lambda *arguments: None)
        assert signal.getsignal(signal.SIGTERM) is ours
