"""Secrets whose service dies anywhere: what was answered is kept, and a new key is taken up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bus import subjects
from bus.boxes import seal, unlock
from bus.codec import decode, encode
from bus.follow import follow
from bus.kv import Bucket
from schemas.audit import AuditEntry, Deed
from schemas.message import Empty
from schemas.secret import (
    AskKey,
    KeptSecret,
    ListSecrets,
    RemoveSecret,
    SealingKey,
    SecretList,
    SecretValue,
    SetSecret,
)
from services.secrets.keyfile import KeyFile, add_key
from services.secrets.store import place_of
from tests.crash.child import Program
from tests.crash.harness import Play, Scenario, cases, crash_everywhere
from tests.crash.worlds import Server, World


async def set_secret(world: World, name: str, value: bytes) -> None:
    key = await world.ask(subjects.request("secrets", "key"), AskKey(), SealingKey)
    told = SecretValue(owner="ann", name=name, value=value)
    message = SetSecret(owner="ann", name=name, sealed=seal(key.key, encode(told)[0]))
    await world.ask(subjects.request("secrets", "set"), message, Empty)


async def kept(world: World) -> dict[str, KeptSecret]:
    entries = (await Bucket(world.bus, "secrets").all(below="value")).values()
    found = [decode(KeptSecret, entry.value, None) for entry in entries]
    return {one.name: one for one in found}


async def until_locked_by(world: World, version: int) -> None:
    while True:
        if all(one.version == version for one in (await kept(world)).values()):
            return
        await asyncio.sleep(0.02)


async def secrets_that_come_and_go(world: World) -> None:
    for name in ("A", "B", "C"):
        await set_secret(world, name, b"first " + name.encode())
    await set_secret(world, "A", b"second A")
    removal = RemoveSecret(owner="ann", name="B")
    await world.ask(subjects.request("secrets", "remove"), removal, Empty)
    subject = subjects.request("secrets", "list")
    found = await world.ask(subject, ListSecrets(owner="ann"), SecretList)
    assert [one.name for one in found.secrets] == ["A", "C"]
    path = world.folder / "secrets.key"
    add_key(path)
    await until_locked_by(world, 2)
    keys = KeyFile(path).keys
    opened = {
        name: unlock(keys[2], one.locked, place_of("ann", name, 2))
        for name, one in (await kept(world)).items()
    }
    assert opened == {"A": b"second A", "C": b"first C"}
    assert {(Deed.SECRET_SET, "A"), (Deed.SECRET_REMOVED, "B")} <= await noted(world)


async def noted(world: World) -> set[tuple[Deed, str]]:
    """Whatever was done was noted before."""
    entries = set()
    async for delivery in follow(world.bus, "AUDIT", "stoker.audit.>", stop_at_end=True):
        entry = decode(AuditEntry, delivery.data, delivery.headers)
        entries.add((entry.deed, entry.target))
    return entries


def with_keys(folder: Path) -> dict[str, Any]:
    return {"keys": folder / "secrets.key"}


@pytest.mark.parametrize(
    ("play", "replicas"), cases([secrets_that_come_and_go], [secrets_that_come_and_go])
)
async def test_secrets_survive_a_crash_anywhere(
    worlds: Server, tmp_path: Path, play: Play, replicas: int
) -> None:
    program = Program("secrets", config={"sweep_every": 0.05})
    scenario = Scenario(program, play, replicas, prepare=with_keys)
    outcome = await crash_everywhere(worlds, scenario, tmp_path)
    outcome.check(at_least=6)
