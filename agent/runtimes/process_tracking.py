"""At which port of this machine does a plain process find its agent's tracking?

Its number has to stand in the environment before the program starts: so the socket listens from
then on, and who connects early waits for the agent to accept.
"""

from __future__ import annotations

import logging
import socket

from agent.mlflow.address import tracking_variables
from agent.mlflow.listening import listen_here
from schemas.worker import Grant

log = logging.getLogger(__name__)


class Reserved:
    """Listening sockets of attempts whose tracking has not begun."""

    def __init__(self) -> None:
        self._sockets: dict[str, socket.socket] = {}

    def reserve(
        self, attempt: str, grant: Grant, outputs: str
    ) -> tuple[int | None, dict[str, str]]:
        """The port, and what the program finds in its environment."""
        if not tracking_variables(grant, 0, outputs):
            return None, {}
        self.drop(attempt)
        try:
            made = self._sockets[attempt] = listen_here()
        except OSError as error:
            log.warning("%s tracks into a folder: %s", attempt, error)
            return None, tracking_variables(grant, None, outputs)
        port: int = made.getsockname()[1]
        return port, tracking_variables(grant, port, outputs)

    def take(self, attempt: str, port: int) -> socket.socket:
        """Anew where an agent before this one had it. Raises ``OSError``."""
        return self._sockets.pop(attempt, None) or listen_here(port)

    def drop(self, attempt: str) -> None:
        made = self._sockets.pop(attempt, None)
        if made is not None:
            made.close()

    def close(self) -> None:
        for attempt in list(self._sockets):
            self.drop(attempt)
