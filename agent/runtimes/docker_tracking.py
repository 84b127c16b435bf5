"""How does a container reach its agent's tracking, though it may have no network? Blocking.

Through its own loopback, into which an agent that is root puts the listening socket. Where that
cannot be (the agent is not root, or in a container itself; the container has a kernel of its own),
its runs of MLflow go into a folder of its outputs.
"""

from __future__ import annotations

import socket

from agent.folder import AttemptFolder
from agent.mlflow.address import tracking_variables
from agent.mlflow.listening import PORT, listen_in, may_enter
from agent.runtimes.docker_engine import Engine
from schemas.worker import Grant


class ContainerTracking:
    """Of one docker runtime."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._possible = False

    def look(self, *, same_kernel: bool, in_container: bool) -> None:
        """``in_container``: the agent is, and sees processes of its own container alone."""
        self._possible = same_kernel and not in_container and may_enter()

    def variables(self, grant: Grant, outputs: str) -> dict[str, str]:
        return tracking_variables(grant, PORT if self._possible else None, outputs)

    def port(self, grant: Grant) -> int | None:
        """None where the agent does not listen for that attempt."""
        return PORT if self._possible and self.variables(grant, "/") else None

    def listen(self, folder: AttemptFolder, port: int) -> socket.socket:
        """Raises ``OSError`` and ``EngineError``."""
        started = folder.started()
        if started is None:
            raise OSError("the container has not started")
        pid = self._pid(started["identity"])
        made = listen_in(pid, port)
        try:
            if self._pid(started["identity"]) != pid:
                raise OSError("the container has ended")
        except BaseException:
            # The number may be another process's by now.
            made.close()
            raise
        return made

    def _pid(self, container: str) -> int:
        pid = int(self._engine.container_state(container).get("Pid") or 0)
        if not pid:
            raise OSError("the container does not run")
        return pid
