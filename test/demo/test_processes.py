"""Child processes end in every case, and say why when they end too early."""

import os
import random
import signal
import socket
import sys
import textwrap
import time

import pytest

from robust_vos_ros.demo.processes import (
    ChildProcess,
    Deadline,
    ProcessError,
    find_free_domain,
)
from robust_vos_ros.live.interrupts import Interrupts

TIMEOUT_S = 20.0


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return a function that makes a child of the text of a Python module."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path), prepend=os.pathsep)

    def make(text):
        (tmp_path / 'child_under_test.py').write_text(textwrap.dedent(text))
        return ChildProcess('child', 'child_under_test', [], tmp_path / 'child.log')

    make.log = tmp_path / 'child.log'
    return make


def wait_for(condition):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def ended(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_child_is_stopped_by_an_interrupt(start):
    child = start("""
        import time
        try:
            print('ready', flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            print('interrupted', flush=True)
        """)
    with child:
        wait_for(lambda: 'ready' in start.log.read_text())
        child.check()
    assert 'interrupted' in start.log.read_text()


def test_a_stubborn_child_is_killed(start, monkeypatch):
    monkeypatch.setattr('robust_vos_ros.demo.processes._STOP_TIMEOUT_S', 0.3)
    child = start("""
        import os, signal, time
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print(os.getpid(), flush=True)
        time.sleep(600)
        """)
    with child:
        wait_for(lambda: start.log.read_text().endswith('\n'))
        pid = int(start.log.read_text())
    assert ended(pid)


def test_a_child_is_stopped_when_the_demo_fails(start):
    child = start("""
        import os, time
        print(os.getpid(), flush=True)
        time.sleep(600)
        """)
    pids = []

    def fail():
        with child:
            wait_for(lambda: start.log.read_text().endswith('\n'))
            pids.append(int(start.log.read_text()))
            raise RuntimeError('demo failed')

    with pytest.raises(RuntimeError, match='demo failed'):
        fail()
    assert ended(pids[0])


def test_an_early_end_is_reported_with_the_log(start):
    child = start("""
        import sys
        print('first line')
        sys.exit('no weights here')
        """)

    def failed():
        try:
            child.check()
        except ProcessError as error:
            return str(error)
        return ''

    with child:
        wait_for(failed)
        text = failed()
    assert text.startswith('the child ended with code 1')
    assert 'no weights here' in text


def test_domains_in_use_are_avoided():
    number = find_free_domain(random.Random(1))
    assert 1 <= number <= 100
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(('', 7400 + 250 * number))
        assert find_free_domain(random.Random(1)) != number


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_asked_for(number):
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        interrupts.check()
        os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(number) is before


def test_the_deadline_passes(monkeypatch):
    deadline = Deadline(60.0)
    deadline.check()
    late_s = time.monotonic() + 61.0
    monkeypatch.setattr('robust_vos_ros.demo.processes.time.monotonic', lambda: late_s)
    with pytest.raises(ProcessError, match='did not end within'):
        deadline.check()


def test_children_run_this_python(start):
    child = start("""
        import sys
        print(sys.executable, flush=True)
        """)
    with child:
        wait_for(lambda: start.log.read_text().endswith('\n'))
    assert start.log.read_text().strip() == sys.executable
