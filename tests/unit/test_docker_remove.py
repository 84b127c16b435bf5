"""Is a container removed whose engine is being restarted at that moment?"""

from __future__ import annotations

import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from agent.runtimes import docker_launch
from agent.runtimes.docker_engine import Engine

PAUSE = 0.3
"""Seconds for which the engine is away."""


class Removals(BaseHTTPRequestHandler):
    seen: list[str]

    def do_DELETE(self) -> None:
        self.seen.append(self.path)
        self.send_response(204)
        self.end_headers()

    def address_string(self) -> str:
        return "a socket"

    def log_message(self, *_: object) -> None:
        pass


class Silent(Removals):
    def handle(self) -> None:
        """Takes the connection and says nothing, as an engine does that dies."""


@pytest.mark.parametrize("before", [None, Silent])
def test_an_engine_that_comes_back_is_asked_again(
    tmp_path: Path, before: type[Removals] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_launch, "REMOVE_AGAIN", 0.05)
    seen: list[str] = []
    path = str(tmp_path / "engine")
    servers: list[socketserver.BaseServer] = []

    def serve(handler: type[Removals]) -> None:
        Path(path).unlink(missing_ok=True)
        server = socketserver.ThreadingUnixStreamServer(path, type("H", (handler,), {"seen": seen}))
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    if before is not None:
        serve(before)
    timer = threading.Timer(PAUSE, serve, (Removals,))
    timer.start()
    docker_launch.remove(Engine(path), "stoker-job-1")
    timer.join()
    for server in servers:
        server.shutdown()
        server.server_close()
    assert [one.partition("?")[0] for one in seen] == ["/containers/stoker-job-1"]


def test_an_engine_that_does_not_come_back_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_launch, "REMOVE_AGAIN", 0.01)
    monkeypatch.setattr(docker_launch, "REMOVE_SECONDS", 0.05)
    docker_launch.remove(Engine(str(tmp_path / "nobody")), "stoker-job-1")
