"""Secrets in the service: for their owner, sealed on the way, locked where they lie."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bus import subjects
from bus.boxes import new_pair, private_of_user, seal, unseal
from bus.codec import decode, encode
from bus.connection import Bus
from bus.errors import Refused
from bus.follow import follow
from bus.keys import USER, Key
from bus.kv import Bucket
from bus.records import Records
from schemas.identity import WorkerIdentity
from schemas.job import Attempt, Fact, Record, State
from schemas.message import Empty
from schemas.secret import (
    SECRETS_MOST,
    VALUE_BYTES,
    AskKey,
    ForgetSecrets,
    KeptSecret,
    ListSecrets,
    Opened,
    OpenSecret,
    RemoveSecret,
    SealingKey,
    SecretList,
    SecretValue,
    SetSecret,
)
from schemas.spec import JobSpec
from services.secrets.config import SecretsConfig
from services.secrets.keyfile import KeyFileError, add_key, read_keys, write_keys
from services.secrets.service import run

PATIENCE = 15.0
VALUE = b"canary-5f1c-value"
JOB = "0d4k8q2m-7xv3"


@dataclass
class Vault:
    """The service, asked as the ui and workers ask it."""

    bus: Bus
    keys: Path
    workers: dict[str, Key] = field(default_factory=dict)

    async def ask(self, verb: str, message: SetSecret | RemoveSecret | ForgetSecrets) -> None:
        await self.bus.request(subjects.request("secrets", verb), message, Empty)

    async def set(self, name: str, value: bytes = VALUE, owner: str = "ann") -> None:
        key = await self.bus.request(subjects.request("secrets", "key"), AskKey(), SealingKey)
        told = SecretValue(owner=owner, name=name, value=value)
        sealed = seal(key.key, encode(told)[0])
        await self.ask("set", SetSecret(owner=owner, name=name, sealed=sealed))

    async def names(self, owner: str = "ann") -> list[str]:
        subject = subjects.request("secrets", "list")
        found = await self.bus.request(subject, ListSecrets(owner=owner), SecretList)
        return [one.name for one in found.secrets]

    async def join(self, worker: str, **changes: object) -> None:
        self.workers[worker] = key = Key.new(USER)
        one = WorkerIdentity(
            worker=worker, pool="default", key=key.public, joined_at=1, expires_at=time.time() + 99
        )
        stored = encode(one.model_copy(update=changes))[0]
        await Bucket(self.bus, "identities").put(f"worker.{worker}", stored)

    async def open(self, worker: str, name: str = "TOKEN", **changes: object) -> bytes:
        private, public = new_pair()
        asked = OpenSecret(job=JOB, attempt=1, nonce="n1", name=name, key=public)
        asked = asked.model_copy(update=changes)
        subject = subjects.request("secrets", "open", worker)
        answer = await self.bus.request(subject, asked, Opened)
        if answer.to_worker:
            private = private_of_user(self.workers[worker].seed)
        return decode(SecretValue, unseal(private, answer.sealed), None).value

    async def grant(self, worker: str, number: int = 1, after: int = 0) -> int:
        """A job of ann's that runs there."""
        attempts = tuple(
            Attempt(number=n, worker=worker, claim=f"c{n}", nonce=f"n{n}", granted_at=1)
            for n in range(1, number + 1)
        )
        record = Record(
            id=JOB, owner="ann", spec=JobSpec.model_validate({"secrets": ["TOKEN"]}), bundle="b",
            state=State.STARTING, submitted_at=1, changed_at=1, attempt=number, attempts=attempts,
        )  # fmt: skip
        return await Records(self.bus).write(record, Fact.STARTING, after)


@contextlib.asynccontextmanager
async def serving(bus: Bus, config: SecretsConfig) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        service = tasks.create_task(run(bus, config))
        await asyncio.sleep(0)
        yield
        service.cancel()


@pytest.fixture
async def vault(bus: Bus, tmp_path: Path) -> AsyncIterator[Vault]:
    made = Vault(bus, tmp_path / "keys" / "secrets.key")
    async with serving(bus, SecretsConfig(made.keys, identified=True, sweep_every=0.1)):
        await bus.request(subjects.request("secrets", "key"), AskKey(), SealingKey)
        yield made


async def stored(bus: Bus) -> bytes:
    return b"".join(entry.value for entry in (await Bucket(bus, "secrets").all()).values())


async def test_a_secret_is_listed_by_name_and_lies_locked(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.set("ANOTHER")
    assert await vault.names() == ["ANOTHER", "TOKEN"]
    assert await vault.names("bob") == []
    assert VALUE not in await stored(vault.bus)
    assert vault.keys.stat().st_mode & 0o777 == 0o600


async def test_the_worker_of_the_current_attempt_gets_it_sealed_for_its_key(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.join("ant")
    await vault.grant("ant")
    assert await vault.open("ant") == VALUE


@pytest.mark.parametrize(
    ("worker", "changes"),
    [
        pytest.param("bee", {}, id="another worker of the pool"),
        pytest.param("ant", {"attempt": 2}, id="another attempt"),
        pytest.param("ant", {"nonce": "n2"}, id="another nonce"),
        pytest.param("ant", {"name": "OTHER"}, id="a secret that the job does not name"),
        pytest.param("ant", {"job": "*"}, id="a job that is a wildcard"),
    ],
)
async def test_nobody_else_gets_it(vault: Vault, worker: str, changes: dict[str, object]) -> None:
    for name in ("TOKEN", "OTHER"):
        await vault.set(name)
    for name in ("ant", "bee"):
        await vault.join(name)
    await vault.grant("ant")
    with pytest.raises(Refused) as refused:
        await vault.open(worker, **changes)
    assert refused.value.problem.status in (403, 404)


async def test_a_superseded_attempt_gets_nothing(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.join("ant")
    first = await vault.grant("ant")
    await vault.grant("ant", 2, first)
    with pytest.raises(Refused, match="superseded"):
        await vault.open("ant")
    assert await vault.open("ant", attempt=2, nonce="n2") == VALUE


async def test_a_worker_that_was_thrown_out_or_never_joined_gets_nothing(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.grant("ant")
    with pytest.raises(Refused, match="no worker of this Stoker"):
        await vault.open("ant")
    await vault.join("ant", revoked_at=5.0)
    with pytest.raises(Refused, match="no worker of this Stoker"):
        await vault.open("ant")


async def test_without_identities_it_is_sealed_for_the_requests_key(
    bus: Bus, tmp_path: Path
) -> None:
    vault = Vault(bus, tmp_path / "secrets.key")
    async with serving(bus, SecretsConfig(vault.keys)):
        await vault.set("TOKEN")
        await vault.grant("ant")
        assert await vault.open("ant") == VALUE


async def test_a_removed_secret_is_told_as_one(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.join("ant")
    await vault.grant("ant")
    await vault.ask("remove", RemoveSecret(owner="ann", name="TOKEN"))
    with pytest.raises(Refused, match="no secret TOKEN any more") as refused:
        await vault.open("ant")
    assert refused.value.problem.code == "no_such_secret"
    await vault.ask("remove", RemoveSecret(owner="ann", name="TOKEN"))


async def test_who_is_no_user_any_more_leaves_no_secret(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.set("TOKEN", owner="bob")
    await vault.ask("forget", ForgetSecrets(owner="ann"))
    assert (await vault.names(), await vault.names("bob")) == ([], ["TOKEN"])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        pytest.param("A-B", b"x", "no name", id="a bad name"),
        pytest.param("A.B", b"x", "no name", id="a name of two tokens"),
        pytest.param("*", b"x", "no name", id="a wildcard"),
        pytest.param("A", b"", "no byte", id="nothing"),
        pytest.param("A", bytes(VALUE_BYTES + 1), "at most", id="too much"),
    ],
)
async def test_what_cannot_be_kept_is_refused(
    vault: Vault, name: str, value: bytes, words: str
) -> None:
    with pytest.raises(Refused, match=words):
        await vault.set(name, value)
    assert await vault.names() == []


async def test_a_value_that_was_sealed_for_something_else_is_refused(vault: Vault) -> None:
    key = await vault.bus.request(subjects.request("secrets", "key"), AskKey(), SealingKey)
    told = SecretValue(owner="bob", name="TOKEN", value=VALUE)
    for sealed in (seal(key.key, encode(told)[0]), seal(new_pair()[1], encode(told)[0]), b"x"):
        with pytest.raises(Refused, match="not sealed"):
            await vault.ask("set", SetSecret(owner="ann", name="TOKEN", sealed=sealed))


async def test_nobody_has_more_than_some_hundred(vault: Vault) -> None:
    for number in range(SECRETS_MOST):
        await vault.set(f"S{number}", b"value")
    with pytest.raises(Refused, match="remove one first"):
        await vault.set("ONE_MORE")
    await vault.set("S7", b"another value")


async def test_what_lies_under_another_name_cannot_be_read(vault: Vault) -> None:
    await vault.set("OTHER")
    await vault.join("ant")
    await vault.grant("ant")
    bucket = Bucket(vault.bus, "secrets")
    (key, entry), *_ = (await bucket.all(below="value")).items()
    await bucket.put(key.replace("OTHER", "TOKEN"), entry.value)
    with pytest.raises(Refused, match="cannot be read"):
        await vault.open("ant")


async def test_a_new_key_locks_everything_without_a_restart(vault: Vault) -> None:
    await vault.set("TOKEN")
    await vault.join("ant")
    await vault.grant("ant")
    assert add_key(vault.keys) == 2
    await until_locked_by(vault.bus, 2)
    assert await vault.open("ant") == VALUE
    write_keys(vault.keys, {2: read_keys(vault.keys)[2]})
    assert await vault.open("ant") == VALUE


async def until_locked_by(bus: Bus, version: int) -> None:
    async with asyncio.timeout(PATIENCE):
        stream = follow(bus, "KV_secrets", "$KV.secrets.value.>")
        async with contextlib.aclosing(stream) as deliveries:
            async for delivery in deliveries:
                if decode(KeptSecret, delivery.data, None).version == version:
                    return


async def test_another_file_of_keys_is_refused_at_the_start(vault: Vault, tmp_path: Path) -> None:
    await vault.set("TOKEN")
    other = tmp_path / "other.key"
    with pytest.raises(KeyFileError, match="there is no"):
        await run(vault.bus, SecretsConfig(other))
    write_keys(other, {1: bytes(32)})
    with pytest.raises(KeyFileError, match="is not the file"):
        await run(vault.bus, SecretsConfig(other))
    other.write_text("{}")
    with pytest.raises(KeyFileError, match="no file of keys"):
        await run(vault.bus, SecretsConfig(other))


async def test_a_file_that_becomes_another_changes_nothing(
    vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    await vault.set("TOKEN")
    await vault.join("ant")
    await vault.grant("ant")
    kept = read_keys(vault.keys)
    for broken in ("?", None):
        write_keys(vault.keys, {1: bytes(32)}) if broken is None else vault.keys.write_text(broken)
        await vault.set("TOKEN", b"another value")
        assert await vault.open("ant") == b"another value"
        assert "the keys stay" in caplog.text
        caplog.clear()
    write_keys(vault.keys, kept)
    assert await vault.open("ant") == b"another value"


async def test_replicas_share_one_file(vault: Vault) -> None:
    async with serving(vault.bus, SecretsConfig(vault.keys, identified=True)):
        await vault.join("ant")
        await vault.grant("ant")
        for number in range(10):
            await vault.set("TOKEN", b"value %d" % number)
            assert await vault.open("ant") == b"value %d" % number
