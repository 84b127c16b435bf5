"""Which containers and images of the engine are this agent's, and which of them go? Blocking.

Every container and image that an agent makes carries its name and its work directory. What carries
another's, or nothing, is never touched: not even an agent's of the same name elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.folder import AttemptFolder
from agent.runtimes.docker_container import INSTALLS, OWNER, owner_of
from agent.runtimes.docker_engine import Engine, EngineError
from agent.surplus import HOUR, Rule, Thing, going

log = logging.getLogger(__name__)

REPOSITORY = "stoker-env"
ENVIRONMENT = "stoker.environment"
SHIMS = "stoker.shims"
UNFINISHED = ".layer"
LOADED = ".loaded"
"""Of an image that another worker made and this one loaded: it carries that one's name."""
CONFLICT, MISSING = 409, 404


@dataclass(frozen=True, slots=True)
class Container:
    """What is known of one of this agent's."""

    id: str
    running: bool
    quiet_since: float
    """Unix seconds of its end, or of its making where it never ran."""
    live: bool
    """Its attempt is not over."""
    forgotten: bool = False
    """Its attempt's folder is gone: all that it printed is stored."""


def dead(containers: Iterable[Container], now: float, short: bool) -> list[Container]:
    """Those that go: what nobody waits for at once, what has ended after an hour. Pure."""
    return [
        one
        for one in containers
        if not one.live and (one.running or one.forgotten or short or now - one.quiet_since > HOUR)
    ]


class Leftovers:
    """Of one agent in its engine. Last uses of images are the times of files in ``images/``."""

    def __init__(
        self, engine: Engine, worker: str, work: Path, rule: Rule, registry: str = ""
    ) -> None:
        """``registry``: under whose names images stand for a moment while they are pushed."""
        self._repositories = (f"{REPOSITORY}:", *([f"{registry}/"] if registry else []))
        self._engine = engine
        self._worker = worker
        self.work = work
        self.owner = owner_of(worker, work)
        self._uses = work / "images"
        self._rule = rule

    def used(self, key: str) -> None:
        """Notes that an environment is used now, whoever made it."""
        with contextlib.suppress(OSError):
            self._uses.mkdir(mode=0o755, exist_ok=True)
            (self._uses / key).touch()

    def loaded(self, key: str) -> None:
        """Notes that this agent brought an image of another's making here."""
        with contextlib.suppress(OSError):
            self._uses.mkdir(mode=0o755, exist_ok=True)
            (self._uses / f"{key}{LOADED}").touch()

    def building(self, key: str, layer: str) -> None:
        """Notes how far a build has come, for an agent that finds it cut off."""
        with contextlib.suppress(OSError):
            self._uses.mkdir(mode=0o755, exist_ok=True)
            (self._uses / f"{key}{UNFINISHED}").write_text(layer)

    def built(self, key: str, layer: str) -> None:
        """The build is over. ``layer``: its last one, where no image came of it."""
        if layer:
            remove_nameless(self._engine, layer)
        (self._uses / f"{key}{UNFINISHED}").unlink(missing_ok=True)

    def drop_unfinished(self) -> None:
        """What builds left whose agent died. Called before there are new ones."""
        for container in self._mine(f"{INSTALLS}={self.owner}"):
            self._engine.remove(container["Id"])
        for note in self._uses.glob(f"*{UNFINISHED}"):
            self.built(note.name.removesuffix(UNFINISHED), note.read_text())

    def clean(self, wanted: int) -> int:
        """How many containers and images were removed. Raises ``EngineError``."""
        now = time.time()
        gone = dead(self._containers(), now, wanted > 0)
        for container in gone:
            log.info("removing container %s: its attempt is over", container.id[:12])
            self._engine.remove(container.id)
        images = going(self._images(), self._rule, now, wanted)
        removed = [one for one in images if self._remove_image(one)]
        self._forget(now)
        return len(gone) + len(removed)

    def _containers(self) -> list[Container]:
        found = [self._container(one) for one in self._mine(f"stoker.worker={self._worker}")]
        found += [self._container(one) for one in self._mine(f"{SHIMS}={self._worker}")]
        return [one for one in found if one is not None]

    def _mine(self, label: str) -> list[dict[str, Any]]:
        query: dict[str, str | int] = {
            "all": 1,
            "filters": json.dumps({"label": [label, f"{OWNER}={self.owner}"]}),
        }
        found: list[dict[str, Any]] = self._engine.call("GET", "/containers/json", query)
        return found

    def _container(self, told: dict[str, Any]) -> Container | None:
        try:
            state = self._engine.container_state(told["Id"])
        except EngineError as error:
            if error.status == MISSING:
                return None
            raise
        running = bool(state["Running"])
        folder = told["Labels"].get("stoker.folder")
        live = running if folder is None else is_live(AttemptFolder(Path(folder)))
        forgotten = folder is not None and not os.path.exists(folder)
        ended = seconds_of(state.get("FinishedAt", "")) or float(told["Created"])
        return Container(told["Id"], running, ended, live, forgotten)

    def _images(self) -> list[Thing]:
        query = {"filters": json.dumps({"label": [ENVIRONMENT]})}
        found: list[dict[str, Any]] = self._engine.call("GET", "/images/json", query)
        return [
            Thing(one["Id"], self._used_at(one), one["Size"])
            for one in found
            if self._is_ours(one["Labels"]) and self._ours_alone(one)
        ]

    def _is_ours(self, labels: dict[str, str]) -> bool:
        if labels.get(OWNER) == self.owner:
            return True
        return (self._uses / f"{labels[ENVIRONMENT]}{LOADED}").exists()

    def _ours_alone(self, image: dict[str, Any]) -> bool:
        """Nobody gave it a name of their own."""
        return all(name.startswith(self._repositories) for name in image.get("RepoTags") or ())

    def _used_at(self, image: dict[str, Any]) -> float:
        try:
            return os.stat(self._uses / image["Labels"][ENVIRONMENT]).st_mtime
        except OSError:
            return float(image["Created"])

    def _remove_image(self, image: Thing) -> bool:
        """Not what a container uses, nor what somebody built upon: the engine refuses."""
        try:
            told = self._engine.image(image.name) or {}
            for name in told.get("RepoTags") or [image.name]:
                self._engine.call("DELETE", f"/images/{name}")
        except EngineError as error:
            if error.status not in (MISSING, CONFLICT):
                raise
            return False
        log.info("removing image %s: not used for the longest time", image.name[:19])
        return True

    def _forget(self, now: float) -> None:
        """Uses that are older than any image that would have been kept for them."""
        with contextlib.suppress(FileNotFoundError):
            for use in self._uses.iterdir():
                own = self._uses / use.name.removesuffix(LOADED)
                used_at = max(one.lstat().st_mtime for one in (use, own) if one.exists())
                if now - used_at > 2 * self._rule.unused:
                    use.unlink(missing_ok=True)


def remove_nameless(engine: Engine, layer: str) -> None:
    """What a build without an image leaves behind: it may hold a copy of a whole bundle."""
    with contextlib.suppress(EngineError):
        found = engine.image(layer)
        if found is not None and not found.get("RepoTags") and not found.get("RepoDigests"):
            engine.call("DELETE", f"/images/{layer}")


def is_live(folder: AttemptFolder) -> bool:
    """Its program may run, or its shim has not done with it."""
    return folder.path.exists() and (folder.exit() is None or folder.shim_lives())


def seconds_of(text: str) -> float:
    """Of the engine's time; 0 for its year 1, which stands for never."""
    try:
        at = datetime.fromisoformat(text[:19] + "+00:00").timestamp()
    except ValueError:
        return 0.0
    return max(0.0, at)
