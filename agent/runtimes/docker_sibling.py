"""Where do shims live when the agent itself runs in a container?

In a sibling: a container of their own from the agent's image, with the engine's socket and the work
directory at the same paths. It outlives the agent's container for as long as a job runs, so that an
agent can be replaced by a newer one in the middle of a job.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.runtimes.docker_cgroup import ROOT as CGROUPS
from agent.runtimes.docker_container import OWNER, owner_of
from agent.runtimes.docker_engine import Engine, EngineError, Link
from agent.runtimes.docker_threads import Threads
from agent.runtimes.shim_runtime import HostProcess, host_command

MARK = Path("/.dockerenv")
MOUNTS = Path("/proc/self/mountinfo")
OWN_ID = re.compile(r"/containers/([0-9a-f]{64})/")


@dataclass(frozen=True, slots=True)
class Own:
    """The container that the agent runs in."""

    image: str
    mounts: dict[str, str]
    """Path inside to path on the machine."""

    def outside(self, path: str) -> str | None:
        """Where ``path`` lies on the machine; None where it is inside the container alone."""
        for inside, outside in sorted(self.mounts.items(), reverse=True):
            if path == inside or path.startswith(inside.rstrip("/") + "/"):
                return outside + path[len(inside) :]
        return None


def own_container(engine: Engine) -> Own | None:
    """None where the agent runs on the machine itself. Raises ``EngineError``."""
    if not MARK.exists():
        return None
    found = OWN_ID.search(MOUNTS.read_text())
    if found is None:
        return None
    told = engine.call("GET", f"/containers/{found[1]}/json")
    mounts = {mount["Destination"]: mount["Source"] for mount in told["Mounts"]}
    return Own(told["Image"], mounts)


def misplaced(own: Own, work: Path, socket: str) -> str | None:
    """Why jobs could not see their files: the engine knows the machine's paths, not ours."""
    if own.outside(str(work)) != str(work):
        return (
            f"the agent runs in a container, and its work directory {work} is not mounted from"
            " the same path of the machine"
        )
    if own.outside(socket) is None:
        return f"the agent runs in a container, and {socket} is not mounted into it"
    return None


class SiblingHosts:
    """Starts shim hosts beside the agent's container."""

    def __init__(self, engine: Engine, threads: Threads, own: Own, worker: str, work: Path) -> None:
        self._engine = engine
        self._threads = threads
        self._own = own
        self._worker = worker
        self._work = work

    async def start(self, fifo: Path, runtime: str) -> HostProcess:
        return await self._threads.run(self._begin, host_command(fifo, runtime))

    def _begin(self, command: list[str]) -> HostProcess:
        query = {"name": f"stoker-shims-{uuid.uuid4().hex[:12]}"}
        created = self._engine.call("POST", "/containers/create", query, self._settings(command))
        path = f"/containers/{created['Id']}"
        waiting = self._engine.link()
        try:
            waiting.send_request("POST", f"{path}/wait", {"condition": "next-exit"})
            waiting.answer()
            self._engine.call("POST", f"{path}/start")
        except BaseException:
            waiting.close()
            with contextlib.suppress(EngineError):
                self._engine.remove(created["Id"])
            raise
        return SiblingHost(waiting)

    def _settings(self, command: list[str]) -> dict[str, Any]:
        socket = self._own.outside(self._engine.path)
        return {
            "Image": self._own.image,
            "Entrypoint": command,
            "User": f"{os.getuid()}:{os.getgid()}",
            "Labels": {
                "stoker.shims": self._worker,
                OWNER: owner_of(self._worker, self._work),
            },
            "Healthcheck": {"Test": ["NONE"]},
            "NetworkDisabled": True,
            "HostConfig": {
                "AutoRemove": True,
                "NetworkMode": "none",
                "ReadonlyRootfs": True,
                "CapDrop": ["ALL"],
                "SecurityOpt": ["no-new-privileges"],
                "GroupAdd": [str(group) for group in os.getgroups()],
                "Binds": [
                    f"{self._work}:{self._work}",
                    f"{socket}:{self._engine.path}",
                    # To read what jobs' containers use; its own view shows itself alone.
                    f"{CGROUPS}:{CGROUPS}:ro",
                ],
                "LogConfig": {"Type": "none"},
            },
        }


class SiblingHost:
    """A shim host in a container; its end is heard on the connection that waits for it."""

    def __init__(self, waiting: Link) -> None:
        self._waiting = waiting

    def alive(self) -> bool:
        return not select.select([self._waiting.sock], [], [], 0)[0]
