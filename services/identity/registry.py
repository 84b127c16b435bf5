"""Who was invited, who joined, who is thrown out? Kept in a bucket, changed by compare-and-set."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Conflict
from bus.keyring import Keyring
from bus.kv import Bucket
from bus.tokens import user_token
from schemas.identity import Identities, Invitation, Revoked, WorkerIdentity
from schemas.message import Message

M = TypeVar("M", bound=Message)


class Registry:
    """The bucket ``identities``. ``clock`` tells Unix seconds."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bucket = Bucket(bus, "identities")
        self._clock = clock

    async def invitation(self, id: str) -> tuple[Invitation, int] | None:
        return await self._get(f"token.{id}", Invitation)

    async def worker(self, name: str) -> tuple[WorkerIdentity, int] | None:
        return await self._get(f"worker.{name}", WorkerIdentity)

    async def write_invitation(self, one: Invitation, revision: int) -> None:
        """Raises ``Conflict`` where another replica was faster."""
        await self._bucket.update(f"token.{one.id}", encode(one)[0], revision)

    async def write_worker(self, one: WorkerIdentity, revision: int) -> None:
        """Raises ``Conflict``."""
        await self._bucket.update(f"worker.{one.worker}", encode(one)[0], revision)

    async def forget_invitation(self, id: str) -> None:
        await self._bucket.delete(f"token.{id}")

    async def revoke(self, key: str, until: float) -> None:
        """Every token of that key from before now; kept while one could count."""
        entry = Revoked(at=int(self._clock()), until=until)
        await self._bucket.put(f"revoked.{key}", encode(entry)[0])

    async def forget_revoked(self, key: str) -> None:
        await self._bucket.delete(f"revoked.{key}")

    async def all(self) -> tuple[Identities, dict[str, Revoked]]:
        """Everything, and by public key what is revoked."""
        workers, invitations, revoked = [], [], {}
        for name, entry in (await self._bucket.all()).items():
            kind, _, rest = name.partition(".")
            match kind:
                case "worker":
                    workers.append(decode(WorkerIdentity, entry.value, None))
                case "token":
                    invitations.append(decode(Invitation, entry.value, None))
                case "revoked":
                    revoked[rest] = decode(Revoked, entry.value, None)
        return Identities(workers=tuple(workers), invitations=tuple(invitations)), revoked

    async def _get(self, name: str, kind: type[M]) -> tuple[M, int] | None:
        entry = await self._bucket.get(name)
        return (decode(kind, entry.value, None), entry.revision) if entry else None


def worker_token(keyring: Keyring, one: WorkerIdentity, issued_at: int) -> str:
    """What a worker's permissions are made of: its name and pool, under the role's key."""
    life = max(1, int(one.expires_at) - issued_at)
    issuer = keyring.issuer("worker")
    tags = [f"pool:{one.pool}"]
    return user_token(issuer, one.worker, one.key, issued_at, tags=tags, life=life)


class Refusing(Exception):
    """This key may not be this worker."""


async def admit(
    registry: Registry, wanted: WorkerIdentity, *, again: bool = False
) -> WorkerIdentity | None:
    """Notes that the key is the worker from now on; the one before it, where that was another.

    ``again``: the key that is known already asks for another while. Raises ``Refusing`` where that
    key was thrown out, or is not the worker's (any more).
    """
    while True:
        found = await registry.worker(wanted.worker)
        before, revision = found if found else (None, 0)
        if before and before.key == wanted.key:
            if before.revoked_at is not None:
                raise Refusing(f"{wanted.worker} was thrown out")
            wanted = before.model_copy(update={"expires_at": wanted.expires_at})
        elif again:
            raise Refusing(f"this key is not that of {wanted.worker}")
        try:
            await registry.write_worker(wanted, revision)
        except Conflict:
            continue
        return before if before and before.key != wanted.key else None
