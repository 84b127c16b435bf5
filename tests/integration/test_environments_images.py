"""Does an image that one worker built get to another whole, and to nobody else?"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from pathlib import Path

import pytest

from agent.image_blobs import LostBlob, subject
from bus.connection import Bus
from bus.errors import Refused
from bus.images import ImageStore
from schemas.environments import (
    Asked,
    GetChunk,
    ImageChunk,
    LeaseAnswer,
    Phase,
    PutChunk,
    StartSharing,
    Turn,
)
from schemas.job import State
from schemas.worker import Grant
from services.environments.service import Environments
from services.environments.shelf import Shelf
from tests.integration.environment_tools import (
    BASE,
    CONFIG,
    KEY,
    PATIENCE,
    Make,
    Worker,
    build,
    grant_of,
    replicas,
    worker,
)

__all__ = ("replicas", "worker")


async def shared(bus: Bus, one: Worker, two: Worker) -> tuple[Grant, Asked]:
    """What ``two`` is told once ``one`` has built and shared it."""
    await build(one, await grant_of(bus, "j1", one.name))
    grant = await grant_of(bus, "j2", two.name)
    asked = await two.turn(grant)
    assert asked is not None
    assert asked.turn is Turn.FETCH
    return grant, asked


async def test_a_chunk_with_a_wrong_digest_is_refused(bus: Bus, worker: Make) -> None:
    lease = await worker("w1").lease(await grant_of(bus, "j1", "w1"))
    key = lease.model_dump()
    await bus.request(subject("share", "w1"), StartSharing(**key), LeaseAnswer)
    wrong = hashlib.sha256(b"something else").digest()
    put = PutChunk(**key, digest=BASE, index=0, sha256=wrong, data=b"data")
    with pytest.raises(Refused, match="digest"):
        await bus.request(subject("put", "w1"), put, LeaseAnswer)
    assert await ImageStore(bus).stored() == set()


async def test_a_layer_that_is_damaged_is_found_out_and_built_anew(
    bus: Bus, worker: Make, tmp_path: Path
) -> None:
    one, two = worker("w1"), worker("w2")
    grant, asked = await shared(bus, one, two)
    assert asked.image is not None
    digest = asked.image.layers[0].digest
    blob = await Shelf(bus).blob("default", digest)
    assert blob is not None
    store = ImageStore(bus)
    await store.remove(blob.upload, digest)
    for index in range(asked.image.layers[0].chunks):
        await store.put(blob.upload, digest, index, bytes(512 << 10))
    with pytest.raises(LostBlob) as caught:
        await two.fetched(grant, asked, tmp_path / "damaged")
    answer = await two.fleet.lost(grant, KEY, asked.number, caught.value.digest)
    assert answer is not None
    assert answer.turn is Turn.BUILD
    assert await Shelf(bus).blob("default", digest) is None


async def test_what_a_registry_has_is_told_by_its_digest_and_built_once_where_it_cannot_be_had(
    bus: Bus, worker: Make
) -> None:
    one, two, three = worker("w1"), worker("w2"), worker("w3")
    one.reference = f"registry.example/env/default@sha256:{BASE}"
    one.shares.eager = True
    await build(one, await grant_of(bus, "j1", "w1"))
    async with asyncio.timeout(PATIENCE):
        while True:
            entry = await Shelf(bus).entry("default", KEY)
            if entry and entry.phase is Phase.READY:
                break
            await asyncio.sleep(0.05)
    assert await ImageStore(bus).stored() == set()
    grants = [await grant_of(bus, "j2", "w2"), await grant_of(bus, "j3", "w3")]
    asked = await two.turn(grants[0])
    also = await three.turn(grants[1])
    assert asked is not None
    assert also is not None
    assert asked.image is not None
    assert (asked.turn, asked.image.reference) == (Turn.FETCH, one.reference)
    answer = await two.fleet.lost(grants[0], KEY, asked.number, BASE)
    others = await three.fleet.lost(grants[1], KEY, also.number, BASE)
    assert answer is not None
    assert others is not None
    assert (answer.turn, others.turn) == (Turn.BUILD, Turn.WAIT)


async def test_a_layer_that_is_there_already_is_not_sent_again(bus: Bus, worker: Make) -> None:
    one, two = worker("w1"), worker("w2")
    await shared(bus, one, two)
    before = await ImageStore(bus).stored()
    await Shelf(bus).change(
        "default", KEY, lambda entry: entry and entry.model_copy(update={"phase": Phase.FREE})
    )
    await build(two, await grant_of(bus, "j3", "w2"))
    three = worker("w3")
    asked = await three.turn(await grant_of(bus, "j4", "w3"))
    assert asked is not None
    assert asked.turn is Turn.FETCH
    assert await ImageStore(bus).stored() == before


async def test_a_chunk_goes_only_to_an_attempt_of_the_same_pool(bus: Bus, worker: Make) -> None:
    _, asked = await shared(bus, worker("w1"), worker("w2"))
    assert asked.image is not None
    digest = asked.image.layers[0].digest

    async def get(job: str, name: str, nonce: str = "", key: str = KEY) -> bytes:
        wanted = GetChunk(
            job=job, attempt=1, nonce=nonce or f"n-{job}", key=key, digest=digest, index=0
        )
        return (await bus.request(subject("get", name), wanted, ImageChunk)).data

    assert len(await get("j2", "w2")) == 512 << 10
    await grant_of(bus, "j8", "w8", pool="other")
    await grant_of(bus, "j9", "w9", state=State.SUCCEEDED)
    for told in (("j2", "w3"), ("j2", "w2", "guessed"), ("j8", "w8"), ("j9", "w9")):
        with pytest.raises(Refused):
            await get(*told)
    with pytest.raises(Refused):
        await get("j2", "w2", key="cd" * 16)


async def test_what_nobody_needs_is_freed(
    bus: Bus, worker: Make, replicas: list[Environments]
) -> None:
    await shared(bus, worker("w1"), worker("w2"))
    sweeper = replicas[0]._sweeper
    await sweeper.round()
    await sweeper.drop_orphans()
    assert len(await ImageStore(bus).stored()) == 2
    await ImageStore(bus).put("left", BASE, 0, b"half")
    sweeper._config = dataclasses.replace(CONFIG, unused=-1.0, spared=-1.0)
    await sweeper.round()
    await sweeper.drop_orphans()
    assert await ImageStore(bus).stored() == set()
    assert await Shelf(bus).all() == ({}, {})


async def test_an_image_whose_agent_died_before_it_said_so_is_shared_all_the_same(
    bus: Bus, worker: Make, tmp_path: Path
) -> None:
    """The engine had it whole; the next agent finds it and asks nobody."""
    one, two = worker("w1"), worker("w2")
    lease = await one.lease(await grant_of(bus, "j1", "w1"))
    one.shares.keep(lease, (BASE,), whole=False)
    waiting = asyncio.ensure_future(two.turn(await grant_of(bus, "j2", "w2")))
    await two.until_said("waiting for it")
    again = Worker(bus, "w1", tmp_path / "w1")
    again.shares.tidy()
    again.shares.seen(await grant_of(bus, "j3", "w1"), KEY)
    running = asyncio.ensure_future(again.shares.run())
    asked = await waiting
    running.cancel()
    assert asked is not None
    assert asked.turn is Turn.FETCH


async def test_what_is_used_where_it_was_built_counts_as_used(
    bus: Bus, worker: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.environments.service.USED_EVERY", -1.0)
    one = worker("w1")
    await build(one, await grant_of(bus, "j1", "w1"))
    shelf = Shelf(bus)
    before = await shelf.entry("default", KEY)
    one.shares.seen(await grant_of(bus, "j2", "w1"), KEY)
    async with asyncio.timeout(PATIENCE):
        while (now := await shelf.entry("default", KEY)) == before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert now is not None
    assert before is not None
    assert now == before.model_copy(update={"used_at": now.used_at})
    one.shares.seen(await grant_of(bus, "j3", "w1"), KEY)
    assert one.shares._used.empty(), "told once more within the hour"
