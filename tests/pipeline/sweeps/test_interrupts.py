"""Signals that end a sweep in an orderly way."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext

import pytest

from pipeline.sweeps.interrupts import SIGNALS, Interrupts, SweepInterrupted


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_interrupts_with_its_own_exit_code(signum):
    before = signal.getsignal(signum)

    def interrupted() -> None:
        with Interrupts("out/run") as interrupts:
            os.kill(os.getpid(), signum)
            interrupts.check()

    with pytest.raises(SweepInterrupted) as interrupt:
        interrupted()
    assert interrupt.value.exit_code == 128 + signum
    assert signal.getsignal(signum) is before


def test_a_hangup_that_the_caller_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts("out/run") as interrupts:
            os.kill(os.getpid(), signal.SIGHUP)
            interrupts.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_of_c_code_stay_and_nothing_is_left_open(monkeypatch):
    known = signal.getsignal
    own = {signal.SIGTERM: None}
    monkeypatch.setattr(signal, "getsignal", lambda signum: own.get(signum, known(signum)))
    before = [known(signum) for signum in SIGNALS]
    for ends in (False, True):
        open_before = sorted(os.listdir("/proc/self/fd"))
        with pytest.raises(SweepInterrupted) if ends else nullcontext(), Interrupts("out/run"):
            assert known(signal.SIGTERM) is before[1]
            if ends:
                signal.raise_signal(signal.SIGINT)
        assert [known(signum) for signum in SIGNALS] == before
        assert sorted(os.listdir("/proc/self/fd")) == open_before


def test_a_signal_on_the_way_out_is_too_late(monkeypatch):
    put_back = signal.set_wakeup_fd

    def late(*descriptor):
        signal.raise_signal(signal.SIGINT)
        return put_back(*descriptor)

    before = signal.getsignal(signal.SIGINT)
    with Interrupts("out/run"):
        monkeypatch.setattr(signal, "set_wakeup_fd", late)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_that_a_library_made_of_a_signal_is_the_signal():
    def lost() -> None:
        with Interrupts("out/run"):
            try:
                signal.raise_signal(signal.SIGTERM)
            except SweepInterrupted:
                raise RuntimeError("lost a worker") from None

    with pytest.raises(SweepInterrupted) as interrupt:
        lost()
    assert (interrupt.value.exit_code, interrupt.value.location) == (143, "out/run")


# Ends after the first signal, but only in a minute.
SLOW_TO_STOP = """
import sys, time
from pipeline.sweeps.interrupts import Interrupts
with Interrupts("s3://key:secret@bucket/run"):
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("stopping", flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_ends_at_once_and_says_what_is_kept(second):
    driver = subprocess.Popen(
        [sys.executable, "-c", SLOW_TO_STOP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout.readline() == "begun\n"
    driver.send_signal(signal.SIGINT)
    assert driver.stdout.readline() == "stopping\n"
    driver.send_signal(second)
    _, said = driver.communicate(timeout=30)
    assert driver.returncode == 128 + second
    assert said == (
        f"interrupted ({second.name}): what is finished is kept in s3://***@bucket/run; the same "
        "command goes on from there\n"
    )
