"""How does a listening socket get to where a program reaches it, and nobody else? Blocking.

Programs of the process runtime share this machine's loopback. A container has one of its own, into
which a thread of an agent that is root goes for a moment; the socket that it opens there stays
there, whoever accepts on it. So a job without any network reaches its tracking, and the tracking
reaches nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import sys
import threading
from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
PORT = 5977
"""Within a container, where nobody else listens before its program does."""
BACKLOG = 64
NEW_NETWORK = 0x40000000
"""CLONE_NEWNET: the namespace has to be of this kind."""
OWN = "/proc/self/ns/net"


def listen_here(port: int = 0) -> socket.socket:
    """On this machine's loopback. Raises ``OSError``."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((LOOPBACK, port))
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def listen_in(pid: int, port: int = PORT) -> socket.socket:
    """In the network of that process, which is not this one's. Raises ``OSError``."""
    with namespace(f"/proc/{pid}/ns/net") as there, namespace(OWN) as here:
        if os.path.sameopenfile(there, here):
            raise OSError(f"process {pid} has no network of its own")
        return inside(there, port)


def may_enter() -> bool:
    """Whether this agent may go into other networks: its own is asked for."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    try:
        with namespace(OWN) as here:
            inside(here, 0).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def namespace(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def inside(network: int, port: int) -> socket.socket:
    """By a thread that ends right after: which network it is in is a thread's own matter."""
    made: list[socket.socket | OSError] = []

    def enter_and_listen() -> None:
        try:
            enter(network)
            made.append(listen_here(port))
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter_and_listen)
    thread.start()
    thread.join()
    if not made:
        raise OSError("the thread that was to listen died")
    if isinstance(made[0], OSError):
        raise made[0]
    return made[0]


def enter(network: int) -> None:
    """The thread that calls it, for good. ``os.setns`` is there from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(network, NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
