"""What is noted stays: nobody on the bus takes it back, changes it, or writes in another's name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error

from bus import subjects
from bus.audit import note
from bus.audit_pages import Wanted, audit_page
from bus.connection import Bus, JetStreamError
from bus.errors import BusError
from bus.layout import AUDIT
from bus.link import BusConfig
from bus.permissions import FLEET_ROLES, MAIN_ROLES
from schemas.audit import AuditEntry, AuditRow, Deed
from tests.integration.identified import Identified, identified, probe

WRITERS = ("upload", "scheduler", "identity", "people", "secrets", "datasets")
ROLES = tuple(role.name for role in (*MAIN_ROLES, *FLEET_ROLES))
ENTRIES = 3
SOON = 0.5
"""Seconds for an answer of the server: what it denies it does not answer at all."""


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Identified]:
    async with identified(tmp_path) as made:
        async with Bus.connect(made.config("upload")) as bus:
            for number in range(ENTRIES):
                await note(bus, "upload", entry(number))
        yield made


def entry(number: int) -> AuditEntry:
    return AuditEntry(at=float(number), deed=Deed.SUBMIT, who="ann", target=f"job{number}")


async def kept(made: Identified) -> tuple[AuditRow, ...]:
    async with Bus.connect(made.config("ui")) as bus:
        return (await audit_page(bus, Wanted())).entries


async def guards(made: Identified) -> dict[str, Any]:
    async with Bus.connect(made.config("ui")) as bus:
        config: dict[str, Any] = (await bus.api("STREAM.INFO.AUDIT"))["config"]
        return config


def who(made: Identified, role: str) -> BusConfig:
    if role == "join":
        issuer = made.keyring.issuer("join")
        return BusConfig((made.url,), token=made.join_token(issuer), inbox_prefix="_INBOX_t1")
    return made.worker("w1") if role == "worker" else made.config(role)


def attacks(config: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every call of JetStream's API by which an entry could go or be another."""
    soft = {**config, "deny_delete": False, "deny_purge": False}
    return [
        ("STREAM.PURGE.AUDIT", {}),
        ("STREAM.PURGE.AUDIT", {"filter": "stoker.audit.upload.submit"}),
        ("STREAM.DELETE.AUDIT", {}),
        ("STREAM.MSG.DELETE.AUDIT", {"seq": 1}),
        ("STREAM.MSG.DELETE.AUDIT", {"seq": 1, "no_erase": True}),
        ("STREAM.UPDATE.AUDIT", soft),
        ("STREAM.UPDATE.AUDIT", {**config, "max_msgs": 1}),
        ("STREAM.UPDATE.AUDIT", {**config, "max_age": 1_000_000_000}),
        ("STREAM.UPDATE.AUDIT", {**config, "max_bytes": 100}),
        ("STREAM.UPDATE.AUDIT", {**config, "max_msgs_per_subject": 1}),
        ("STREAM.UPDATE.AUDIT", {**config, "allow_rollup_hdrs": True}),
        ("STREAM.UPDATE.AUDIT", {**config, "subjects": ["elsewhere.>"]}),
        ("STREAM.UPDATE.AUDIT", {**config, "subject_delete_marker_ttl": 1, "allow_msg_ttl": True}),
        ("STREAM.CREATE.AUDIT", {**config, "max_msgs": 1}),
        ("STREAM.CREATE.THIEF", {"name": "THIEF", "subjects": ["stoker.audit.>"]}),
        ("STREAM.RESTORE.AUDIT", {"config": config, "state": {"messages": 0}}),
        ("STREAM.SNAPSHOT.AUDIT", {"deliver_subject": "_INBOX.x", "no_consumers": True}),
    ]


async def try_all(client: Client, asked: list[tuple[str, dict[str, Any]]]) -> None:
    async def once(verb: str, body: dict[str, Any]) -> None:
        try:
            await client.request(f"$JS.API.{verb}", json.dumps(body).encode(), timeout=SOON)
        except Error:
            return

    await asyncio.gather(*(once(verb, body) for verb, body in asked))


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_takes_back_what_is_noted(secured: Identified, role: str) -> None:
    before, config = await kept(secured), await guards(secured)
    assert len(before) == ENTRIES
    async with probe(who(secured, role)) as tries:
        await try_all(tries.client, attacks(config))
        for headers in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"KV-Operation": "PURGE"}):
            subject = subjects.audit(role if role in WRITERS else "upload", Deed.SUBMIT)
            await tries.client.publish(subject, b"{}", headers=headers)
        await tries.settle()
    after = await kept(secured)
    assert [row for row in after if row.sequence <= ENTRIES] == list(before)
    assert await guards(secured) == config


@pytest.mark.parametrize("role", ROLES)
async def test_no_role_writes_in_the_name_of_another(secured: Identified, role: str) -> None:
    async with probe(who(secured, role)) as tries:
        for service in (*WRITERS, "catalog", "new", role):
            may = await tries.may_publish(subjects.audit(service, Deed.SIGN_IN), b"{}")
            assert may == (role == service and role in WRITERS), service
        assert not await tries.may_publish("stoker.audit.upload.sign-in.more", b"{}")
        assert not await tries.may_publish("stoker.audit.>", b"{}")


async def test_a_message_that_was_sent_again_is_no_way_to_hide_another(secured: Identified) -> None:
    """The id by which the bus drops what came twice is nobody's to choose for others."""
    async with Bus.connect(secured.config("people")) as bus:
        subject = subjects.audit("people", Deed.SIGN_IN)
        await bus.append(subject, b"{}", {"Nats-Msg-Id": "chosen"})
    async with Bus.connect(secured.config("upload")) as bus:
        await note(bus, "upload", entry(ENTRIES))
    rows = await kept(secured)
    assert rows[0].target == f"job{ENTRIES}"


async def test_without_identities_the_stream_still_takes_no_deletion(bus: Bus) -> None:
    """There anybody may delete the stream as a whole, which shows."""
    for number in range(ENTRIES):
        await note(bus, "upload", entry(number))
    config = AUDIT.config(1)
    refused: list[tuple[str, dict[str, Any]]] = [
        ("STREAM.PURGE.AUDIT", {}),
        ("STREAM.MSG.DELETE.AUDIT", {"seq": 1}),
        ("STREAM.UPDATE.AUDIT", {**config, "deny_delete": False}),
        ("STREAM.UPDATE.AUDIT", {**config, "deny_purge": False}),
    ]
    for verb, body in refused:
        with pytest.raises(JetStreamError):
            await bus.api(verb, body)
    subject = subjects.audit("upload", Deed.SUBMIT)
    with pytest.raises(BusError):
        await bus.append(subject, b"{}", {"Nats-Rollup": "all"})
    assert len((await audit_page(bus, Wanted())).entries) == ENTRIES
