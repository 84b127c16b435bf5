"""Requests are answered, refused or repeated, whatever happens to handlers and server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bus.connection import Bus
from bus.errors import BusError, Refused, Unanswered
from bus.link import BusConfig
from bus.serve import Route, serve
from bus.server import EmbeddedServer, ServerConfig, find_binary
from schemas.message import Empty, Message
from schemas.problem import Problem
from schemas.worker import Ticket

SUBJECT = "stoker.req.test.echo"


@asynccontextmanager
async def serving(bus: Bus, routes: Mapping[str, Route]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(serve(bus, routes, "test"))
    try:
        await asyncio.sleep(0)
        await bus.flush()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def echo(request: Ticket, subject: str) -> Ticket:
    return request


async def ask(bus: Bus, job: str = "j1", timeout: float = 2.0, attempts: int = 5) -> Ticket:
    return await bus.request(SUBJECT, Ticket(job=job), Ticket, timeout=timeout, attempts=attempts)


async def test_a_request_is_answered(bus: Bus) -> None:
    async with serving(bus, {SUBJECT: Route(Ticket, echo)}):
        assert await ask(bus) == Ticket(job="j1")


async def test_a_refusal_reaches_the_caller_as_the_handler_wrote_it(bus: Bus) -> None:
    problem = Problem(code="too_late", title="Too late", status=409, detail="the job has ended")

    async def refuse(request: Ticket, subject: str) -> Message:
        raise Refused(problem)

    async with serving(bus, {SUBJECT: Route(Ticket, refuse)}):
        with pytest.raises(Refused) as caught:
            await ask(bus)
    assert caught.value.problem == problem


async def test_a_service_that_got_no_answer_itself_is_asked_again(bus: Bus) -> None:
    """What it had begun, a grant say, may have been done."""
    asked: list[str] = []

    async def answer(request: Ticket, subject: str) -> Message:
        asked.append(request.job)
        if len(asked) < 3:
            raise Unanswered("a stream without a leader", 5.0)
        return request

    async with serving(bus, {SUBJECT: Route(Ticket, answer)}):
        assert await ask(bus) == Ticket(job="j1")
        assert asked == ["j1"] * 3
        asked.clear()
        with pytest.raises(Refused) as caught:
            await ask(bus, attempts=2)
    assert caught.value.problem.status == 503


async def test_a_handler_that_fails_answers_and_goes_on(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail_once(request: Ticket, subject: str) -> Message:
        if request.job == "bad":
            raise RuntimeError("secret detail")
        return request

    async with serving(bus, {SUBJECT: Route(Ticket, fail_once)}):
        with pytest.raises(Refused) as caught:
            await ask(bus, "bad")
        assert await ask(bus, "good") == Ticket(job="good")
    assert caught.value.problem.code == "internal"
    assert "secret detail" not in str(caught.value.problem)
    assert "secret detail" in caplog.text


async def test_a_request_that_cannot_be_read_is_refused(bus: Bus) -> None:
    async with serving(bus, {SUBJECT: Route(Ticket, echo)}):
        with pytest.raises(Refused) as caught:
            await bus.request(SUBJECT, Empty(), Ticket)
    assert caught.value.problem.code == "bad_request"


async def test_a_request_is_repeated_when_its_answer_is_lost(bus: Bus) -> None:
    calls = 0

    async def silent_at_first(request: Ticket, subject: str) -> Message:
        nonlocal calls
        calls += 1
        if calls == 1:
            await asyncio.get_running_loop().create_future()
        return request

    async with serving(bus, {SUBJECT: Route(Ticket, silent_at_first)}):
        assert await ask(bus, timeout=0.3) == Ticket(job="j1")
    assert calls == 2


async def test_nobody_there_is_told_after_the_last_try(bus: Bus) -> None:
    with pytest.raises(Unanswered):
        await ask(bus, timeout=0.1, attempts=2)


async def test_timed_out_requests_leave_nothing_behind(bus: Bus) -> None:
    async def never(request: Ticket, subject: str) -> Message:
        await asyncio.get_running_loop().create_future()
        return request

    async with serving(bus, {SUBJECT: Route(Ticket, never)}):
        for _ in range(5):
            with pytest.raises(Unanswered):
                await ask(bus, timeout=0.05, attempts=1)
    assert not bus.nc._resp_map


async def test_requests_survive_a_kill_of_the_server(bus: Bus, server: EmbeddedServer) -> None:
    async with serving(bus, {SUBJECT: Route(Ticket, echo)}):
        assert await ask(bus)
        os.kill(server.pid, signal.SIGKILL)
        answers = await asyncio.gather(*(ask(bus, f"j{n}", attempts=15) for n in range(20)))
    assert [answer.job for answer in answers] == [f"j{n}" for n in range(20)]


async def test_a_cancelled_request_stays_cancelled(bus: Bus) -> None:
    async with serving(bus, {SUBJECT: Route(Ticket, echo)}):
        for _ in range(100):
            task = asyncio.ensure_future(ask(bus))
            await asyncio.sleep(0.0005)
            done = task.done()
            task.cancel()
            await asyncio.wait([task])
            assert done or task.cancelled()


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # a state of the client or of a file: no event
            await asyncio.sleep(0.02)


@dataclass
class Guarded:
    """A server with one user, whose password can be changed while it runs."""

    folder: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> str:
        self.set_password("old")
        binary = find_binary(ServerConfig(self.folder))
        self.process = await asyncio.create_subprocess_exec(
            str(binary), "-c", str(self.folder / "auth.conf"), stderr=asyncio.subprocess.DEVNULL
        )
        await until(lambda: any(file.stat().st_size for file in self.folder.glob("*.ports")))
        (file,) = self.folder.glob("*.ports")
        return str(json.loads(file.read_text())["nats"][0])

    def set_password(self, password: str) -> None:
        (self.folder / "auth.conf").write_text(
            f'listen: "127.0.0.1:-1"\nports_file_dir: "{self.folder}"\n'
            f'authorization {{ users: [{{user: "u", password: "{password}"}}] }}\n'
        )
        if self.process:
            self.process.send_signal(signal.SIGHUP)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    server = Guarded(tmp_path)
    yield server
    if server.process:
        server.process.kill()
        await server.process.wait()


async def test_a_fatal_auth_error_ends_in_a_new_client(guarded: Guarded) -> None:
    """nats-py closes its client for good when the password is changed under it."""
    config = BusConfig(servers=(await guarded.start(),), user="u", password="old")
    async with Bus.connect(config) as bus, serving(bus, {SUBJECT: Route(Ticket, echo)}):
        first = bus.nc
        assert await ask(bus)
        guarded.set_password("new")
        await until(lambda: first.is_closed)
        guarded.set_password("old")
        await until(lambda: bus.connected)
        assert bus.nc is not first
        assert await ask(bus, attempts=10) == Ticket(job="j1")


async def test_what_cannot_be_sent_is_told_as_an_error_of_the_bus(bus: Bus) -> None:
    with pytest.raises(BusError, match="was not stored"):
        await bus.append("stoker.log.j.1.0.w", b"x" * (bus.max_payload + 1))
    await bus.nc.close()
    with pytest.raises(BusError):
        await bus.publish("stoker.cmd.w.stop", Ticket(job="j"))
    with pytest.raises(BusError):
        await bus.flush()
