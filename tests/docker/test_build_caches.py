"""What is kept of downloads between builds, and who can change what another build finds?"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import io
import shutil
import subprocess
import tarfile
import threading
import uuid
import zipfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from agent.runtimes.bases import Bases
from agent.runtimes.docker_container import owner_of
from agent.runtimes.docker_images import BuildLimits
from agent.runtimes.docker_runtime import DockerConfig, DockerRuntime
from agent.runtimes.protocol import CannotPrepare
from schemas.stream import Stream

from .conftest import BASE, PATIENCE, Attempt, Bundle, remove_images
from .registry_tools import docker

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(shutil.which("docker") is None, reason="there is no docker command"),
]
SDIST = """
import pathlib, sys
from setuptools import setup
cache = pathlib.Path("/var/cache/stoker/pip")
try:
    (cache / "poison").write_text("x")
    sys.exit("POISONED")
except OSError as error:
    print(f"REFUSED: {error.strerror}, {len(list(cache.rglob('*')))} things", file=sys.stderr)
sys.exit("that was all")
"""
KEEPING = """
ARG BASE
FROM ${{BASE}}
RUN --mount=type=cache,target=/var/cache/mine \
    echo "{mark} found: $(ls /var/cache/mine)." && touch /var/cache/mine/left && {then}
"""


@dataclass
class Index:
    """A package index at the engine's bridge, and what it was asked for."""

    url: str
    folder: Path
    asked: list[str] = field(default_factory=list)

    def wheel(self, name: str) -> None:
        place = self.folder / "simple" / name
        place.mkdir(parents=True)
        info = f"{name}-1.dist-info"
        with zipfile.ZipFile(place / f"{name}-1-py3-none-any.whl", "w") as file:
            file.writestr(f"{name}.py", "here = True\n")
            file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
            file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            file.writestr(f"{info}/RECORD", "")

    def sdist(self, name: str, setup: str) -> None:
        place = self.folder / "simple" / name
        place.mkdir(parents=True)
        with tarfile.open(place / f"{name}-1.tar.gz", "w:gz") as archive:
            for path, text in (("setup.py", setup), ("PKG-INFO", f"Name: {name}\nVersion: 1\n")):
                info = tarfile.TarInfo(f"{name}-1/{path}")
                info.size = len(text.encode())
                archive.addfile(info, io.BytesIO(text.encode()))

    def times(self, name: str) -> int:
        """That a file of this package was asked for."""
        return sum(path.startswith(f"/simple/{name}/{name}-1") for path in self.asked)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    host = docker("network", "inspect", "bridge", "-f", "{{(index .IPAM.Config 0).Gateway}}")
    folder = tmp_path / "index"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            super().do_GET()

        def end_headers(self) -> None:
            if self.path.endswith((".whl", ".gz")):
                self.send_header("Cache-Control", "max-age=365000000, immutable")
            super().end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer((host, 0), partial(Handler, directory=str(folder)))
    made = Index(f"http://{host}:{server.server_port}", folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def indexed(index: Index) -> Iterator[str]:
    """A base image whose pip asks that index."""
    host = index.url.partition("://")[2].partition(":")[0]
    container = docker("create", BASE, "true")
    name = f"stoker-test-base:{uuid.uuid4().hex[:8]}"
    told = ("PIP_INDEX_URL", f"{index.url}/simple"), ("PIP_TRUSTED_HOST", host)
    changes = [word for pair in told for word in ("--change", f"ENV {pair[0]}={pair[1]}")]
    docker("commit", *changes, container, name)
    docker("rm", container)
    yield name
    subprocess.run(["docker", "rmi", "-f", name], capture_output=True, timeout=60)


def with_buildkit() -> str | None:
    """A docker command through which BuildKit builds."""
    for command in ("docker", "/usr/bin/docker"):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            asked = partial(subprocess.run, capture_output=True, text=True, timeout=30)
            if asked([command, "buildx", "version"]).returncode == 0:
                return command
            version = asked([command, "version", "-f", "{{.Client.Version}}"]).stdout
            if int(version.partition(".")[0] or 99) < 23:
                return command
    return None


@pytest.fixture
async def runtime(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[DockerRuntime]:
    """Its base image asks the test's index, where the test has one."""
    base = request.getfixturevalue("indexed") if "indexed" in request.fixturenames else BASE
    config = DockerConfig(
        bases=Bases(image=base),
        builds=BuildLimits(seconds=PATIENCE),
        install_network="full",
        docker_command=with_buildkit() or "",
    )
    made = DockerRuntime(tmp_path, "tester", config)
    await made.open()
    yield made
    await made.close()
    await asyncio.to_thread(remove_images, owner_of("tester", tmp_path))


def of(owner: str, attempt: Attempt) -> Attempt:
    attempt.grant = attempt.grant.model_copy(update={"owner": owner})
    return attempt


async def test_a_download_is_kept_for_others_and_what_builds_a_package_cannot_change_it(
    bundle: Bundle, index: Index, indexed: str, tmp_path: Path
) -> None:
    for name in ("alpha", "beta"):
        index.wheel(name)
    index.sdist("harm", SDIST)
    code = "import alpha\nprint(alpha.here)"

    def asks(owner: str, requirements: str) -> Attempt:
        return of(owner, bundle({"main.py": code, "requirements.txt": requirements}))

    first = asks("ada", "alpha\n")
    assert (await first.run()).code == 0
    assert index.times("alpha") == 1
    second = asks("bob", "alpha\nbeta\n")
    assert (await second.run()).code == 0
    assert (index.times("alpha"), index.times("beta")) == (1, 1)
    assert "Using cached" in second.text(Stream.BUILD)

    third = asks("eve", "alpha\nharm\n")
    with pytest.raises(CannotPrepare):
        await third.prepare()
    assert "a package has to be built" in third.text(Stream.STOKER)
    said = third.text(Stream.BUILD)
    assert "REFUSED: Read-only file system" in said
    assert "REFUSED: Read-only file system, 0 things" not in said
    assert index.times("alpha") == 1
    assert not list((tmp_path / "packages").rglob("poison"))
    # An address in it: what comes from there is kept for nobody.
    fourth = asks("eve", f"--index-url {index.url}/simple\nalpha\nbeta\n")
    kept = sorted((tmp_path / "packages").rglob("*"))
    assert (await fourth.run()).code == 0
    assert sorted((tmp_path / "packages").rglob("*")) == kept


@pytest.mark.skipif(with_buildkit() is None, reason="no docker command that has BuildKit")
async def test_buildkit_keeps_an_owners_downloads_for_that_owner_alone(bundle: Bundle) -> None:
    def asks(owner: str, mark: str, then: str = "true") -> Attempt:
        text = KEEPING.format(mark=mark, then=then)
        return of(owner, bundle({"main.py": "print(1)", "Dockerfile": text}))

    mark = uuid.uuid4().hex
    first, second, other = asks("ada", f"1{mark}"), asks("ada", f"2{mark}"), asks("bob", f"2{mark}")
    assert (await first.run()).code == 0
    assert f"1{mark} found: ." in first.text(Stream.BUILD)
    made = (await second.prepare()).environment
    assert f"2{mark} found: left." in second.text(Stream.BUILD)
    others = (await other.prepare()).environment
    assert f"2{mark} found: ." in other.text(Stream.BUILD)
    assert made.key != others.key
    failing = asks("ada", f"3{mark}", then="(echo 'ERROR: no such package as harm'; false)")
    with pytest.raises(CannotPrepare, match="no such package as harm"):
        await failing.prepare()
