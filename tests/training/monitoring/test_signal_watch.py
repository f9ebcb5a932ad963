"""A signal is answered while the main thread computes, in which Python runs no handler."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.helpers import ROOT
from training.monitoring.signal_watch import SignalWatch

# The main thread computes for an hour, and runs no handler meanwhile.
BUSY = """
import hashlib, os, signal
from training.monitoring.signal_watch import SignalWatch

SignalWatch([signal.SIGINT], lambda number: os._exit(7)).start()
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"", b"", 1 << 30)  # without the interpreter's lock, as torch computes
"""


def test_a_signal_is_answered_while_the_main_thread_is_busy() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 7
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_every_signal_is_answered_once_and_handlers_are_restored(number: signal.Signals) -> None:
    received: list[int] = []
    before, threads = signal.getsignal(number), threading.active_count()
    watch = SignalWatch([number], received.append)
    watch.start()
    for times in (1, 2):
        os.kill(os.getpid(), number)
        while len(received) < times:
            time.sleep(0.001)
    watch.stop()
    watch.stop()
    assert received == [number, number]
    assert signal.getsignal(number) is before
    assert threading.active_count() == threads


def test_a_watch_ends_while_a_process_that_was_forked_meanwhile_lives_on() -> None:
    """As those that prepare batches: they have the watch's sockets as well."""
    watch, threads = SignalWatch([signal.SIGTERM], lambda number: None), threading.active_count()
    watch.start()
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    rescue = threading.Timer(20, child.kill)
    rescue.start()
    try:
        watch.stop()
        assert rescue.is_alive()
    finally:
        rescue.cancel()
        rescue.join()
        child.kill()
        child.join()
    assert threading.active_count() == threads


def test_a_signal_that_is_ignored_as_nohup_has_it_stays_so() -> None:
    before, received = signal.signal(signal.SIGHUP, signal.SIG_IGN), list[int]()
    try:
        watch = SignalWatch([signal.SIGHUP], received.append)
        watch.start()
        os.kill(os.getpid(), signal.SIGHUP)
        watch.stop()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert not received


def test_another_thread_takes_no_signals() -> None:
    watch = SignalWatch([signal.SIGTERM], lambda number: None)
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=watch.start)
    thread.start()
    thread.join()
    watch.stop()
    assert signal.getsignal(signal.SIGTERM) is before
