"""How does a program in a container get its secrets? Its shell reads them from standard input.

What is given at a container's creation is shown to whoever may inspect it. So the container starts
with a shell that waits for a script: the shim sends it over the connection by which it hears the
program, the shell sets variables, writes files into a memory file system of the container's own,
and becomes the program. No disk, no command line, no layer holds them.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from agent.handing import Secrets
from agent.runtimes.docker_engine import EngineError, Link
from agent.runtimes.protocol import Launch

PLACE = "/run/secrets"
PLACE_BYTES = "4m"
"""32 secrets of 64 KiB, and room for the folder."""
VARIABLE = "STOKER_SECRETS"
"""Names the folder to the program."""
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_.,:@ -")


def has_files(launch: Launch) -> bool:
    return bool(launch.details.get("secret_files"))


def through_shell(command: Sequence[str]) -> list[str]:
    return ["/bin/sh", "-s", "--", *command]


def memory_file_system(user: str) -> dict[str, str]:
    """Of the engine's ``Tmpfs``; nobody but the job's user can read it."""
    uid, _, gid = user.partition(":")
    options = f"rw,noexec,nosuid,nodev,mode=0700,uid={uid},gid={gid or uid},size={PLACE_BYTES}"
    return {PLACE: options}


def script(secrets: Secrets) -> bytes:
    """What the shell does before it becomes the program, which finds an empty standard input.

    Shells print and write by themselves: no value gets onto a command line.
    """
    lines = [b"set -e"]
    for variable, value in secrets.environment().items():
        lines.append(b"export %s=%s" % (variable.encode(), quoted(value)))
    contents = secrets.contents()
    for path, value in contents.items():
        where = path.encode()
        lines.append(b"(umask 077; printf %%b %s > %s)" % (quoted(escaped(value)), where))
    if contents:
        lines.append(b"export %s=%s" % (VARIABLE.encode(), PLACE.encode()))
    lines.append(b'exec "$@" </dev/null\n')
    return b"\n".join(lines)


def quoted(value: bytes) -> bytes:
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


def escaped(value: bytes) -> bytes:
    """For ``printf %b``: any byte, also NUL."""
    return b"".join(b"%c" % byte if byte in PLAIN else b"\\0%03o" % byte for byte in value)


def send(attached: Link, secrets: Secrets) -> None:
    """Raises ``EngineError``. Nobody reads the program meanwhile: it has not begun."""
    try:
        attached.sock.sendall(script(secrets))
        attached.sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        raise EngineError(0, f"the engine did not take the job's secrets: {error}") from error
