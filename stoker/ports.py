"""Which ports are free, and under which address does this machine reach itself?"""

from __future__ import annotations

import socket

from stoker import config
from stoker.answers import StokerError

ANY_NATS_PORT = -1
"""nats-server's word for any free one."""


def page_port(host: str, asked: int) -> int:
    """A free port: the asked one, or any for 0. Raises ``StokerError`` where it is taken."""
    try:
        if asked == 0:
            return any_free(host)
        free = is_free(host, asked)
    except OSError as error:
        raise StokerError(f"{host} is no address of this machine: {error}") from error
    if not free:
        raise StokerError(
            f"port {asked} is taken, perhaps by another stoker up; choose one with --port"
        )
    return asked


def nats_port(asked: int | None, host: str = "127.0.0.1") -> int:
    """The asked one; without, the usual one where it is free, else any."""
    if asked is not None:
        return asked or ANY_NATS_PORT
    return config.NATS_PORT if is_free(host, config.NATS_PORT) else ANY_NATS_PORT


def any_free(host: str) -> int:
    with socket.socket(family_of(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    """Raises ``OSError`` where ``host`` itself is not ours."""
    with socket.socket(family_of(host)) as probe:
        probe.bind((host, 0))
    with socket.socket(family_of(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
