"""How does one HTTP request get its answer, over the standard library alone?"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stoker.answers import NotSignedIn, Refused, StokerError, Unreachable, read_problem
from stoker.trust import Untrusted, complaint, trust_for

PART = 256 * 1024
"""Bytes of a file that are read and sent at a time."""
TRIES = 5
REFUSED_TRIES = 2
"""Where nobody listens: a restart takes a moment, but a person who forgot ``stoker up`` waits."""
FIRST_PAUSE, LONGEST_PAUSE = 0.3, 15.0
"""Seconds; doubled after each try."""
PART_TRIES = 10
"""Of a part of something big: about a minute, in which a server starts again."""
UNAUTHORIZED = 401
TRY_AGAIN = frozenset({429, 502, 503, 504})
FULL_QUEUE = "quota_queued"
"""Nobody knows when there is room again: the person decides, and nothing is sent five times."""
LARGEST_ANSWER = 64 << 20
CHECKED_A_SECOND = 2 << 20
"""Bytes of a bundle that the slowest server checks in a second."""

Progress = Callable[[int], None]
"""Told the bytes that have been sent so far; starts again from 0 when the request is repeated."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A multipart body: the spec first, then the file."""

    spec: Mapping[str, Any]
    file: Path
    progress: Progress

    def parts(self, boundary: str) -> tuple[bytes, bytes]:
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="spec"\r\n'
            f"Content-Type: application/json\r\n\r\n{json.dumps(dict(self.spec))}\r\n"
            f'--{boundary}\r\nContent-Disposition: form-data; name="bundle"; filename="bundle.zip"'
            "\r\nContent-Type: application/zip\r\n\r\n"
        )
        return head.encode(), f"\r\n--{boundary}--\r\n".encode()

    def body(self, boundary: str) -> Iterator[bytes]:
        head, tail = self.parts(boundary)
        yield head
        sent = 0
        with self.file.open("rb") as file:
            while part := file.read(PART):
                yield part
                sent += len(part)
                self.progress(sent)
        yield tail

    def length(self, boundary: str) -> int:
        return sum(map(len, self.parts(boundary))) + self.file.stat().st_size

    @property
    def patience(self) -> float:
        """Seconds more that the answer may take: it comes after the server's check."""
        return self.file.stat().st_size / CHECKED_A_SECOND


@dataclass(frozen=True, slots=True)
class Transport:
    """One server. Every request opens its own connection, so it may be used from threads."""

    url: str
    timeout: float = 30.0
    """Seconds without a byte after which a request is given up."""
    ca: str | Path | None = None
    """File of the authority that alone counts; see ``stoker.trust`` for what counts else."""
    token: str | None = field(default=None, repr=False)
    """Who asks."""

    def get(self, path: str) -> Any:
        return self.repeated(lambda: self.once("GET", path, b"", {}))

    def post(
        self,
        path: str,
        value: Mapping[str, Any],
        key: str | None = None,
        patience: float = 0.0,
        tries: int = TRIES,
    ) -> Any:
        """Repeated after network trouble: what is posted must be idempotent or carry a key."""
        headers = {"Content-Type": "application/json", **key_header(key)}
        body = json.dumps(dict(value)).encode()
        refused = REFUSED_TRIES if tries == TRIES else tries
        return self.repeated(
            lambda: self.once("POST", path, body, headers, patience), tries, refused
        )

    def put_bytes(self, path: str, data: bytes) -> Any:
        """One part of something big, for longer than others: the rest need not be sent again."""
        headers = {"Content-Type": "application/octet-stream"}
        return self.repeated(
            lambda: self.once("PUT", path, data, headers), PART_TRIES, refused=PART_TRIES
        )

    def put(self, path: str, value: Mapping[str, Any], key: str | None = None) -> Any:
        headers = {"Content-Type": "application/json", **key_header(key)}
        body = json.dumps(dict(value)).encode()
        return self.repeated(lambda: self.once("PUT", path, body, headers))

    def delete(self, path: str) -> Any:
        return self.repeated(lambda: self.once("DELETE", path, b"", {}))

    def upload(self, path: str, upload: Upload, key: str) -> Any:
        boundary = f"stoker-{secrets.token_hex(16)}"

        def send() -> Any:
            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}",
                "Content-Length": str(upload.length(boundary)),
                **key_header(key),
            }
            return self.once("POST", path, upload.body(boundary), headers, upload.patience)

        return self.repeated(send)

    def repeated(
        self, send: Callable[[], Any], tries: int = TRIES, refused: int = REFUSED_TRIES
    ) -> Any:
        """``refused``: tries where nobody listens."""
        pause = FIRST_PAUSE
        for left in reversed(range(tries)):
            try:
                return send()
            except Unreachable as error:
                nobody = isinstance(error.__cause__, ConnectionRefusedError)
                if not left or (nobody and left < tries - refused):
                    raise
            except Refused as error:
                if not left or error.status not in TRY_AGAIN or error.code == FULL_QUEUE:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        raise AssertionError("unreachable")

    def once(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes],
        headers: Mapping[str, str],
        patience: float = 0.0,
    ) -> Any:
        with self.answer(method, path, body, headers, patience) as answer:
            data = answer.read(LARGEST_ANSWER)
        if answer.status >= 300:
            raise self.refusal(answer.status, data)
        return json.loads(data) if data else {}

    def frame(self, path: str) -> bytes:
        """The body of a GET, whole."""
        data: bytes = self.repeated(lambda: b"".join(self.stream(path)))
        return data

    def head(self, path: str) -> Mapping[str, str]:
        """The headers alone. A refusal has no words there: they are fetched."""

        def send() -> Mapping[str, str]:
            with self.answer("HEAD", path, b"", {}) as answer:
                if answer.status < 300:
                    return dict(answer.headers.items())
            return self.once("GET", path, b"", {}) or {}

        headers: Mapping[str, str] = self.repeated(send)
        return headers

    def stream(self, path: str, headers: Mapping[str, str] | None = None) -> Iterator[bytes]:
        """The body of a GET, part by part. One that is cut off ends early, without an error."""
        with self.answer("GET", path, b"", headers or {}) as answer:
            if answer.status >= 300:
                raise self.refusal(answer.status, answer.read(LARGEST_ANSWER))
            while part := answer.read1(PART):
                yield part

    @contextmanager
    def answer(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes],
        headers: Mapping[str, str],
        patience: float = 0.0,
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self.connection(self.timeout + patience)
        try:
            # A server that refuses a body early has answered already: that is read next.
            with suppress(BrokenPipeError, ConnectionResetError):
                sent = {**headers, **bearer(self.token)}
                connection.request(method, path, body=body, headers=sent)
            yield connection.getresponse()
        except ssl.SSLError as error:
            raise Untrusted(complaint(error, self.url) or str(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no answer from {self.url} ({told(error)})") from error
        finally:
            connection.close()

    def refusal(self, status: int, data: bytes) -> Refused:
        if status == UNAUTHORIZED:
            return NotSignedIn(self.url, bool(self.token))
        return refusal(status, data)

    def connection(self, timeout: float) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        context = trust_for(self.url, self.ca)
        if context is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)
        return http.client.HTTPConnection(host, port, timeout=timeout)


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def key_header(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


def refusal(status: int, data: bytes) -> Refused:
    try:
        body = json.loads(data)
    except ValueError:
        body = {}
    return read_problem(status, body if isinstance(body, dict) else {})


def told(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "is it running? start it with: stoker up"
    return str(error) or type(error).__name__


def checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StokerError(f"{url!r} is not a server's address; write http://host:8900")
    return url.rstrip("/")
