"""What the page believes of who asks: for some seconds, of a bounded number, never for too long."""

from __future__ import annotations

import asyncio
import time

import pytest

from bus.errors import Refused, Unanswered
from schemas.people import Principal, Role, Way
from schemas.people_requests import Check
from schemas.problem import Problem
from ui import principals
from ui.credentials import Credential, Shown
from ui.principals import BELIEVED_SECONDS, Principals

ANN = Principal(name="ann", role=Role.MEMBER, sees=("ann",), way=Way.SESSION)
GUEST = Principal(name="", role=Role.VIEWER, way=Way.SHARE)


class Service:
    """Knows one session, and as many links as there are."""

    def __init__(self) -> None:
        self.asked = 0
        self.now = 0.0
        self.known = True
        self.status = 401

    async def __call__(self, asked: Check) -> Principal:
        self.asked += 1
        await asyncio.sleep(0)
        if asked.kind is Way.SHARE and asked.value != "void":
            return GUEST.model_copy(update={"jobs": (asked.value,)})
        if not self.known or asked.value == "void":
            raise Refused(Problem(code="not_signed_in", title="no", status=self.status))
        return ANN

    def clock(self) -> float:
        return self.now


def session(value: str = "cookie") -> Shown:
    return Shown(Credential(Way.SESSION, value))


def share(*jobs: str) -> tuple[Credential, ...]:
    return tuple(Credential(Way.SHARE, job) for job in jobs)


async def test_the_service_is_asked_once_in_a_while() -> None:
    service = Service()
    found = Principals(service, service.clock)
    assert [await found.of(session()) for _ in range(5)] == [ANN] * 5
    assert service.asked == 1
    service.now = BELIEVED_SECONDS + 0.1
    service.known = False
    assert await found.of(session()) is None
    assert service.asked == 2


async def test_believing_ends_within_ten_seconds() -> None:
    assert BELIEVED_SECONDS <= 10


async def test_many_requests_at_one_time_are_one_question() -> None:
    service = Service()
    found = Principals(service, service.clock)
    assert await asyncio.gather(*(found.of(session()) for _ in range(50))) == [ANN] * 50
    assert service.asked == 1
    assert not found._asking


async def test_nobody_is_not_remembered() -> None:
    """Or else inventing cookies would push those out that count."""
    service = Service()
    service.known = False
    found = Principals(service, service.clock)
    assert await found.of(session()) is None
    assert not found._kept
    service.known = True
    assert await found.of(session()) == ANN


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(principals, "MOST_KEPT", 3)
    service = Service()
    found = Principals(service, service.clock)
    for number in range(10):
        await found.of(session(str(number)))
    assert len(found._kept) == 3


async def test_a_session_that_has_run_out_is_not_believed() -> None:
    async def ask(_: Check) -> Principal:
        return ANN.model_copy(update={"expires_at": time.time() - 1})

    found = Principals(ask)
    await found.of(session())
    assert found._known(principals.key_of(Credential(Way.SESSION, "cookie"))) is None


async def test_links_add_their_jobs_and_nothing_else() -> None:
    service = Service()
    found = Principals(service, service.clock)
    both = await found.of(Shown(Credential(Way.SESSION, "cookie"), share("j1", "void", "j2")))
    assert both == ANN.model_copy(update={"jobs": ("j1", "j2")})
    guest = await found.of(Shown(None, share("j1", "j2")))
    assert guest is not None
    assert (guest.way, guest.name, guest.jobs, guest.sees) == (Way.SHARE, "", ("j1", "j2"), ())
    assert await found.of(Shown(None, share("void"))) is None


async def test_an_empty_token_is_nobodys_without_a_question() -> None:
    service = Service()
    assert await Principals(service, service.clock).of(Shown(Credential(Way.TOKEN, ""))) is None
    assert service.asked == 0


async def test_where_nobody_can_tell_that_is_said() -> None:
    async def ask(_: Check) -> Principal:
        raise Unanswered("stoker.req.people.check", 1.0)

    found = Principals(ask)
    with pytest.raises(Unanswered):
        await found.of(session())
    assert not found._asking


async def test_who_waits_for_an_answer_that_never_comes_does_not_wait_in_turn() -> None:
    asked = 0

    async def ask(_: Check) -> Principal:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise Unanswered("stoker.req.people.check", 1.0)

    found = Principals(ask)
    told = await asyncio.gather(*(found.of(session()) for _ in range(20)), return_exceptions=True)
    assert all(isinstance(one, Unanswered) for one in told)
    assert asked == 1


async def test_who_breaks_off_takes_nobody_along() -> None:
    answer = asyncio.Event()

    async def ask(_: Check) -> Principal:
        await answer.wait()
        return ANN

    found = Principals(ask)
    first, second, third = (asyncio.create_task(found.of(session())) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.sleep(0)
    answer.set()
    assert (await first, await third) == (ANN, ANN)
    assert second.cancelled()
    assert not found._asking
