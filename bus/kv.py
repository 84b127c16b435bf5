"""Where do small facts under a key live?"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from bus.connection import Bus, JetStreamError
from bus.errors import NotFound
from bus.follow import follow
from bus.headers import EXPECTED

OPERATION = "KV-Operation"
GONE_ALREADY = 10057
"""A message could not be deleted: it is not there any more."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    value: bytes
    revision: int


class Bucket:
    """A key-value bucket declared in ``bus.layout``; keys are tokens joined by dots."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self._stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."

    async def get(self, key: str) -> KeyValue | None:
        """Read from the leader: what was written before is seen."""
        try:
            answer = await self._bus.api(
                f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": self._prefix + key}
            )
        except NotFound:
            return None
        message = answer["message"]
        if OPERATION.encode() in base64.b64decode(message.get("hdrs", "")):
            return None
        return KeyValue(base64.b64decode(message.get("data", "")), message["seq"])

    async def put(self, key: str, value: bytes) -> int:
        return await self._bus.append(self._prefix + key, value)

    async def create(self, key: str, value: bytes) -> int:
        """Raises ``Conflict`` where the key has been written before."""
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Raises ``Conflict`` where ``revision`` is not the newest."""
        return await self._bus.append(self._prefix + key, value, {EXPECTED: str(revision)})

    async def delete(self, key: str, revision: int | None = None) -> None:
        """Only while ``revision`` is the newest, where one is given, or else ``Conflict``."""
        expected = {} if revision is None else {EXPECTED: str(revision)}
        await self._bus.append(self._prefix + key, b"", {OPERATION: "DEL", **expected})

    async def erase(self, revision: int) -> None:
        """Deletes what has that revision and leaves no mark in its place, as ``delete`` does.

        What was written over it meanwhile stays. Needs the right to delete from the stream.
        """
        try:
            await self._bus.api(f"STREAM.MSG.DELETE.{self._stream}", {"seq": revision})
        except NotFound:
            return
        except JetStreamError as error:
            if error.code != GONE_ALREADY:
                raise

    async def all(self, below: str = "") -> dict[str, KeyValue]:
        """Every key and its newest value, as of now; only those ``below`` some tokens."""
        found: dict[str, KeyValue] = {}
        keys = f"{self._prefix}{below}." if below else self._prefix
        async for delivery in follow(
            self._bus, self._stream, keys + ">", last_per_subject=True, stop_at_end=True
        ):
            if OPERATION not in delivery.headers:
                key = delivery.subject.removeprefix(self._prefix)
                found[key] = KeyValue(delivery.data, delivery.sequence)
        return found
