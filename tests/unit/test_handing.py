"""How secrets come to a shim, whatever becomes of the agent meanwhile."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent import handing
from agent.handing import HEAD, NotHanded, Secrets, make_fifo, open_to_hand, take

SECRETS = Secrets({"A": b"one", "B": b"\0\xff"}, {"A": "A"}, {"/run/secrets/b": "B"})


@pytest.fixture
def fifo(tmp_path: Path) -> str:
    path = str(tmp_path / "secrets")
    make_fifo(path)
    return path


def test_what_is_handed_over_is_taken(fifo: str) -> None:
    descriptor = open_to_hand(fifo)
    os.write(descriptor, SECRETS.pack())
    taken = take(fifo, 10)
    os.close(descriptor)
    assert taken == SECRETS
    assert (taken.environment(), taken.contents()) == (
        {"A": b"one"},
        {"/run/secrets/b": b"\0\xff"},
    )


def test_nobody_else_may_open_the_fifo(fifo: str) -> None:
    assert os.stat(fifo).st_mode & 0o777 == 0o600


def test_a_shim_does_not_wait_for_ever(fifo: str) -> None:
    with pytest.raises(NotHanded, match="did not hand over"):
        take(fifo, 0.2)


def test_a_dead_agents_half_is_forgotten_and_its_successor_heard(
    fifo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = threading.Event()
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: alone.set())
    monkeypatch.setattr(handing, "time", clock)
    first = open_to_hand(fifo)
    os.write(first, SECRETS.pack()[:20])
    shim = Taking(fifo)
    shim.start()
    while unread(first):
        pass
    os.close(first)
    assert alone.wait(10)
    second = open_to_hand(fifo)
    os.write(second, SECRETS.pack())
    shim.join(10)
    os.close(second)
    assert shim.found == SECRETS


def unread(descriptor: int) -> int:
    """Bytes that lie in the FIFO."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


class Taking(threading.Thread):
    """A shim."""

    def __init__(self, fifo: str) -> None:
        super().__init__(daemon=True)
        self._fifo = fifo
        self.found: Secrets | None = None

    def run(self) -> None:
        self.found = take(self._fifo, 10)


def test_two_agents_at_one_time_are_noticed(fifo: str) -> None:
    descriptor = open_to_hand(fifo)
    os.write(descriptor, SECRETS.pack()[:-3] + SECRETS.pack())
    with pytest.raises(NotHanded, match="two agents"):
        take(fifo, 10)
    os.close(descriptor)


def test_what_is_too_big_is_not_read(fifo: str) -> None:
    descriptor = open_to_hand(fifo)
    os.write(descriptor, HEAD.pack(1 << 30, bytes(32)))
    with pytest.raises(NotHanded):
        take(fifo, 10)
    os.close(descriptor)


def test_secrets_do_not_show_in_what_is_logged() -> None:
    assert "one" not in repr(SECRETS)
