"""Workers that share environments through a registry with TLS and a password."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.runtimes import docker_registry
from agent.runtimes.bases import Bases
from agent.runtimes.docker_container import owner_of
from agent.runtimes.docker_engine import Engine
from agent.runtimes.docker_images import BuildLimits, image_name
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import CannotPrepare, Preparation
from bus.connection import Bus
from schemas.environments import EnvironmentEntry, Phase
from schemas.reason import Reason
from schemas.stream import Stream
from services.environments.config import EnvironmentsConfig
from services.environments.service import run
from services.environments.shelf import Shelf

from .conftest import BASE, PATIENCE, Attempt, Bundle, remove_images
from .registry_tools import (
    CANNOT_TRUST,
    PASSWORD,
    TRUSTED,
    USER,
    Registry,
    docker,
    guarded_registry,
    logins,
)
from .test_shared_environments import TEMPLATE, Machine, ran

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(CANNOT_TRUST, reason="no docker-registry that the engine could trust"),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with guarded_registry(tmp_path / "registry") as made:
        yield made


class Pool:
    """Makes workers that know the registry, and one that does not know the password."""

    def __init__(self, bus: Bus, folder: Path, registry: Registry) -> None:
        self.registry = registry
        self._bus = bus
        self._folder = folder
        self._template = folder / "install.sh"
        self._template.write_text(TEMPLATE.format(mark=uuid.uuid4()))
        self.stack = contextlib.AsyncExitStack()

    async def join(self, name: str, password: str | None = None) -> Machine:
        work = self._folder / name
        work.mkdir()
        given = {} if password is None else {"password": password}
        config = DockerConfig(
            bases=Bases(image=BASE, template=self._template),
            builds=BuildLimits(seconds=PATIENCE),
            registry=f"{self.registry.address}/environments",
            registry_credentials=logins(work / "logins", self.registry.address, **given),
        )
        runtime = DockerRuntime(work, name, config)
        await runtime.open()
        self.stack.push_async_callback(runtime.close)
        self.stack.push_async_callback(asyncio.to_thread, remove_images, owner_of(name, work))
        await self.stack.enter_async_context(runtime.shared(self._bus))
        return Machine(name, runtime, work, self._bus)

    async def shared(self, key: str, number: int) -> EnvironmentEntry:
        async with asyncio.timeout(PATIENCE):
            while True:
                entry = await Shelf(self._bus).entry("default", key)
                if entry and entry.phase is Phase.READY and entry.number == number:
                    return entry
                await asyncio.sleep(0.1)


@pytest.fixture
async def pool(bus: Bus, tmp_path: Path, registry: Registry) -> AsyncIterator[Pool]:
    serving = asyncio.ensure_future(run(bus, EnvironmentsConfig(nudge_every=0.5)))
    made = Pool(bus, tmp_path, registry)
    async with made.stack:
        yield made
    serving.cancel()
    await asyncio.wait([serving])


def names(engine: Engine, key: str) -> list[str]:
    """All that the engine calls it."""
    found = engine.image(image_name(key)) or {}
    return [*(found.get("RepoTags") or ()), *(found.get("RepoDigests") or ())]


def remove(engine: Engine, key: str) -> None:
    engine.call("DELETE", f"/images/{image_name(key)}", {"force": 1})
    query = {"filters": json.dumps({"label": [f"stoker.environment={key}"]})}
    assert not engine.call("GET", "/images/json", query)


async def test_what_one_worker_pushes_another_pulls_and_builds_again_where_it_cannot(
    pool: Pool, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_registry, "PAUSES", (0.1, 0.1))
    one, two = await pool.join("m1"), await pool.join("m2")
    stranger = await pool.join("m3", password="another")
    first = await (await one.attempt("j1", {})).prepare()
    key = first.environment.key
    entry = await pool.shared(key, 1)
    assert entry.image is not None
    at = pool.registry.address
    assert entry.image.reference.startswith(f"{at}/environments/default@sha256:")
    assert await asyncio.to_thread(names, engine, key) == [image_name(key)]

    await asyncio.to_thread(remove, engine, key)
    attempt = await two.attempt("j2", {})
    prepared = await attempt.prepare()
    assert f"fetching it from {at}: m1 built it" in attempt.text(Stream.STOKER)
    assert prepared.environment.image == first.environment.image
    assert (await ran(attempt, prepared)).code == 0
    assert await asyncio.to_thread(names, engine, key) == [image_name(key)]
    await two.runtime.discard(attempt.folder)

    # What it cannot have it builds, and as it cannot push either, the others get it another way.
    await asyncio.to_thread(remove, engine, key)
    attempt = await stranger.attempt("j3", {})
    await attempt.prepare()
    said = attempt.text(Stream.STOKER)
    assert "what m1 shared cannot be used" in said
    assert "no basic auth credentials" in said or "unauthorized" in said
    entry = await pool.shared(key, 2)
    assert entry.image is not None
    assert (entry.worker, entry.image.reference) == ("m3", "")

    pool.registry.stop()
    await asyncio.to_thread(remove, engine, key)
    attempt = await two.attempt("j4", {})
    await attempt.prepare()
    assert "fetching it: m3 built it" in attempt.text(Stream.STOKER)
    # A build while the registry is away is shared through the object store.
    other = await (await one.attempt("j5", {"requirements.txt": "six\n# more\n"})).prepare()
    entry = await pool.shared(other.environment.key, 1)
    assert entry.image is not None
    assert entry.image.reference == ""
    assert await asyncio.to_thread(names, engine, other.environment.key) == [
        image_name(other.environment.key)
    ]


@pytest.fixture
def private(registry: Registry, tmp_path: Path) -> Iterator[str]:
    """A base image that is in the registry alone."""
    logins(tmp_path / "config.json", registry.address)
    name = f"{registry.address}/private:{uuid.uuid4().hex[:8]}"
    # An id of its own: nothing of it is here afterwards.
    container = docker("create", BASE, "true")
    docker("commit", "--change", f"LABEL tested={name}", container, name)
    docker("rm", container)
    docker("--config", str(tmp_path), "push", name)
    docker("rmi", name)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, timeout=60)


async def prepared_with(attempt: Attempt, login: str) -> str:
    """The image; the job's owner has this login at its registry."""
    async with asyncio.timeout(PATIENCE):
        preparation = Preparation(attempt.grant, attempt.folder, "tester", image_login=login)
        made = await attempt.runtime.prepare(preparation, attempt.hear)
    return made.environment.image or ""


async def test_an_image_that_was_had_by_an_owners_password_is_not_for_others(
    bundle: Bundle, private: str, registry: Registry, tmp_path: Path
) -> None:
    def job() -> Attempt:
        return bundle({"main.py": "print(1)"}, image=private, image_secret="LOGIN")

    async def refused(login: str) -> str:
        with pytest.raises(CannotPrepare) as caught:
            await prepared_with(job(), login)
        assert caught.value.reason is Reason.IMAGE_UNAVAILABLE
        assert PASSWORD not in str(caught.value)
        return str(caught.value)

    assert "cannot be pulled" in await refused("")
    assert "cannot be pulled" in await refused(f"{USER}:wrong")
    image = await prepared_with(job(), f"{USER}:{PASSWORD}\n")
    assert image.startswith("sha256:")
    # It is here now: whoever has no password is refused all the same.
    assert "its registry does not give it to this job" in await refused("")
    assert "its registry does not give it to this job" in await refused(f"{USER}:wrong")
    assert await prepared_with(job(), f"{USER}:{PASSWORD}") == image
    by_id = bundle({"main.py": "print(1)"}, image=image)
    with pytest.raises(CannotPrepare, match="does not give it to this job"):
        await by_id.prepare()
    # What was here by another name stays everybody's, whoever has a copy of it.
    copy = f"{registry.address}/private:copy"
    docker("tag", BASE, copy)
    docker("--config", str(tmp_path), "push", copy)
    docker("rmi", copy)
    copied = bundle({"main.py": "print(1)"}, image=copy, image_secret="LOGIN")
    await prepared_with(copied, f"{USER}:{PASSWORD}")
    await bundle({"main.py": "print(1)"}).prepare()
    docker("rmi", copy)
    with pytest.raises(CannotPrepare, match="secret LOGIN: a login is written USER:PASSWORD"):
        await prepared_with(job(), "nothing of the kind")
    (trusted := TRUSTED / registry.address / "ca.crt").unlink()
    assert f"certs.d/{registry.address}/ca.crt" in await refused(f"{USER}:{PASSWORD}")
    assert not trusted.exists()
