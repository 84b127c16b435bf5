"""An image from a registry is named by its digest, and by that it is the same for ever."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.runtimes import docker_registry
from agent.runtimes.protocol import CannotPrepare
from schemas.reason import Reason
from schemas.stream import Stream

from .conftest import BASE, Bundle
from .registry_tools import NOT_HERE, Registry, docker, free_address

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(NOT_HERE, reason="docker-registry and the docker command are not here"),
]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Where it listens."""
    made = Registry(tmp_path / "registry", free_address("127.0.0.1"))
    made.start()
    yield made.address
    made.stop()


class Pushed:
    """A repository whose tag ``1`` is moved from one image to another."""

    def __init__(self, registry: str) -> None:
        self.repository = f"{registry}/base-{uuid.uuid4().hex[:8]}"
        self.name = f"{self.repository}:1"
        self._made: list[str] = []

    def push(self, label: str) -> str:
        """The digest that the registry gives it; nothing of it stays at the engine."""
        container = docker("create", BASE, "true")
        image = docker("commit", "--change", f"LABEL tested={label}", container)
        docker("rm", container)
        docker("tag", image, self.name)
        told = docker("push", self.name)
        docker("rmi", self.name)
        return next(word for word in told.split() if word.startswith("sha256:"))

    def forget(self) -> None:
        found = docker("images", "-q", "--no-trunc", self.repository).split()
        for image in set(found):
            subprocess.run(["docker", "rmi", "-f", image], capture_output=True, timeout=60)


@pytest.fixture
def pushed(registry: str) -> Iterator[Pushed]:
    made = Pushed(registry)
    yield made
    made.forget()


async def test_a_job_names_its_image_by_digest_and_runs_again_on_the_same_one(
    bundle: Bundle, pushed: Pushed
) -> None:
    first = pushed.push("first")
    by_tag = bundle({"main.py": "print(1)"}, image=pushed.name)
    assert (await by_tag.run()).code == 0
    environment = (await by_tag.prepare()).environment
    assert environment.digest == first
    pushed.forget()
    assert pushed.push("second") != first
    by_digest = bundle({"main.py": "print(2)"}, image=f"{pushed.repository}@{first}")
    again = (await by_digest.prepare()).environment
    assert (again.digest, again.image) == (first, environment.image)
    assert (await by_digest.run()).code == 0


async def test_a_registry_that_is_down_is_asked_again_and_then_the_reason(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_registry, "PAUSES", (0.1, 0.1))
    gone = free_address("127.0.0.1")
    attempt = bundle({"main.py": "print(1)"}, image=f"{gone}/base:1")
    with pytest.raises(CannotPrepare) as caught:
        await attempt.prepare()
    assert caught.value.reason is Reason.IMAGE_UNAVAILABLE
    assert "connection refused" in str(caught.value)
    said = attempt.text(Stream.STOKER)
    assert said.count(f"{gone} does not answer: ") == 2
    assert "asking again in 0.1 s" in said
