"""Who starts shims so that one costs about a millisecond?

A process in a session of its own. It reads folders of attempts from a FIFO, one a line, and forks a
shim for each. It leaves when the agent is gone (nobody holds the FIFO's other end) and no shim
lives. Idle, it waits without waking up.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import sys
from types import FrameType

from agent.runtimes.launchers import launcher
from agent.shim import run_shim

QUIET = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
"""Signals that a terminal or a service manager sends to everyone: shims outlive them."""


class Host:
    def __init__(self, fifo: int) -> None:
        self._fifo = fifo
        self._rest = b""
        self._shims: set[int] = set()
        self._agent_lives = True
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(fifo, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)

    def run(self) -> None:
        signal.signal(signal.SIGCHLD, ignore)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._on_request()
        while self._agent_lives or self._shims:
            for key, _ in self._selector.select():
                if key.fd == self._wake:
                    os.read(self._wake, 4096)
                else:
                    self._on_request()
            self._reap()

    def _on_request(self) -> None:
        try:
            data = os.read(self._fifo, 65536)
        except BlockingIOError:
            return
        if not data:
            self._agent_lives = False
            self._selector.unregister(self._fifo)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._fork(os.fsdecode(line))

    def _fork(self, path: str) -> None:
        child = os.fork()
        if child:
            self._shims.add(child)
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            for descriptor in (self._fifo, self._wake, self._waker, self._selector.fileno()):
                os.close(descriptor)
            run_shim(path)
            code = 0
        finally:
            os._exit(code)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                child, _ = os.waitpid(-1, os.WNOHANG)
                if child == 0:
                    return
                self._shims.discard(child)


def ignore(number: int, frame: FrameType | None) -> None:
    """A handler rather than SIG_IGN, which the programs would inherit."""


def main(fifo: str, runtimes: list[str]) -> None:
    for number in QUIET:
        signal.signal(number, ignore)
    os.umask(0o022)
    for runtime in runtimes:
        launcher(runtime)
    gc.collect()
    gc.freeze()
    # A blocking open would wait for ever for an agent that has left already.
    Host(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)).run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
