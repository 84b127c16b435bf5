"""Where do secrets lie, and by which key is each locked?"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from bus.boxes import Unreadable, lock, unlock
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Conflict, NotFound
from bus.kv import Bucket, KeyValue
from schemas.secret import KeptSecret, KeyMarks, SecretInfo
from services.secrets.keyfile import FIRST, KeyFile, KeyFileError, make_keys, mark_of

log = logging.getLogger(__name__)

MARKS = "keys"
VALUES = "value"
HOUR = 3600.0


class Store:
    """The bucket ``secrets``. Opened once, before anything else."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bucket = Bucket(bus, "secrets")
        self._clock = clock
        self.keys: KeyFile
        self._renewed_by, self._renewed_at = 0, 0.0

    async def open(self, path: Path) -> None:
        """Makes the file where nothing was locked yet. Raises ``KeyFileError``."""
        if not path.exists():
            if await self._bucket.get(MARKS) is not None:
                raise KeyFileError(
                    f"there is no {path}, whose keys lock the stored secrets; name it with --key"
                )
            make_keys(path)
        keys = KeyFile(path)
        await self._settle_marks(keys)
        self.keys = keys

    async def refresh(self) -> None:
        """Takes up a key that was added to the file meanwhile."""
        try:
            if self.keys.changed():
                keys = KeyFile(self.keys.path)
                await self._settle_marks(keys)
                self.keys = keys
        except KeyFileError as error:
            log.error("the keys stay those that were read before: %s", error)

    async def put(self, owner: str, name: str, value: bytes) -> None:
        await self._bucket.put(key_of(owner, name), self._locked(owner, name, value, self._clock()))

    async def value(self, owner: str, name: str) -> bytes:
        """Raises ``NotFound``; ``Unreadable`` where its key is missing, or it was tampered with."""
        entry = await self._bucket.get(key_of(owner, name))
        if entry is None:
            raise NotFound(f"{owner} has no secret {name}")
        return self._unlocked(decode(KeptSecret, entry.value, None), owner, name)

    async def has(self, owner: str, name: str) -> bool:
        return await self._bucket.get(key_of(owner, name)) is not None

    async def remove(self, owner: str, name: str) -> None:
        await self._bucket.delete(key_of(owner, name))

    async def names(self, owner: str) -> tuple[SecretInfo, ...]:
        entries = await self._bucket.all(below=f"{VALUES}.{owner_token(owner)}")
        kept = (decode(KeptSecret, entry.value, None) for entry in entries.values())
        found = [SecretInfo(name=one.name, set_at=one.set_at) for one in kept]
        return tuple(sorted(found, key=lambda one: one.name))

    async def renew(self) -> int:
        """Locks by the newest key what an older one locks; how many it were.

        Everything is read for that: only where there is another key, and then once an hour, for
        what a replica wrote that did not know it yet.
        """
        await self.refresh()
        newest, now = self.keys.newest, self._clock()
        if newest == FIRST or (newest == self._renewed_by and now < self._renewed_at + HOUR):
            return 0
        renewed = 0
        for key, entry in (await self._bucket.all(below=VALUES)).items():
            if await self._renewed(key, entry):
                renewed += 1
        self._renewed_by, self._renewed_at = newest, now
        return renewed

    async def _renewed(self, key: str, entry: KeyValue) -> bool:
        one = decode(KeptSecret, entry.value, None)
        if one.version >= self.keys.newest:
            return False
        try:
            value = self._unlocked(one, one.owner, one.name)
            locked = self._locked(one.owner, one.name, value, one.set_at)
            await self._bucket.update(key, locked, entry.revision)
        except Conflict:
            return False  # set anew, or removed
        except Unreadable as error:
            log.error("secret %s of %s cannot be read: %s", one.name, one.owner, error)
            return False
        return True

    def _locked(self, owner: str, name: str, value: bytes, set_at: float) -> bytes:
        version = self.keys.newest
        locked = lock(self.keys.keys[version], value, place_of(owner, name, version))
        kept = KeptSecret(owner=owner, name=name, set_at=set_at, version=version, locked=locked)
        return encode(kept)[0]

    def _unlocked(self, one: KeptSecret, owner: str, name: str) -> bytes:
        key = self.keys.keys.get(one.version)
        if key is None:
            raise Unreadable(f"{self.keys.path} has no key {one.version}, which locks it")
        return unlock(key, one.locked, place_of(owner, name, one.version))

    async def _settle_marks(self, keys: KeyFile) -> None:
        """Raises ``KeyFileError`` where these are not the keys that lock what is stored."""
        mine = {version: mark_of(key) for version, key in keys.keys.items()}
        while True:
            entry = await self._bucket.get(MARKS)
            known = decode(KeyMarks, entry.value, None).marks if entry else {}
            if (known and not mine.items() & known.items()) or contradict(mine, known):
                raise KeyFileError(
                    f"{keys.path} is not the file whose keys lock the stored secrets"
                )
            if mine.items() <= known.items():
                return
            marks = KeyMarks(marks={**known, **mine})
            try:
                await self._bucket.update(MARKS, encode(marks)[0], entry.revision if entry else 0)
                return
            except Conflict:
                continue


def contradict(mine: dict[int, str], known: dict[int, str]) -> bool:
    return any(known.get(version, mark) != mark for version, mark in mine.items())


def owner_token(owner: str) -> str:
    """A token of a key, whatever people are called."""
    return hashlib.sha256(owner.encode()).hexdigest()[:40]


def key_of(owner: str, name: str) -> str:
    return f"{VALUES}.{owner_token(owner)}.{name}"


def place_of(owner: str, name: str, version: int) -> bytes:
    return f"stoker secret\0{version}\0{name}\0{owner}".encode()
