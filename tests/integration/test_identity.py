"""Machines join with one line, keep their key to themselves, and are thrown out at once."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus import subjects
from bus.audit_pages import Wanted, audit_page
from bus.connection import Bus
from bus.errors import Denied, Refused
from bus.joining import JoinError, JoinToken, Membership, join, membership, renew
from bus.keys import USER, Key, read_credentials
from bus.link import BusConfig
from bus.tokens import read_identity
from schemas.audit import Deed
from schemas.identity import (
    Enrol,
    Enrolled,
    Identities,
    Invite,
    Invited,
    ListIdentities,
    Revoke,
    proof,
)
from schemas.message import Empty
from services.identity.config import IdentityConfig
from services.identity.service import run
from tests.integration.identified import Identified, identified

PATIENCE = 15.0


class Door:
    """An admin's connection, and the service behind it."""

    def __init__(self, secured: Identified, admin: Bus) -> None:
        self.secured = secured
        self.admin = admin

    async def invite(self, worker: str, pool: str = "default", life: float = 600) -> str:
        asked = Invite(worker=worker, pool=pool, by="tester", life=life)
        subject = subjects.request("identity", "invite")
        invited = await self.admin.request(subject, asked, Invited)
        return str(JoinToken((self.secured.url,), invited.token, worker, pool))

    async def revoke(self, worker: str) -> None:
        asked = Revoke(worker=worker, by="tester")
        await self.admin.request(subjects.request("identity", "revoke"), asked, Empty)

    async def known(self) -> Identities:
        subject = subjects.request("identity", "list")
        return await self.admin.request(subject, ListIdentities(), Identities)

    def config(self, member: Membership) -> BusConfig:
        path = str(member.credentials)
        return BusConfig(member.servers, member.worker, credentials=path, connect_timeout=1.0)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with identified(tmp_path) as secured:
        config = IdentityConfig(secured.keyring.folder, token_grace=0.2)
        async with (
            Bus.connect(secured.config("identity")) as mine,
            Bus.connect(secured.config("admin")) as admin,
            asyncio.TaskGroup() as tasks,
        ):
            service = tasks.create_task(run(mine, config))
            await asyncio.sleep(0)
            yield Door(secured, admin)
            service.cancel()


async def test_a_machine_joins_with_one_line_and_keeps_its_key(door: Door, tmp_path: Path) -> None:
    member = await join(await door.invite("ant", "lab"), tmp_path / "ant")
    assert (member.worker, member.pool) == ("ant", "lab")
    assert stat.S_IMODE(member.credentials.stat().st_mode) == 0o600
    assert not (tmp_path / "ant" / "worker.nk").exists()
    token, seed = read_credentials(member.credentials)
    assert read_identity(token).public == Key(seed).public
    assert all(seed not in one.model_dump_json() for one in (await door.known()).workers)
    async with Bus.connect(door.config(member)) as bus:
        await bus.flush()
    assert membership(tmp_path / "ant") == member


async def test_the_same_machine_may_repeat_its_try(door: Door, tmp_path: Path) -> None:
    """Its first answer may have been lost."""
    line = await door.invite("ant")
    first = await join(line, tmp_path / "ant")
    assert await join(line, tmp_path / "ant") == first
    first.credentials.rename(tmp_path / "lost")
    key = read_credentials(tmp_path / "lost")[1]
    (tmp_path / "ant" / "worker.nk").write_text(key)
    again = await join(line, tmp_path / "ant")
    assert read_credentials(again.credentials)[1] == key


async def test_who_let_a_machine_in_and_who_threw_it_out_is_noted(
    door: Door, tmp_path: Path
) -> None:
    line = await door.invite("ant", "lab")
    for _ in range(2):
        await join(line, tmp_path / "ant")
    await door.revoke("ant")
    with pytest.raises(Refused):
        await door.revoke("bee")
    noted = (await audit_page(door.admin, Wanted())).entries
    assert [(one.deed, one.who, one.target, one.service) for one in reversed(noted)] == [
        (Deed.INVITE, "tester", "ant", "identity"),
        (Deed.JOIN, "ant", "ant", "identity"),
        (Deed.REVOKE, "tester", "ant", "identity"),
    ]
    assert noted[1].detail == "pool lab, invited by tester"


async def test_another_machine_cannot_use_the_line_again(door: Door, tmp_path: Path) -> None:
    line = await door.invite("ant")
    await join(line, tmp_path / "ant")
    with pytest.raises(Refused, match="used by another machine"):
        await join(line, tmp_path / "thief")


async def test_of_many_machines_with_the_same_line_one_joins(door: Door, tmp_path: Path) -> None:
    line = await door.invite("ant")
    tries = [join(line, tmp_path / str(number)) for number in range(8)]
    ends = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(end, Membership) for end in ends) == 1
    assert sum(isinstance(end, Refused) for end in ends) == 7


async def test_the_server_itself_refuses_a_used_line(door: Door, tmp_path: Path) -> None:
    line = await door.invite("ant")
    await join(line, tmp_path / "ant")
    await until_refused(BusConfig(JoinToken.read(line).servers, token=JoinToken.read(line).token))


async def test_a_line_runs_out(door: Door, tmp_path: Path) -> None:
    line = await door.invite("ant", life=1)
    token = JoinToken.read(line)
    async with asyncio.timeout(PATIENCE):
        while time.time() < (read_identity(token.token).expires_at or 0):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await until_refused(BusConfig(token.servers, token=token.token))


async def test_a_machine_cannot_show_a_key_that_it_does_not_have(door: Door) -> None:
    token = JoinToken.read(await door.invite("ant"))
    name = read_identity(token.token).name
    mine, theirs = Key.new(USER), Key.new(USER)
    asked = Enrol(key=theirs.public, signature=mine.sign(proof(name, theirs.public)))
    config = BusConfig(token.servers, "x", f"_INBOX_{name}", token=token.token)
    async with Bus.connect(config) as bus:
        with pytest.raises(Refused, match="signature"):
            await bus.request(subjects.request("identity", "enrol", name), asked, Enrolled)


async def test_a_thrown_out_worker_loses_its_live_connection_and_others_keep_theirs(
    door: Door, tmp_path: Path
) -> None:
    ant = await join(await door.invite("ant"), tmp_path / "ant")
    bee = await join(await door.invite("bee"), tmp_path / "bee")
    async with Bus.connect(door.config(ant)) as lost, Bus.connect(door.config(bee)) as kept:
        first, other = lost.nc, kept.nc
        await door.revoke("ant")
        async with asyncio.timeout(PATIENCE):
            while first.is_connected:  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.01)
        assert other.is_connected
        await kept.flush()
    with pytest.raises(Denied):
        async with Bus.connect(door.config(ant)):
            pass


async def test_it_stays_out_when_the_server_starts_again(door: Door, tmp_path: Path) -> None:
    ant = await join(await door.invite("ant"), tmp_path / "ant")
    await door.revoke("ant")
    await door.secured.server.restart()
    await until_refused(door.config(ant))


async def test_whoever_was_thrown_out_may_be_invited_again(door: Door, tmp_path: Path) -> None:
    await join(await door.invite("ant"), tmp_path / "ant")
    await door.revoke("ant")
    member = await join(await door.invite("ant"), tmp_path / "ant")
    async with Bus.connect(door.config(member)) as bus:
        await bus.flush()


async def test_a_name_that_joins_anew_throws_its_old_key_out(door: Door, tmp_path: Path) -> None:
    old = await join(await door.invite("ant"), tmp_path / "old")
    await join(await door.invite("ant"), tmp_path / "new")
    await until_refused(door.config(old))


async def test_revoking_takes_an_open_invitation_back(door: Door, tmp_path: Path) -> None:
    line = await door.invite("ant")
    await door.revoke("ant")
    token = JoinToken.read(line)
    await until_refused(BusConfig(token.servers, token=token.token))


async def test_a_worker_renews_its_token_with_the_same_key(door: Door, tmp_path: Path) -> None:
    member = await join(await door.invite("ant", "lab"), tmp_path / "ant")
    before = read_credentials(member.credentials)
    async with asyncio.timeout(PATIENCE):
        while read_identity(before[0]).issued_at == int(time.time()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    async with Bus.connect(door.config(member)) as bus:
        await renew(bus, member.credentials)
    after = read_credentials(member.credentials)
    assert after[1] == before[1]
    assert read_identity(after[0]).issued_at > read_identity(before[0]).issued_at
    assert read_identity(after[0]).pool == "lab"


@pytest.mark.parametrize(("worker", "life"), [("Ant", 60), ("a.b", 60), ("", 60), ("ant", 0)])
async def test_a_bad_invitation_is_refused(door: Door, worker: str, life: float) -> None:
    with pytest.raises(Refused):
        await door.invite(worker, life=life)


async def test_nobody_throws_out_who_was_never_there(door: Door) -> None:
    with pytest.raises(Refused, match="no worker ghost"):
        await door.revoke("ghost")


@pytest.mark.parametrize("text", ["", "stoker-join-", "stoker-join-e30", "hello world"])
def test_what_is_no_join_token_is_told(text: str) -> None:
    with pytest.raises(JoinError):
        JoinToken.read(text)


async def until_refused(config: BusConfig) -> None:
    """Waits until the server lets nobody in with that."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                async with Bus.connect(config):
                    await asyncio.sleep(0.05)
            except Denied:
                return
