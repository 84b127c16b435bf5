"""What lies elsewhere comes once, is asked for anew, and never from a private network unasked."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.data import Data
from agent.data_rules import DataRules, NoData
from agent.disk import DiskBounds
from bus.connection import Bus
from schemas.data import DataMount
from schemas.spec import JobSpec
from schemas.worker import Grant


class Served(http.server.BaseHTTPRequestHandler):
    """One file, with an ETag; counts how often its bytes went."""

    content = b"first\n" * 1000
    bodies = 0
    asked: list[str | None]

    def do_HEAD(self) -> None:
        self._head()

    def do_GET(self) -> None:
        type(self).asked.append(self.headers.get("Authorization"))
        if self.path != "/set.csv":
            self.send_error(404)
            return
        begin, _, end = (
            (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        )
        part = self.content[int(begin) : int(end) + 1 if end else None]
        type(self).bodies += 1
        self._head(part, 206 if self.headers.get("Range") else 200, int(begin))
        self.wfile.write(part)

    def _head(self, part: bytes | None = None, status: int = 200, begin: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(self.content if part is None else part)))
        self.send_header("ETag", f'"{hash(self.content)}"')
        self.send_header("Accept-Ranges", "bytes")
        if status == 206 and part is not None:
            whole = len(self.content)
            self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{whole}")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Served.content, Served.bodies, Served.asked = b"first\n" * 1000, 0, []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def granted(source: str, owner: str = "ana") -> Grant:
    spec = JobSpec(data=(DataMount(source=source, path="/data/set"),))
    return Grant(job="0d4k8q2m-7xv3", attempt=1, nonce="n", owner=owner, spec=spec, bundle="b")


def data_of(bus: Bus, folder: Path, **rules: object) -> Data:
    root = folder / "data"
    root.mkdir(exist_ok=True)
    return Data(bus, "w1", root, DataRules(**rules), DiskBounds(floor=1))  # type: ignore[arg-type]


async def test_a_source_is_fetched_once_anew_when_it_changed_and_kept_when_it_is_away(
    bus: Bus, tmp_path: Path, address: str
) -> None:
    data, said = data_of(bus, tmp_path, sources=(address,)), []
    grant = granted(f"{address}/set.csv")
    secret = {"STOKER_DATA_AUTHORIZATION": "Bearer x"}
    first = (await data.places("j.1", grant, secret, said.append))[0].source
    assert (first / "set.csv").read_bytes() == Served.content
    assert Served.asked[-1] == "Bearer x"
    before = Served.bodies
    assert (await data.places("j.2", grant, secret, said.append))[0].source == first
    assert (Served.bodies, "cached" in said[-1]) == (before, True)
    Served.content = b"second\n" * 900
    second = (await data.places("j.3", grant, secret, said.append))[0].source
    assert (second / "set.csv").read_bytes() == Served.content
    assert (first / "set.csv").exists(), "the attempt before uses it"
    other = await data.places("j.4", granted(f"{address}/set.csv", "ben"), {}, said.append)
    assert other[0].source not in (first, second)
    await data.clean(1 << 40)
    assert (first / "set.csv").exists()
    gone = granted("http://127.0.0.1:1/set.csv")
    with pytest.raises(NoData):
        await data_of(bus, tmp_path, sources=("http://",)).places("j.5", gone, {}, said.append)
    assert not list((tmp_path / "data").glob("home-*"))


async def test_what_was_there_is_taken_where_a_source_does_not_answer(
    bus: Bus, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, said = data_of(bus, tmp_path, sources=(address,)), []
    grant = granted(f"{address}/set.csv")
    first = (await data.places("j.1", grant, {}, said.append))[0].source
    monkeypatch.setattr("agent.data_sources.BOOT", "raise SystemExit(1)")
    assert (await data.places("j.2", grant, {}, said.append))[0].source == first
    assert "as it was before, for now it cannot be had" in said[-1]


@pytest.mark.parametrize(
    "source",
    [
        "https://127.0.0.1:1/x",
        "https://169.254.169.254/x",
        "https://localhost/x",
    ],
    ids=["loopback", "metadata", "by-name"],
)
async def test_nothing_comes_from_a_private_address_unless_the_admin_says_so(
    bus: Bus, tmp_path: Path, source: str
) -> None:
    said: list[str] = []
    with pytest.raises(NoData, match="not public"):
        await data_of(bus, tmp_path).places("j.1", granted(source), {}, said.append)
