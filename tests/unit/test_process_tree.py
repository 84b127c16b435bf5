"""Are all that descend from a process found, counted and killed?"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from agent.runtimes.process_tree import descendants, kill_tree, threads, tree_use

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SLEEP = ["sleep", "60"]
NEST = "import subprocess; subprocess.run(['sleep', '60'])"


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen[bytes]]]:
    made: list[subprocess.Popen[bytes]] = []
    yield made
    for process in made:
        process.kill()
        process.wait()


def test_what_a_thread_began_is_found(begun: list[subprocess.Popen[bytes]]) -> None:
    there, done = threading.Event(), threading.Event()

    def begin() -> None:
        begun.append(subprocess.Popen(SLEEP))
        there.set()
        done.wait()

    thread = threading.Thread(target=begin)
    thread.start()
    there.wait()
    try:
        assert begun[0].pid in set(descendants(os.getpid()))
    finally:
        done.set()
        thread.join()


def test_threads_count(begun: list[subprocess.Popen[bytes]]) -> None:
    done = threading.Event()
    before = threads(os.getpid())
    more = [threading.Thread(target=done.wait) for _ in range(3)]
    for thread in more:
        thread.start()
    try:
        assert threads(os.getpid()) == before + 3
    finally:
        done.set()
        for thread in more:
            thread.join()


def test_grandchildren_are_counted_and_killed(begun: list[subprocess.Popen[bytes]]) -> None:
    begun.append(subprocess.Popen([sys.executable, "-c", NEST]))
    give_up = time.monotonic() + 20
    while len(found := set(descendants(os.getpid()))) < 2:
        assert time.monotonic() < give_up
    use = tree_use(most=100)
    assert use.processes >= 2
    assert use.memory > 1 << 20
    assert tree_use(most=1).memory == 0
    kill_tree()
    assert begun[0].wait(20) == -9
    while any(os.path.exists(f"/proc/{pid}/exe") and running(pid) for pid in found):
        assert time.monotonic() < give_up


def running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
