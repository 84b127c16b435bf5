"""Is that the password? Looked at in threads, and by few at a time: each takes 19 MiB and 60 ms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from bus.errors import Refused
from schemas.problem import Problem

T = TypeVar("T")

MEMORY, PASSES, LANES = 19_456, 2, 1
"""KiB, and the rest of argon2id's parameters: the library's own take 64 MiB and half a second."""
SHORTEST, LONGEST = 10, 256
"""Characters."""


class Passwords:
    """Hashes and compares; refuses with 503 ``busy`` where too many wait already."""

    def __init__(self, at_once: int, waiting: int) -> None:
        self._hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY, parallelism=LANES)
        self._room = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._asked = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        return await self._run(self._hash, password, "")

    async def fits(self, password: str, known: str) -> bool:
        """An empty ``known`` fits nothing, and takes as long."""
        return await self._run(self._fits, password, known) and bool(known)

    async def _run(self, work: Callable[[str, str], T], password: str, known: str) -> T:
        if self._asked >= self._most:
            raise busy()
        self._asked += 1
        try:
            async with self._room:
                return await asyncio.to_thread(work, password, known)
        finally:
            self._asked -= 1

    def _hash(self, password: str, _: str) -> str:
        return self._hasher.hash(password)

    def _fits(self, password: str, known: str) -> bool:
        try:
            return self._hasher.verify(known or self._dummy(), password)
        except (Argon2Error, InvalidHashError):
            return False

    def _dummy(self) -> str:
        self._nobody = self._nobody or self._hasher.hash("nobody")
        return self._nobody


def busy() -> Refused:
    return Refused(
        Problem(
            code="busy",
            title="Too many sign in at once",
            status=503,
            detail="too many people sign in at this moment; try again in a few seconds",
            retry_after=3.0,
        )
    )


def weakness(password: str, user: str) -> str | None:
    """Why that is no good password; what makes one strong is its length."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"a password has {SHORTEST} to {LONGEST} characters"
    if len(set(password)) < 4 or password.casefold() == user.casefold():
        return "that is too easy to guess; take some words that only you put together"
    return None
