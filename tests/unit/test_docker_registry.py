"""Which registry is an image from, what is shown there, and is it worth asking again?"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from agent.runtimes import docker_registry
from agent.runtimes.docker_engine import EngineError
from agent.runtimes.docker_registry import (
    HEADER,
    NOBODY,
    REGISTRY,
    BadCredentials,
    Login,
    Logins,
    explained,
    host_of,
    image_logins,
    login_of,
    passing,
    persisted,
    read_logins,
)
from agent.runtimes.protocol import CannotPrepare
from schemas.spec import JobSpec

HOST = "registry.example:5000"
FILE = {"auths": {f"https://{HOST}/v1/": {"auth": base64.b64encode(b"ada:a:b").decode()}}}


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("python:3.12-slim", ""),
        ("team/base:1", ""),
        ("registry.example/base", "registry.example"),
        (f"{HOST}/team/base@sha256:{'0' * 64}", HOST),
        ("localhost/base", "localhost"),
        ("sha256:0123", ""),
    ],
)
def test_a_name_tells_its_registry(image: str, host: str) -> None:
    assert host_of(image) == host


@pytest.mark.parametrize(
    ("place", "good"),
    [
        (HOST, True),
        (f"{HOST}/team/stoker", True),
        ("localhost/x", True),
        ("team/stoker", False),
        (f"https://{HOST}", False),
        (f"{HOST}/", False),
        (f"{HOST}/Team", False),
        ("", False),
    ],
)
def test_a_registry_is_a_host_and_a_path(place: str, good: bool) -> None:
    assert bool(REGISTRY.match(place)) is good


def test_a_password_goes_to_its_own_registry_alone(tmp_path: Path) -> None:
    (tmp_path / "logins").write_text(json.dumps(FILE))
    logins = Logins(tmp_path / "logins")
    told = json.loads(base64.urlsafe_b64decode(logins.header(f"{HOST}/base:1")[HEADER]))
    assert told == {"username": "ada", "password": "a:b", "serveraddress": HOST}
    assert logins.header("registry.example/base:1") == NOBODY
    assert logins.header("python:3.12") == NOBODY
    own = {HOST: Login("bob", "c")}
    told = json.loads(base64.urlsafe_b64decode(logins.header(f"{HOST}/base:1", own)[HEADER]))
    assert told["username"] == "bob"
    assert logins.header("other.example/base:1", own) == NOBODY
    assert "a:b" not in repr(read_logins(json.dumps(FILE).encode()))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"not json", "such as docker login writes"),
        (b"\xff", "such as docker login writes"),
        (b"[]", "such as docker login writes"),
        (b'{"auths": {"h.example": {}}}', "names a helper"),
        (b'{"auths": {"h.example": {"auth": "!"}}}', "is not the base64"),
        (b'{"auths": {"h.example": {"auth": "YWRh"}}}', "USER:PASSWORD"),
    ],
    ids=["text", "bytes", "list", "helper", "base64", "no password"],
)
def test_a_file_that_holds_no_passwords_says_why(tmp_path: Path, text: bytes, why: str) -> None:
    (tmp_path / "logins").write_bytes(text)
    with pytest.raises(BadCredentials, match=why):
        Logins(tmp_path / "logins").header(HOST)
    with pytest.raises(BadCredentials, match="cannot be read"):
        Logins(tmp_path / "none").header(HOST)


def test_a_jobs_login_is_for_its_own_image() -> None:
    spec = JobSpec(image=f"{HOST}/base:1", image_secret="LOGIN")
    assert image_logins(spec, "ada:b\n") == {HOST: Login("ada", "b")}
    assert image_logins(JobSpec(), "") == {}
    for text in ("", "ada", ":b", "ada:"):
        with pytest.raises(ValueError, match="USER:PASSWORD"):
            login_of(text)
    with pytest.raises(CannotPrepare, match="secret LOGIN: a login is written USER:PASSWORD"):
        image_logins(spec, "ada")


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("dial tcp 192.0.2.1:5000: connect: connection refused", True),
        ("net/http: TLS handshake timeout", True),
        ("received unexpected HTTP status: 503 Service Unavailable", True),
        ("toomanyrequests: You have reached your pull rate limit", True),
        ("unexpected EOF", True),
        ("manifest for base:1 not found: manifest unknown", False),
        ("pull access denied, repository does not exist", False),
        ("no basic auth credentials", False),
        ("x509: certificate signed by unknown authority", False),
    ],
)
async def test_only_what_may_pass_is_asked_again(
    words: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(docker_registry, "PAUSES", (0.0, 0.0))
    asked: list[str] = []
    said: list[str] = []

    async def ask() -> None:
        asked.append(words)
        raise EngineError(500, words)

    assert passing(words) is again
    with pytest.raises(EngineError):
        await persisted(ask, said.append, HOST)
    assert (len(asked), len(said)) == ((3, 2) if again else (1, 0))


async def test_an_engine_that_is_away_is_not_a_registry_that_is() -> None:
    async def ask() -> None:
        raise EngineError(0, "the Docker engine does not answer: timed out")

    with pytest.raises(EngineError):
        await persisted(ask, pytest.fail, HOST)


def test_who_is_not_trusted_is_told_with_what_to_do() -> None:
    words = "x509: certificate signed by unknown authority"
    assert explained(words, HOST).endswith(f"certs.d/{HOST}/ca.crt names)")
    assert explained("denied", HOST) == "denied"
