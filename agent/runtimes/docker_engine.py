"""How is the Docker engine spoken to? HTTP over its socket, with the standard library alone.

Shims use this module, and the agent does in threads: the SDK would cost them 10 MiB and 0.13 s,
and it cannot attach without a thread (docs/decisions/0005-the-engines-socket.md). Blocking.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

SOCKET = "/var/run/docker.sock"
ANSWER_SECONDS = 30.0
"""Longest wait for the answer of a plain call."""
READ_BYTES = 64 << 10
START_SECONDS = 120.0
"""Create and start under load: an engine answers late rather than never."""

Query = Mapping[str, str | int]
Body = bytes | Iterable[bytes] | Mapping[str, Any] | None


class EngineError(Exception):
    """The engine refused; the message is its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineSilent(EngineError):
    """The engine does not answer."""

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(0, f"the Docker engine at {path} does not answer: {error}")


class Link(http.client.HTTPConnection):
    """One connection to the engine; several calls may follow each other on it."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("docker", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def send_request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        more: Mapping[str, str] | None = None,
    ) -> None:
        """``more``: headers."""
        headers = dict(more or {})
        if isinstance(body, Mapping):
            body = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        elif body is not None:
            headers["Content-Type"] = "application/x-tar"
        if path.endswith("/attach"):
            headers |= {"Upgrade": "tcp", "Connection": "Upgrade"}
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            self.request(method, target, body, headers)
        except (OSError, http.client.HTTPException) as error:
            raise EngineSilent(self._path, error) from error

    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer to the last request; raises ``EngineError`` for a refusal."""
        try:
            response = self.getresponse()
            if response.status < 400:
                return response
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineSilent(self._path, error) from error
        raise EngineError(response.status, refusal(text))

    def call(self, method: str, path: str, query: Query | None = None, body: Body = None) -> Any:
        """The answer as plain values; None where it is empty."""
        self.send_request(method, path, query, body)
        response = self.answer()
        try:
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EngineSilent(self._path, error) from error
        return json.loads(text) if text.startswith((b"{", b"[")) else None

    def abort(self) -> None:
        """From any thread: whoever waits for an answer gets ``EngineSilent``."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class Engine:
    """Where an engine listens."""

    def __init__(self, path: str = SOCKET) -> None:
        self.path = path.removeprefix("unix://")

    def link(self, timeout: float = ANSWER_SECONDS) -> Link:
        return Link(self.path, timeout)

    def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: Body = None,
        timeout: float = ANSWER_SECONDS,
    ) -> Any:
        with contextlib.closing(self.link(timeout)) as link:
            return link.call(method, path, query, body)

    def container_state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = self.call("GET", f"/containers/{container}/json")["State"]
        return state

    def remove(self, container: str) -> None:
        """With its anonymous volumes, running or not; nothing where it is gone."""
        try:
            self.call("DELETE", f"/containers/{container}", {"force": 1, "v": 1})
        except EngineError as error:
            # 409: somebody else removes it at this moment.
            if error.status not in (404, 409):
                raise

    def image(self, name: str) -> dict[str, Any] | None:
        """What the engine knows of an image; None where it is not there."""
        try:
            found: dict[str, Any] = self.call("GET", f"/images/{quote(name, safe='/:@')}/json")
        except EngineError as error:
            if error.status == 404:
                return None
            raise
        return found


def refusal(text: bytes) -> str:
    """The engine's own words."""
    try:
        return str(json.loads(text)["message"]).strip()
    except (ValueError, KeyError, TypeError):
        return text.decode(errors="replace").strip() or "the engine gave no reason"


def out_of_space(text: str) -> bool:
    """Whether these words of an engine, or of a program in a build, say that the disk is full."""
    return "no space left on device" in text.lower()


def json_lines(response: http.client.HTTPResponse) -> Iterator[list[dict[str, Any]]]:
    """The messages of an answer that comes while work goes on (a build, a pull), in batches."""
    decoder = json.JSONDecoder()
    rest = b""
    while True:
        try:
            block = response.read1(READ_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(0, f"the Docker engine stopped answering: {error}") from error
        *lines, rest = (rest + block).split(b"\n")
        yield [decoder.decode(line.decode()) for line in lines if line.strip()]
        if not block:
            return
