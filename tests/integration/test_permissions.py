"""The server lets every role do what the table says, and refuses all else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bus.link import BusConfig
from bus.permissions import FLEET_ROLES, MAIN_ROLES, NAME, POOL, ROLES, STREAM_NAMES, Grants
from tests.integration.identified import Identified, identified, probe

VERBS = (
    "STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.DELETE", "STREAM.PURGE",
    "STREAM.SNAPSHOT", "STREAM.RESTORE", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "DIRECT.GET",
    "CONSUMER.CREATE", "CONSUMER.NAMES", "CONSUMER.LIST",
)  # fmt: skip
CONSUMER_VERBS = (
    "CREATE", "DURABLE.CREATE", "INFO", "DELETE", "MSG.NEXT", "PAUSE", "RESET", "UNPIN",
)  # fmt: skip
STREAMS = (*STREAM_NAMES, "WORK_default", "WORK_other")
SAID = (
    *(f"$JS.API.{verb}.{stream}" for verb in VERBS for stream in STREAMS),
    *(f"$JS.API.CONSUMER.{verb}.{stream}.c1" for verb in CONSUMER_VERBS for stream in STREAMS),
    *(f"$JS.API.CONSUMER.{verb}.JOBS.archive" for verb in CONSUMER_VERBS),
    *(f"$JS.API.CONSUMER.CREATE.{stream}.c1.stoker.x" for stream in STREAMS),
    *(f"$JS.API.DIRECT.GET.{stream}.stoker.log.j.1.0.w2" for stream in STREAMS),
    *("$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.LIST", "$JS.API.ACCOUNT.PURGE.A"),
    *(f"$JS.ACK.{stream}.c1.1.2.3.4.5" for stream in STREAMS),
    "$JS.ACK.JOBS.archive.1.2.3.4.5", "$JS.ACK.JOBS.archive.1.2.3.4.6.7", "$JS.FC.LOGS.c1.x",
    "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.WORK_default.c1",
    *(f"$KV.{name}.w2" for name in ("workers", "classes", "drains", "requests", "identities")),
    *(f"$O.{name}.{kind}.x" for name in ("bundles", "uploads", "logs", "outputs") for kind in "CM"),
    *(f"$O.{name}.{kind}.j.x" for name in ("logs", "outputs") for kind in "CM"),
    "stoker.job.j.submitted", "stoker.job.j.succeeded", "stoker.job.*.submitted",
    "stoker.work.default.c1.j", "stoker.work.other.c1.j",
    *(f"stoker.log.j.1.0.{name}" for name in ("w1", "w2", "*")),
    *(f"stoker.metric.j.1.{name}" for name in ("w1", "w2")),
    "stoker.beat.default.w1", "stoker.beat.default.w2", "stoker.beat.other.w1", "stoker.beat.w1",
    "stoker.req.scheduler.claim.default.w1", "stoker.req.scheduler.claim.default.w2",
    "stoker.req.scheduler.claim.other.w1", "stoker.req.scheduler.claim.w1",
    *(
        f"stoker.req.{what}.{name}"
        for what in (
            "scheduler.report", "archive.position", "upload.fetch", "outputs.put", "identity.renew",
            "identity.enrol",
        )
        for name in ("w1", "w2", "t1")
    ),
    *(f"stoker.req.scheduler.{verb}" for verb in ("cancel", "drain", "explain")),
    *(f"stoker.req.identity.{verb}" for verb in ("invite", "revoke", "list")),
    "stoker.req.upload.submit", "stoker.req.catalog.list",
    *(f"stoker.cmd.{name}.stop" for name in ("w1", "w2")),
    "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.A.CLAIMS.LOOKUP",
    "_INBOX_w1.a", "_INBOX_w2.a", "_INBOX_ui.a", "_INBOX.a", "_R_.abc",
)  # fmt: skip
HEARD = (
    ">", "*.>", "stoker.>", "stoker.job.>", "stoker.job.j.*", "stoker.work.>", "stoker.log.>",
    "stoker.log.*.*.*.w1", "stoker.log.j.1.0.w2", "stoker.metric.>", "stoker.req.>",
    "stoker.req.scheduler.*.*", "stoker.req.scheduler.*", "stoker.req.upload.*",
    "stoker.req.archive.*.*", "stoker.req.catalog.*", "stoker.req.identity.*.*",
    "stoker.req.scheduler.claim.*.*", "stoker.req.scheduler.claim.default.w1",
    "stoker.req.identity.enrol.t1", "stoker.beat.*.*", "stoker.beat.default.w1",
    "stoker.cmd.>", "stoker.cmd.*.*", "stoker.cmd.w1.*", "stoker.cmd.w1.>", "stoker.cmd.w2.*",
    "_INBOX.>", "_INBOX_w1.>", "_INBOX_w2.>", "_INBOX_t1.>", "_INBOX_ui.>", "_INBOX_scheduler.a.b",
    "$JS.ACK.>", "$JS.API.>", "$JS.EVENT.>", "$JS.API.CONSUMER.MSG.NEXT.WORK_default.*",
    "$KV.workers.>", "$KV.identities.>", "$O.>", "$O.bundles.C.*", "$SYS.>", "$SYS.REQ.>",
)  # fmt: skip


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made:
        yield made


def who(secured: Identified, role: str) -> BusConfig:
    if role == "join":
        issuer = secured.keyring.issuer("join")
        return BusConfig((secured.url,), token=secured.join_token(issuer), inbox_prefix="_INBOX_t1")
    return secured.worker("w1") if role == "worker" else secured.config(role)


def listed(grants: Grants, subject: str, name: str) -> bool:
    """Whether the table allows that."""
    fill = [
        tuple(one.replace(NAME, name).replace(POOL, "default") for one in part)
        for part in (grants.allow, grants.deny)
    ]
    return any(covers(one, subject) for one in fill[0]) and not any(
        covers(one, subject) for one in fill[1]
    )


def covers(pattern: str, subject: str) -> bool:
    """As the server sees it: to it, a ``>`` at the end is a token like any other."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, token in enumerate(wanted):
        if token == ">":
            return len(given) > at
        if at >= len(given) or token not in ("*", given[at]):
            return False
    return len(given) == len(wanted)


@pytest.mark.parametrize("role", [role.name for role in (*MAIN_ROLES, *FLEET_ROLES)])
async def test_a_role_may_do_what_the_table_says_and_nothing_else(
    secured: Identified, role: str
) -> None:
    name = {"join": "t1", "worker": "w1"}.get(role, role)
    async with probe(who(secured, role)) as tries:
        for subject in SAID:
            await tries.client.publish(subject, b"?")
        for subject in HEARD:
            await tries.client.subscribe(subject, cb=tries.on_message)
        await tries.settle()
        refused = tries.refused
    publish, subscribe = ROLES[role].publish, ROLES[role].subscribe
    wrong = [s for s in SAID if listed(publish, s, name) == (("publish", s.lower()) in refused)]
    wrong += [
        s for s in HEARD if listed(subscribe, s, name) == (("subscription", s.lower()) in refused)
    ]
    assert not wrong
    assert len(refused) > 100 or role == "admin"
