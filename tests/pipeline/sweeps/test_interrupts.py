"""Signals that end a sweep in an orderly way."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.sweeps.interrupts import Interrupts, SweepInterrupted


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
