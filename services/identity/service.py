"""How do machines come in, and how are they thrown out?"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import replace

from bus import resolver, subjects
from bus.accounts import account_token
from bus.audit import note, note_late
from bus.connection import Bus
from bus.errors import BusError, Conflict, Refused
from bus.keyring import Keyring, open_keyring, revocations
from bus.keys import USER, BadKey, Key, raw_user, verify
from bus.link import BusConfig
from bus.serve import Route, serve
from bus.tokens import read_claims, user_token
from schemas.audit import AuditEntry, Deed
from schemas.identity import (
    Enrol,
    Enrolled,
    Identities,
    Invitation,
    Invite,
    Invited,
    ListIdentities,
    Renew,
    Revoke,
    WorkerIdentity,
    proof,
)
from schemas.ids import NAME_TOKEN
from schemas.message import Empty
from schemas.problem import Problem
from services.identity.config import IdentityConfig
from services.identity.registry import Refusing, Registry, admit, worker_token

log = logging.getLogger(__name__)

LONGEST_INVITATION = 7 * 86_400.0
"""Seconds."""
SYSTEM_SECONDS = 5.0
SERVICE = "identity"


async def run(bus: Bus, config: IdentityConfig) -> None:
    """Until cancelled; any number of replicas."""
    service = Identity(bus, config)
    async with asyncio.TaskGroup() as tasks:
        service.tasks = tasks
        tasks.create_task(service.sweep())
        await serve(bus, service.routes(), "identity")


class Identity:
    """One replica. All that it knows lies in the bucket and in the folder of keys."""

    def __init__(self, bus: Bus, config: IdentityConfig) -> None:
        self._bus = bus
        self._config = config
        self._keyring = open_keyring(config.keys)
        self._registry = Registry(bus)
        self._servers = Servers(bus.config, self._keyring, self._registry)
        self.tasks: asyncio.TaskGroup | None = None

    def routes(self) -> dict[str, Route]:
        return {
            subjects.request("identity", "invite"): Route(Invite, self.on_invite),
            subjects.request("identity", "enrol", "*"): Route(Enrol, self.on_enrol),
            subjects.request("identity", "renew", "*"): Route(Renew, self.on_renew),
            subjects.request("identity", "revoke"): Route(Revoke, self.on_revoke),
            subjects.request("identity", "list"): Route(ListIdentities, self.on_list),
        }

    async def on_invite(self, asked: Invite, subject: str) -> Invited:
        for value in (asked.worker, asked.pool):
            if not NAME_TOKEN.match(value):
                raise refused("bad_name", f"{value!r} is no name: use a-z, 0-9 and '-', at most 63")
        if not 1 <= asked.life <= LONGEST_INVITATION:
            raise refused("bad_life", "an invitation stands for 1 second to 7 days")
        now, key = time.time(), Key.new(USER).public
        one = Invitation(
            id=secrets.token_hex(10), worker=asked.worker, pool=asked.pool, by=asked.by, key=key,
            expires_at=int(now) + asked.life,
        )  # fmt: skip
        detail = f"into pool {one.pool} within {asked.life:g} s"
        await note(
            self._bus, SERVICE, entry(Deed.INVITE, asked.by, one.worker, detail, asked.address)
        )
        await self._registry.write_invitation(one, 0)
        issuer = self._keyring.issuer("join")
        token = user_token(issuer, one.id, key, int(now), life=int(asked.life))
        log.info("%s was invited into pool %s by %s", one.worker, one.pool, one.by or "somebody")
        return Invited(id=one.id, token=token, expires_at=one.expires_at)

    async def on_enrol(self, asked: Enrol, subject: str) -> Enrolled:
        id = subjects.asker(subject)
        try:
            raw_user(asked.key)
            verify(asked.key, proof(id, asked.key), asked.signature)
        except BadKey as error:
            raise refused("bad_key", str(error)) from error
        one = await self._used(id, asked.key)
        expires_at = time.time() + self._config.worker_life
        wanted = WorkerIdentity(
            worker=one.worker, pool=one.pool, key=asked.key, by=one.by, joined_at=time.time(),
            expires_at=expires_at,
        )  # fmt: skip
        await self._note_join(wanted)
        answer = await self._admit(wanted)
        log.info("%s joined pool %s", one.worker, one.pool)
        if self.tasks is not None:
            self.tasks.create_task(self._close(one))
        return answer

    async def on_renew(self, asked: Renew, subject: str) -> Enrolled:
        name = subjects.asker(subject)
        found = await self._registry.worker(name)
        if found is None:
            raise refused("no_such_worker", f"no worker {name} has joined", 404)
        expires_at = time.time() + self._config.worker_life
        wanted = found[0].model_copy(update={"expires_at": expires_at})
        return await self._admit(wanted, again=True)

    async def on_revoke(self, asked: Revoke, subject: str) -> Empty:
        known, _ = await self._registry.all()
        void = [one for one in known.invitations if one.worker == asked.worker]
        worker = await self._registry.worker(asked.worker)
        if worker is None and not void:
            raise refused("no_such_worker", f"no worker {asked.worker} was invited", 404)
        for one in void:
            await self._registry.revoke(one.key, one.expires_at)
            await self._registry.forget_invitation(one.id)
        if worker is not None:
            await self._throw_out(asked)
        # Late: a worker that has to go goes, whether that can be noted or not.
        noted = entry(Deed.REVOKE, asked.by, asked.worker, "thrown out", asked.address)
        await note_late(self._bus, SERVICE, noted)
        await self._servers.tell()
        log.info("%s was thrown out by %s", asked.worker, asked.by or "somebody")
        return Empty()

    async def on_list(self, asked: ListIdentities, subject: str) -> Identities:
        return (await self._registry.all())[0]

    async def _note_join(self, wanted: WorkerIdentity) -> None:
        """Once, however often the machine asks until it hears the answer."""
        found = await self._registry.worker(wanted.worker)
        if found is None or found[0].key != wanted.key:
            detail = f"pool {wanted.pool}, invited by {wanted.by or 'somebody'}"
            noted = entry(Deed.JOIN, wanted.worker, wanted.worker, detail)
            await note(self._bus, SERVICE, noted)

    async def _used(self, id: str, key: str) -> Invitation:
        """The invitation, of which that key makes use."""
        while True:
            found = await self._registry.invitation(id)
            if found is None or found[0].expires_at < time.time():
                raise refused("no_invitation", "the invitation has run out or was taken back", 403)
            one, revision = found
            if one.used_by and one.used_by != key:
                raise refused("used_invitation", "the invitation was used by another machine", 409)
            if one.used_by:
                return one
            one = one.model_copy(update={"used_by": key, "used_at": time.time()})
            try:
                await self._registry.write_invitation(one, revision)
                return one
            except Conflict:
                continue

    async def _admit(self, wanted: WorkerIdentity, *, again: bool = False) -> Enrolled:
        issued_at = int(time.time())  # before the record says so: a revocation is later, then
        try:
            before = await admit(self._registry, wanted, again=again)
        except Refusing as error:
            raise refused("thrown_out", str(error), 403) from error
        if before is not None:
            await self._registry.revoke(before.key, before.expires_at)
            await self._servers.tell()
        token = worker_token(self._keyring, wanted, issued_at)
        return Enrolled(token=token, worker=wanted.worker, pool=wanted.pool)

    async def _throw_out(self, asked: Revoke) -> None:
        while True:
            found = await self._registry.worker(asked.worker)
            assert found is not None
            one, revision = found
            await self._registry.revoke(one.key, one.expires_at)
            noted = {"revoked_at": time.time(), "revoked_by": asked.by}
            try:
                await self._registry.write_worker(one.model_copy(update=noted), revision)
                return
            except Conflict:
                continue

    async def _close(self, one: Invitation) -> None:
        """From now on the servers refuse the used token by themselves."""
        await asyncio.sleep(self._config.token_grace)
        try:
            await self._registry.revoke(one.key, one.expires_at)
            await self._servers.tell()
        except BusError as error:
            log.warning("a used invitation is closed later: %s", error)

    async def sweep(self) -> None:
        """For ever: what has run out goes, and the servers are told again where they forgot."""
        while True:
            try:
                await self._tidy(time.time())
                await self._servers.tell()
            except BusError as error:
                log.warning("the accounts cannot be looked at: %s", error)
            except Exception:
                log.exception("the sweep of identities failed")
            await asyncio.sleep(self._config.sweep_every)

    async def _tidy(self, now: float) -> None:
        known, revoked = await self._registry.all()
        for one in known.invitations:
            idle = now - one.used_at > self._config.token_grace
            if one.expires_at < now:
                await self._registry.forget_invitation(one.id)
            elif one.used_by and idle and one.key not in revoked:
                await self._registry.revoke(one.key, one.expires_at)
        for key, entry in revoked.items():
            if entry.until < now:
                await self._registry.forget_revoked(key)


def entry(deed: Deed, who: str, target: str, detail: str, address: str = "") -> AuditEntry:
    return AuditEntry(
        at=time.time(), deed=deed, who=who, target=target, detail=detail, address=address
    )


class Servers:
    """The nats-servers, which have to be told who is revoked."""

    def __init__(self, mine: BusConfig, keyring: Keyring, registry: Registry) -> None:
        credentials = str(keyring.creds("resolver"))
        self._system = replace(
            mine, name="resolver", credentials=credentials, connect_timeout=SYSTEM_SECONDS
        )
        self._keyring = keyring
        self._registry = registry
        self._telling = asyncio.Lock()

    async def tell(self) -> None:
        """Until they know; nothing is sent where they know already. Raises ``BusError``."""
        async with self._telling, Bus.connect(self._system) as bus:
            _, revoked = await self._registry.all()
            wanted = {key: entry.at for key, entry in revoked.items()}
            known = await resolver.stored_token(bus, self._keyring.fleet)
            if revocations(known) == wanted:
                return
            later = max(int(time.time()), int(read_claims(known)["iat"]) + 1)
            claims = self._keyring.fleet_claims(wanted)
            await resolver.update(bus, account_token(claims, self._keyring.key("operator"), later))


def refused(code: str, detail: str, status: int = 422) -> Refused:
    return Refused(Problem(code=code, title="Not let in", status=status, detail=detail))
