"""What a worker with true credentials tries beyond its rights comes to nothing.

Each of these passes subject permissions on a NATS where workers share the services' account, and
was seen to succeed there (`facts` of the project). ``eve`` attacks; ``w1`` is the honest one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bus import subjects
from bus.codec import encode
from bus.connection import Bus
from bus.errors import BusError, Refused
from bus.layout import declare_class, declare_pool
from bus.link import ask
from bus.logs import LogWriter
from bus.pull import Pull
from bus.tickets import publish_ticket, unclaimed
from schemas.job import State
from schemas.log import LogChunk, Span
from schemas.requests import BundleChunk, FetchBundle
from schemas.stream import Stream
from schemas.worker import Claim, ClaimAnswer, ClassRecord, Requirement
from tests.integration.house import dummy
from tests.integration.identified import Identified, Probe, identified, probe
from tests.integration.test_identities import house_of
from tests.integration.test_scheduler import Worker

PULL = "$JS.API.CONSUMER.MSG.NEXT.WORK_default.c1"
PATIENCE = 20.0


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made:
        yield made


@pytest.fixture
async def admin(secured: Identified) -> AsyncIterator[Bus]:
    """With a pool that has one class."""
    async with Bus.connect(secured.config("admin")) as bus:
        await declare_pool(bus, "default")
        need = Requirement(cpus=1, memory=1, gpus=0)
        await declare_class(
            bus, ClassRecord(pool="default", name="c1", requirement=need, used_at=0.0)
        )
        yield bus


async def held(bus: Bus, stream: str) -> int:
    return int((await bus.api(f"STREAM.INFO.{stream}"))["state"]["messages"])


@contextlib.asynccontextmanager
async def eve(secured: Identified, pool: str = "default") -> AsyncIterator[Probe]:
    async with probe(secured.worker("eve", pool)) as tries:
        yield tries


def chunk(text: bytes, offset: int = 0) -> LogChunk:
    return LogChunk(1, 0, offset, 1.0, (Span(Stream("o"), len(text)),), text)


FORGED = (
    "stoker.log.j1.1.0.w1",
    "stoker.req.scheduler.report.w1",
    "stoker.job.j1.failed",
    "$KV.drains.w1",
)


@pytest.mark.parametrize("target", FORGED)
async def test_an_answer_sent_elsewhere_never_leaves_the_workers_account(
    secured: Identified, admin: Bus, target: str
) -> None:
    """The server does not check a reply subject: a ticket, or an acknowledgement, would be written
    there in the name of somebody else."""
    await publish_ticket(admin, "default", "c1", "j1")
    heard: list[Any] = []

    async def listen(message: Any) -> None:
        heard.append(message)

    async with admin.subscribe(target, listen), eve(secured) as tries:
        before = {name: await held(admin, name) for name in ("LOGS", "JOBS", "KV_drains")}
        body = json.dumps({"batch": 1, "expires": 10**9}).encode()
        await tries.client.publish(PULL, body, reply=target)
        await tries.client.publish("stoker.log.j9.1.0.eve", b"x", reply=target)
        await tries.settle()
        async with asyncio.timeout(PATIENCE):
            while await held(admin, "LOGS") == before["LOGS"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await admin.flush()
        assert heard == []
        after = {name: await held(admin, name) for name in before}
        assert after == {**before, "LOGS": before["LOGS"] + 1}


async def test_stored_messages_are_not_read_by_their_subject(secured: Identified) -> None:
    """A direct get with such a reply would forge bytes of the attacker's choice."""
    async with eve(secured) as tries:
        for subject in (
            "DIRECT.GET.LOGS",
            "DIRECT.GET.LOGS.stoker.log.*.*.*.*",
            "STREAM.MSG.GET.LOGS",
        ):
            assert not await tries.may_publish(f"$JS.API.{subject}", b"{}", "stoker.log.j.1.0.eve")


async def test_stars_in_a_subject_reach_nobody_elses_log(secured: Identified, admin: Bus) -> None:
    async with Bus.connect(secured.worker("w1")) as honest:
        await LogWriter(honest, "j1", 1, 0, "w1").publish(chunk(b"mine\n"))
    async with eve(secured) as tries:
        for subject in ("stoker.log.*.1.0.w1", "stoker.log.j1.1.0.*", "stoker.log.>"):
            assert not await tries.may_publish(subject)
        await tries.may_publish("stoker.log.*.*.*.eve", b"forged")
    found = await admin.api("STREAM.MSG.GET.LOGS", {"last_by_subj": "stoker.log.j1.1.0.w1"})
    assert found["message"]["seq"] == 1
    with pytest.raises(BusError):
        await admin.api("STREAM.MSG.GET.LOGS", {"seq": 2, "next_by_subj": "stoker.log.j1.>"})


async def test_acknowledging_what_another_was_given_takes_no_job_away(
    secured: Identified, tmp_path: Path, admin: Bus
) -> None:
    """Sequences can be guessed. The ticket goes; the record says that the job is still queued."""
    async with (
        house_of(secured, tmp_path, sweep_every=0.3) as house,
        Bus.connect(secured.worker("w1")) as honest,
        eve(secured) as tries,
    ):
        await Worker(honest, "w1").beat()
        job = await house.submit()
        record = await house.until(job, lambda one: one.state is State.QUEUED)
        assert record.class_name
        pull = Pull(honest, "default", record.class_name)
        pull.want(1)
        tickets = pull.tickets()
        async with asyncio.timeout(PATIENCE):
            assert (await anext(tickets)).job == job
            for sequence in range(1, 4):
                ack = f"$JS.ACK.WORK_default.{record.class_name}.1.{sequence}.{sequence}.1.0"
                assert await tries.may_publish(ack, b"+TERM")
            pull.want(1)
            assert (await anext(tickets)).job == job


async def test_another_pools_tickets_are_neither_pulled_nor_acknowledged(
    secured: Identified, admin: Bus
) -> None:
    await publish_ticket(admin, "default", "c1", "j1")
    async with eve(secured, "other") as tries:
        assert not await tries.may_publish(PULL, b'{"batch": 1}', "_INBOX_eve.x")
        assert not await tries.may_publish("$JS.ACK.WORK_default.c1.1.1.1.1.0", b"+ACK")
    assert await unclaimed(admin, "default", "c1") == 1


async def test_a_job_of_another_pool_is_not_claimed(secured: Identified, tmp_path: Path) -> None:
    async with house_of(secured, tmp_path) as house:
        job = await house.submit()
        asked = Claim(id="c", worker="eve", job=job, runtime="dummy")
        async with Bus.connect(secured.worker("eve", "other")) as bus:
            subject = subjects.claim("eve", "other")
            answer = await bus.request(subject, asked, ClaimAnswer)
            assert answer.grant is None
            assert "not of pool other" in answer.refusal
            named = asked.model_copy(update={"worker": "w1"})
            assert (await bus.request(subject, named, ClaimAnswer)).grant is None


async def test_requests_left_standing_in_one_pool_do_not_stop_another(
    secured: Identified, admin: Bus
) -> None:
    """More of them than a consumer takes: the pool's own mates wait, nobody else."""
    body = json.dumps({"batch": 1, "expires": 30 * 10**9}).encode()
    await declare_pool(admin, "other")
    need = Requirement(cpus=1, memory=1, gpus=0)
    await declare_class(admin, ClassRecord(pool="other", name="c1", requirement=need, used_at=0.0))
    async with eve(secured) as tries, Bus.connect(secured.worker("w2", "other")) as honest:
        for number in range(5000):
            await tries.client.publish(PULL, body, reply=f"_INBOX_eve.{number}")
        await tries.settle()
        pull = Pull(honest, "other", "c1")
        pull.want(1)
        await publish_ticket(admin, "other", "c1", "j1")
        async with asyncio.timeout(PATIENCE):
            ticket = await anext(pull.tickets())
        assert ticket.job == "j1"
        await ticket.ack()


async def test_a_chosen_message_id_drops_nobody_elses_message(
    secured: Identified, admin: Bus
) -> None:
    """Ours carry none: what is stored twice is told by the expected sequence."""
    async with eve(secured) as tries, Bus.connect(secured.worker("w1")) as honest:
        for number in range(32):
            header = {"Nats-Msg-Id": str(number)}
            await ask(tries.client, "stoker.log.j1.1.0.eve", b"x", 5, header)
        writer = LogWriter(honest, "j1", 1, 0, "w1")
        for number in range(8):
            await writer.publish(chunk(b"line\n", 5 * number))
    info = await admin.api("STREAM.INFO.LOGS", {"subjects_filter": "stoker.log.j1.1.0.w1"})
    assert info["state"]["subjects"]["stoker.log.j1.1.0.w1"] == 8


@pytest.mark.parametrize(
    "header",
    [{"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1s"}, {"Nats-Incr": "1"}],
    ids=lambda header: next(iter(header)),
)
async def test_no_header_takes_away_what_others_wrote(
    secured: Identified, admin: Bus, header: dict[str, str]
) -> None:
    async with eve(secured) as tries, Bus.connect(secured.worker("w1")) as honest:
        await LogWriter(honest, "j1", 1, 0, "w1").publish(chunk(b"mine\n"))
        answer = await ask(tries.client, "stoker.log.j1.1.0.eve", b"x", 5, header)
        assert "error" in json.loads(answer.data)
        assert not await tries.may_publish("$KV.workers.w1", b"")
    assert await held(admin, "LOGS") == 1


async def test_no_consumer_delivers_to_where_its_maker_may_not_write(secured: Identified) -> None:
    config = {"deliver_subject": "stoker.log.j1.1.0.w1", "ack_policy": "none"}
    body = json.dumps({"stream_name": "LOGS", "config": config}).encode()
    async with eve(secured) as tries:
        for verb in ("CREATE.LOGS", "CREATE.LOGS.x", "DURABLE.CREATE.LOGS.x"):
            assert not await tries.may_publish(f"$JS.API.CONSUMER.{verb}", body)


async def test_a_trace_goes_nowhere_that_its_asker_may_not_write(
    secured: Identified, admin: Bus
) -> None:
    async with eve(secured) as tries:
        header = {"Nats-Trace-Dest": "stoker.log.j1.1.0.w1"}
        await tries.client.publish("stoker.log.j9.1.0.eve", b"x", headers=header)
        await tries.settle()
    with pytest.raises(BusError):
        await admin.api("STREAM.MSG.GET.LOGS", {"last_by_subj": "stoker.log.j1.1.0.w1"})


async def test_nobody_reads_a_bundle_that_his_attempt_was_not_granted(
    secured: Identified, tmp_path: Path
) -> None:
    async with house_of(secured, tmp_path) as house:
        house.agent()
        job = await house.submit(environment=dummy(SLEEP=30))
        record = await house.running(job)
        current = record.current
        assert current is not None
        asked = FetchBundle(job=job, attempt=1, nonce=current.nonce, bundle=record.bundle)
        async with Bus.connect(secured.worker("eve")) as bus:
            with pytest.raises(Refused, match="superseded"):
                await bus.request(subjects.request("upload", "fetch", "eve"), asked, BundleChunk)
        async with eve(secured) as tries:
            data, _ = encode(asked)
            assert not await tries.may_publish(subjects.request("upload", "fetch", "w1"), data)
