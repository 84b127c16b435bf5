"""How does a process die exactly at one of its effects? By its own hand, with SIGKILL.

Everything that a service says to others passes nats-py's ``publish``: requests, appends, chunks,
keys, pulls, acknowledgements and answers. What it writes elsewhere is wrapped by name. The bus,
the server and the service stay what they are.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from aiohttp import web
from nats.aio.client import Client

from services.catalog import index
from tests.crash.points import Point, changes, effect, here

A = TypeVar("A")
ANSWERS: dict[type, tuple[str, ...]] = {
    web.StreamResponse: ("prepare", "write_eof"),
    web.WebSocketResponse: ("send_str", "send_bytes"),
}


@dataclass(frozen=True)
class Crash:
    """Where one process dies, once."""

    point: Point
    sent: bool
    """Killed when the effect has reached the other side and before its answer is looked at; else
    right before it."""
    token: Path
    """Whoever can make this file is the one that dies: not its successor, and one replica alone."""


class Hook:
    """Notes effects in ``journal``, and dies at the one that ``crash`` names."""

    def __init__(self, crash: Crash | None, journal: Path, everything: bool) -> None:
        self._crash = crash
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._everything = everything
        self._counts: Counter[str] = Counter()
        self._dying = False

    def install(self) -> None:
        self._wrap_publish()
        self._wrap_answers()
        self._wrap_files()

    async def around(
        self, name: str, act: Callable[[], Awaitable[A]], arrived: Callable[[], Awaitable[None]]
    ) -> A:
        if self._dying:
            await asyncio.get_running_loop().create_future()
        if not self._strikes(name):
            return await act()
        assert self._crash is not None
        self._dying = True
        if self._crash.sent:
            await act()
            await arrived()
        return kill_self()

    def around_call(self, name: str, act: Callable[[], A]) -> A:
        """The same for a call that blocks."""
        if not self._strikes(name):
            return act()
        assert self._crash is not None
        if self._crash.sent:
            act()
        return kill_self()

    def _strikes(self, name: str) -> bool:
        os.write(self._journal, name.encode() + b"\n")
        self._counts[name] += 1
        crash = self._crash
        if crash is None or (name, self._counts[name]) != (crash.point.name, crash.point.nth):
            return False
        try:
            os.close(os.open(crash.token, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _wrap_publish(self) -> None:
        publish = Client.publish
        hook = self

        async def hooked(
            self: Client, subject: str, payload: bytes = b"", *args: Any, **named: Any
        ) -> None:
            async def act() -> None:
                await publish(self, subject, payload, *args, **named)

            async def arrived() -> None:
                await self.flush(5)

            if hook._everything or changes(subject):
                await hook.around(effect(subject, payload, here()), act, arrived)
            else:
                await act()

        Client.publish = hooked  # type: ignore[method-assign]

    def _wrap_answers(self) -> None:
        """The page's: a response that begins, one that is complete, and each frame of a socket."""
        hook = self
        for kind, methods in ANSWERS.items():
            for method in methods:
                real = getattr(kind, method)

                async def hooked(
                    self: Any, *args: Any, real: Any = real, method: str = method, **named: Any
                ) -> Any:
                    async def act() -> Any:
                        return await real(self, *args, **named)

                    return await hook.around(f"response {self.status} > {method}", act, nothing)

                setattr(kind, method, hooked)

    def _wrap_files(self) -> None:
        """The catalog's: every statement, every commit, every file that is removed."""
        connect, unlink = sqlite3.connect, Path.unlink
        factory = watched_connection(self)

        def hooked_connect(path: Any, **named: Any) -> sqlite3.Connection:
            return self.around_call(
                "sqlite > connect", lambda: connect(path, factory=factory, **named)
            )

        def hooked_unlink(path: Path, missing_ok: bool = False) -> None:
            self.around_call(f"remove > {path.name}", lambda: unlink(path, missing_ok))

        index.sqlite3.connect = hooked_connect  # type: ignore[attr-defined]
        Path.unlink = hooked_unlink  # type: ignore[method-assign]


def watched_connection(hook: Hook) -> type[sqlite3.Connection]:
    real = sqlite3.Connection

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql.startswith("select"):
                return real.execute(self, sql, *args)
            name = f"sqlite > {' '.join(sql.split()[:4])}"
            return hook.around_call(name, lambda: real.execute(self, sql, *args))

        def executescript(self, script: str) -> sqlite3.Cursor:
            name = f"sqlite > script {script.split()[0]}"
            return hook.around_call(name, lambda: real.executescript(self, script))

        def commit(self) -> None:
            hook.around_call("sqlite > commit", lambda: real.commit(self))

        def __exit__(self, *exc: Any) -> Any:
            name = "sqlite > end of a transaction"
            return hook.around_call(name, lambda: real.__exit__(self, *exc))

    return Connection


async def nothing() -> None:
    return


def kill_self() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("nobody outlives that")
