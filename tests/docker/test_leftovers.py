"""Does an agent remove from its engine what it made and nobody needs, and nothing else?"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.folder import AttemptFolder, Note
from agent.runtimes.docker_container import OWNER, owner_of
from agent.runtimes.docker_engine import Engine, EngineError
from agent.runtimes.docker_leftovers import ENVIRONMENT, REPOSITORY, Leftovers
from agent.surplus import DAY, Rule

from .conftest import BASE, Bundle

pytestmark = pytest.mark.docker

A_LOT = 1 << 50
"""Bytes: all that may go goes."""


class Shelf:
    """Containers and images as agents, and others, make them."""

    def __init__(self, engine: Engine, work: Path) -> None:
        self.engine = engine
        self.work = work
        self.containers: list[str] = []
        self.images: list[str] = []

    def container(self, labels: dict[str, str], command: str = "true") -> str:
        body = {"Image": BASE, "Cmd": ["sh", "-c", command], "Labels": labels}
        made: str = self.engine.call("POST", "/containers/create", None, body)["Id"]
        self.containers.append(made)
        self.engine.call("POST", f"/containers/{made}/start")
        if command == "true":
            self.engine.call("POST", f"/containers/{made}/wait")
        return made

    def attempt(self, name: str, *, over: bool, owner: str, command: str = "true") -> str:
        folder = AttemptFolder(self.work / "attempts" / name)
        folder.path.mkdir(parents=True)
        folder.add_note(Note.GRANT, b"")
        if over:
            folder.add_note(Note.EXIT, b"x")
        labels = {"stoker.worker": "tester", "stoker.folder": str(folder.path), OWNER: owner}
        return self.container(labels, command)

    def image(self, owner: str, also: str = "") -> str:
        """Of the base image and a label: a key, where ``also`` names none beside it."""
        key = uuid.uuid4().hex
        holder = self.engine.call("POST", "/containers/create", None, {"Image": BASE})["Id"]
        changes = [f"LABEL {ENVIRONMENT}={key}", *([f"LABEL {OWNER}={owner}"] if owner else [])]
        query = {"container": holder, "repo": REPOSITORY, "tag": key, "changes": "\n".join(changes)}
        made: str = self.engine.call("POST", "/commit", query, {})["Id"]
        self.engine.remove(holder)
        self.images.append(made)
        if also:
            self.engine.call("POST", f"/images/{made}/tag", {"repo": also, "tag": "1"})
        return made

    def nameless(self) -> str:
        """As a step of a build leaves it."""
        holder = self.engine.call("POST", "/containers/create", None, {"Image": BASE})["Id"]
        query = {"container": holder, "changes": f"LABEL x={uuid.uuid4().hex}"}
        made: str = self.engine.call("POST", "/commit", query, {})["Id"]
        self.engine.remove(holder)
        self.images.append(made)
        return made

    def has_container(self, container: str) -> bool:
        try:
            self.engine.container_state(container)
        except EngineError as error:
            return error.status != 404
        return True

    def has_image(self, image: str) -> bool:
        return self.engine.image(image) is not None

    def key(self, image: str) -> str:
        found: dict[str, Any] = self.engine.image(image) or {}
        return str(found["Config"]["Labels"][ENVIRONMENT])


@pytest.fixture
def shelf(engine: Engine, tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(engine, tmp_path)
    yield made
    for container in made.containers:
        engine.remove(container)
    for image in made.images:
        if made.has_image(image):
            engine.call("DELETE", f"/images/{image}", {"force": 1})


@pytest.fixture
def leftovers(engine: Engine, tmp_path: Path) -> Leftovers:
    rule = Rule(kept=2, spared=0.0)
    return Leftovers(engine, "tester", tmp_path, rule)


def test_containers_of_attempts_that_are_over_go(
    shelf: Shelf, leftovers: Leftovers, tmp_path: Path
) -> None:
    own = owner_of("tester", tmp_path)
    over = shelf.attempt("over.1", over=True, owner=own)
    live = shelf.attempt("live.1", over=False, owner=own, command="sleep 60")
    nobodys = shelf.attempt("gone.1", over=False, owner=own, command="sleep 60")
    stopped = shelf.attempt("stop.1", over=False, owner=own)
    for name in ("gone.1", "stop.1"):
        (tmp_path / "attempts" / name).rename(tmp_path / name)
    leftovers.clean(0)
    there = [shelf.has_container(one) for one in (over, live, nobodys, stopped)]
    assert there == [True, True, False, False]
    leftovers.clean(1)
    assert [shelf.has_container(one) for one in (over, live)] == [False, True]


def test_what_others_made_is_left_alone(shelf: Shelf, leftovers: Leftovers, tmp_path: Path) -> None:
    strangers = [
        shelf.container({}),
        shelf.container({"stoker.worker": "tester"}),
        shelf.attempt("a.1", over=True, owner=owner_of("tester", Path("/elsewhere"))),
        shelf.attempt("b.1", over=True, owner=owner_of("another", tmp_path)),
    ]
    images = [shelf.image(""), shelf.image(owner_of("tester", Path("/elsewhere")))]
    images += [shelf.image(owner_of("another", tmp_path))]
    named = shelf.image(owner_of("tester", tmp_path), also="somebodys-own")
    leftovers.clean(A_LOT)
    assert all(shelf.has_container(one) for one in strangers)
    assert all(shelf.has_image(one) for one in (*images, named))
    assert shelf.has_image(BASE)


def test_the_longest_unused_images_go(shelf: Shelf, leftovers: Leftovers, tmp_path: Path) -> None:
    own = owner_of("tester", tmp_path)
    first, second, third = (shelf.image(own) for _ in range(3))
    for image, days in ((first, 1), (second, 3), (third, 2)):
        leftovers.used(shelf.key(image))
        at = time.time() - days * DAY
        os.utime(tmp_path / "images" / shelf.key(image), (at, at))
    assert leftovers.clean(0) == 1
    assert [shelf.has_image(one) for one in (first, second, third)] == [True, False, True]


def test_an_image_that_a_container_uses_stays(
    shelf: Shelf, leftovers: Leftovers, tmp_path: Path
) -> None:
    image = shelf.image(owner_of("tester", tmp_path))
    body = {"Image": image, "Cmd": ["true"]}
    shelf.containers.append(shelf.engine.call("POST", "/containers/create", None, body)["Id"])
    leftovers.clean(A_LOT)
    assert shelf.has_image(image)


def test_what_a_build_left_whose_agent_died_goes(shelf: Shelf, leftovers: Leftovers) -> None:
    layer, tagged = shelf.nameless(), shelf.image("")
    leftovers.building("k1", layer[7:19])
    leftovers.building("k2", tagged[7:19])
    leftovers.drop_unfinished()
    assert [shelf.has_image(layer), shelf.has_image(tagged)] == [False, True]
    leftovers.drop_unfinished()


async def test_what_a_runtime_makes_carries_its_mark(
    bundle: Bundle, engine: Engine, tmp_path: Path
) -> None:
    files = {"main.py": "print(1)", "requirements.txt": f"# {uuid.uuid4()}\nsix\n"}
    attempt = bundle(files)
    assert (await attempt.run()).code == 0
    filters = json.dumps({"label": [f"{OWNER}={owner_of('tester', tmp_path)}"]})
    made = await asyncio.to_thread(engine.call, "GET", "/images/json", {"filters": filters})
    assert len(made) == 1
    assert os.listdir(tmp_path / "images") == [made[0]["Labels"][ENVIRONMENT]]
