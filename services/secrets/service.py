"""How do people set secrets, and how does an attempt get them?"""

from __future__ import annotations

import asyncio
import logging
import time

from bus import subjects
from bus.audit import note
from bus.boxes import KEY_BYTES, Unreadable, pair_of, public_of_user, seal, unseal
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import BusError, Corrupt, NotFound, Refused
from bus.kv import Bucket
from bus.records import Records
from bus.serve import Route, serve
from schemas.audit import AuditEntry, Deed
from schemas.identity import WorkerIdentity
from schemas.job import Record
from schemas.message import Empty
from schemas.problem import Problem
from schemas.secret import (
    SECRETS_MOST,
    VALUE_BYTES,
    AskKey,
    ForgetSecrets,
    ListSecrets,
    Opened,
    OpenSecret,
    RemoveSecret,
    SealingKey,
    SecretList,
    SecretValue,
    SetSecret,
    check_name,
)
from schemas.spec import secret_names
from services.secrets.config import SecretsConfig
from services.secrets.store import Store

log = logging.getLogger(__name__)

PURPOSE = b"stoker transit"


async def run(bus: Bus, config: SecretsConfig) -> None:
    """Until cancelled; any number of replicas with one file of keys."""
    service = Secrets(bus, config)
    await service.open()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(service.sweep())
        await serve(bus, service.routes(), "secrets")


class Secrets:
    """One replica. A value is here only while a request is answered."""

    def __init__(self, bus: Bus, config: SecretsConfig) -> None:
        self._bus = bus
        self._config = config
        self._store = Store(bus)
        self._records = Records(bus)
        self._identities = Bucket(bus, "identities")

    async def open(self) -> None:
        await self._store.open(self._config.keys)

    def routes(self) -> dict[str, Route]:
        return {
            subjects.request("secrets", "key"): Route(AskKey, self.on_key),
            subjects.request("secrets", "set"): Route(SetSecret, self.on_set),
            subjects.request("secrets", "list"): Route(ListSecrets, self.on_list),
            subjects.request("secrets", "remove"): Route(RemoveSecret, self.on_remove),
            subjects.request("secrets", "forget"): Route(ForgetSecrets, self.on_forget),
            subjects.request("secrets", "open", "*"): Route(OpenSecret, self.on_open),
        }

    # What people ask.

    async def on_key(self, asked: AskKey, subject: str) -> SealingKey:
        await self._store.refresh()
        keys = self._store.keys
        return SealingKey(key=pair_of(keys.keys[keys.newest], PURPOSE)[1])

    async def on_set(self, asked: SetSecret, subject: str) -> Empty:
        await self._store.refresh()
        value = self._unsealed(asked)
        await self._check_room(asked)
        await self._note(Deed.SECRET_SET, asked)
        await self._store.put(asked.owner, asked.name, value)
        return Empty()

    async def on_list(self, asked: ListSecrets, subject: str) -> SecretList:
        return SecretList(secrets=await self._store.names(asked.owner))

    async def on_remove(self, asked: RemoveSecret, subject: str) -> Empty:
        """Repeated, it is no error: the first answer may have been lost."""
        named(asked.name)
        if await self._store.has(asked.owner, asked.name):
            await self._note(Deed.SECRET_REMOVED, asked)
            await self._store.remove(asked.owner, asked.name)
        return Empty()

    async def on_forget(self, asked: ForgetSecrets, subject: str) -> Empty:
        for one in await self._store.names(asked.owner):
            await self._note(Deed.SECRET_REMOVED, RemoveSecret(owner=asked.owner, name=one.name))
            await self._store.remove(asked.owner, one.name)
        return Empty()

    def _unsealed(self, asked: SetSecret) -> bytes:
        named(asked.name)
        for key in reversed(tuple(self._store.keys.keys.values())):
            try:
                opened = unseal(pair_of(key, PURPOSE)[0], asked.sealed)
                told = decode(SecretValue, opened, None)
            except (Unreadable, Corrupt):
                continue
            if (told.owner, told.name) != (asked.owner, asked.name):
                break
            if not 0 < len(told.value) <= VALUE_BYTES:
                what = (
                    f"{len(told.value)} bytes, at most {VALUE_BYTES}" if told.value else "no byte"
                )
                raise refused("bad_value", f"the value of {asked.name} has {what}")
            return told.value
        raise refused("not_sealed", "the value was not sealed for this service; send it again", 409)

    async def _check_room(self, asked: SetSecret) -> None:
        names = {one.name for one in await self._store.names(asked.owner)}
        if asked.name not in names and len(names) >= SECRETS_MOST:
            detail = f"{asked.owner} has {len(names)} secrets, and may have {SECRETS_MOST}"
            raise refused("too_many_secrets", f"{detail}: remove one first", 429)

    async def _note(self, deed: Deed, asked: SetSecret | RemoveSecret) -> None:
        """Before it is done: what cannot be noted is not done. Raises ``BusError``."""
        entry = AuditEntry(
            at=time.time(), deed=deed, who=asked.owner, target=asked.name, address=asked.address
        )
        await note(self._bus, "secrets", entry)
        log.info("%s: %s of %s", deed, asked.name, asked.owner)

    # What an attempt asks.

    async def on_open(self, asked: OpenSecret, subject: str) -> Opened:
        """Only for the worker that the record names, its current attempt, and that job's names."""
        worker = subjects.asker(subject)
        record = (await self._records.get(asked.job)).record
        check_grant(record, asked, worker)
        if len(asked.key) != KEY_BYTES:
            raise refused("bad_key", f"a key to seal for has {KEY_BYTES} bytes")
        own = await self._key_of(worker)
        await self._store.refresh()
        try:
            value = await self._store.value(record.owner, asked.name)
        except NotFound as error:
            detail = f"there is no secret {asked.name} any more"
            raise refused("no_such_secret", detail, 404) from error
        except Unreadable as error:
            log.error("secret %s of %s: %s", asked.name, record.owner, error)
            detail = f"secret {asked.name} cannot be read; the log of the secrets service says why"
            raise refused("unreadable", detail, 500) from error
        told = SecretValue(owner=record.owner, name=asked.name, value=value)
        log.info("%s of %s goes to %s for %s", asked.name, record.owner, worker, asked.job)
        return Opened(sealed=seal(own or asked.key, encode(told)[0]), to_worker=own is not None)

    async def _key_of(self, worker: str) -> bytes | None:
        """The worker's own; None where the bus knows no identities."""
        entry = await self._identities.get(f"worker.{worker}")
        if entry is None and not self._config.identified:
            return None
        one = decode(WorkerIdentity, entry.value, None) if entry else None
        if one is None or one.revoked_at is not None:
            raise refused("thrown_out", f"{worker} is no worker of this Stoker", 403)
        return public_of_user(one.key)

    # What an older key locks.

    async def sweep(self) -> None:
        while True:
            try:
                renewed = await self._store.renew()
                if renewed:
                    log.info("%d secrets are locked by the newest key now", renewed)
            except BusError as error:
                log.warning("what an older key locks stays so for now: %s", error)
            except Exception:
                log.exception("the sweep of secrets failed")
            await asyncio.sleep(self._config.sweep_every)


def check_grant(record: Record, asked: OpenSecret, worker: str) -> None:
    held = record.id == asked.job and record.state.held
    if not held or not record.granted(asked.attempt, asked.nonce, worker):
        raise refused("not_granted", f"attempt {asked.attempt} of {asked.job} is superseded", 403)
    if asked.name not in secret_names(record.spec):
        raise refused(
            "not_granted", f"{asked.job} does not name a secret {asked.name[:120]!r}", 403
        )


def named(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise refused("bad_name", str(error)) from None


def refused(code: str, detail: str, status: int = 422) -> Refused:
    return Refused(Problem(code=code, title="Not with this secret", status=status, detail=detail))
