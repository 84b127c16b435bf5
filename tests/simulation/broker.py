"""What does JetStream hold, and what does it answer? A model: no time but what it is told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bus.errors import BusError, Conflict, NotFound, StoreFull
from bus.headers import EXPECTED, EXPECTED_SUBJECT
from bus.layout import ACK_WAIT
from schemas.job import JobFact
from tests.simulation.loop import Node, VirtualLoop


@dataclass(slots=True)
class Stored:
    sequence: int
    subject: str
    data: Any
    headers: dict[str, str]
    at: float


@dataclass
class Stream:
    """One that keeps everything, or the last message of a subject."""

    latest_only: bool
    messages: dict[int, Stored] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    """Key of a subject to the last sequence under it."""
    sequence: int = 0


@dataclass(slots=True)
class Ticket:
    sequence: int
    subject: str
    data: Any
    out: bool = False
    """Given to somebody, and neither acknowledged nor taken back yet."""
    times: int = 0


@dataclass(slots=True)
class Asked:
    """A pull request that stands open."""

    give: Callable[[Ticket], None]
    until: float


@dataclass
class Class:
    tickets: list[Ticket] = field(default_factory=list)
    asked: deque[Asked] = field(default_factory=deque)


@dataclass(slots=True)
class Member:
    """One subscription."""

    node: Node
    subject: str
    queue: str
    handler: Any


def get(stream: Stream, body: dict[str, Any]) -> dict[str, Any]:
    """The last message of a subject, or the first one from a sequence on."""
    if "last_by_subj" in body:
        found = stream.last.get(key(body["last_by_subj"]))
    else:
        under, start = key(body["next_by_subj"]), body["seq"]
        found = next(
            (n for n, m in stream.messages.items() if n >= start and key(m.subject) == under), None
        )
    if found is None:
        raise NotFound("no message found")
    return {"data": stream.messages[found].data, "seq": found}


def key(subject: str) -> str:
    """All facts of a job lie under one key."""
    return subject.rsplit(".", 1)[0] if subject.startswith("stoker.job.") else subject


def stream_of(subject: str) -> str:
    if subject.startswith("$KV."):
        return "KV_" + subject.split(".")[1]
    return "AUDIT" if subject.startswith("stoker.audit.") else "JOBS"


class Broker:
    """The server. What it acknowledged survives its restarts; open requests do not."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch
        self.up = True
        self.streams: dict[str, Stream] = {
            "JOBS": Stream(latest_only=False),
            **{f"KV_{n}": Stream(latest_only=True) for n in ("workers", "drains", "classes")},
            "KV_requests": Stream(latest_only=True),
            "KV_quotas": Stream(latest_only=True),
            "AUDIT": Stream(latest_only=False),
        }
        self.facts: list[JobFact] = []
        """All that was ever written to ``JOBS``."""
        self.on_fact: Callable[[JobFact], None] = lambda fact: None
        self.away: Callable[[Node], bool] = lambda node: node.dead
        """Whether the server has noticed that a client is gone."""
        self.followers: list[Any] = []
        self.members: dict[str, list[Member]] = {}
        """By subject; only the last token may be a ``*``."""
        self.classes: dict[str, Class] = {}
        self._tickets = 0

    def go_down(self) -> None:
        self.up = False
        for one in self.classes.values():
            one.asked.clear()

    def come_up(self) -> None:
        self.up = True

    def now(self) -> float:
        return self._epoch + self._loop.now

    # Streams.

    def append(self, subject: str, data: Any, headers: dict[str, str]) -> int:
        if subject.startswith("stoker.work."):
            return self._put_ticket(subject, data)
        stream = self.streams[stream_of(subject)]
        under = key(subject)
        expected = headers.get(EXPECTED, 0)
        if EXPECTED_SUBJECT in headers and int(expected) != stream.last.get(under, 0):
            raise Conflict("wrong last sequence")
        stream.sequence += 1
        if stream.latest_only:
            stream.messages.pop(stream.last.get(under, 0), None)
        stream.messages[stream.sequence] = Stored(
            stream.sequence, subject, data, headers, self.now()
        )
        stream.last[under] = stream.sequence
        if isinstance(data, JobFact):
            self.facts.append(data)
            self.on_fact(data)
        for follower in self.followers:
            follower.hear(stream)
        return stream.sequence

    def after(self, stream: Stream, sequence: int) -> list[Stored]:
        if sequence >= stream.sequence:
            return []
        return [one for number, one in stream.messages.items() if number > sequence]

    def api(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        match verb.split("."):
            case ["STREAM", "INFO", name]:
                stream = self.streams.get(name)
                stamp = datetime.fromtimestamp(self.now(), UTC).isoformat()
                return {"ts": stamp, "state": {"last_seq": stream.sequence if stream else 0}}
            case ["STREAM", "MSG", "GET", name]:
                return {"message": get(self.streams[name], body)}
            case ["STREAM", "MSG", "DELETE", name]:
                if self.streams[name].messages.pop(body["seq"], None) is None:
                    raise BusError("no message found")
                return {}
            case ["STREAM", "PURGE", _]:
                self._withdraw(body["filter"].rsplit(".", 1)[1])
                return {}
            case ["CONSUMER", "CREATE", _, name]:
                self.classes.setdefault(name, Class())
                return {}
        raise BusError(f"the model does not know {verb}")

    # Tickets.

    def tickets(self) -> list[Ticket]:
        return [ticket for one in self.classes.values() for ticket in one.tickets]

    def _class(self, subject: str) -> Class:
        return self.classes.setdefault(subject.split(".")[3], Class())

    def _put_ticket(self, subject: str, data: Any) -> int:
        line = self._class(subject)
        if any(ticket.subject == subject for ticket in line.tickets):
            raise StoreFull("maximum messages per subject exceeded")
        self._tickets += 1
        line.tickets.append(Ticket(self._tickets, subject, data))
        self._give(line)
        return self._tickets

    def _withdraw(self, job: str) -> None:
        for line in self.classes.values():
            line.tickets = [t for t in line.tickets if t.subject.rsplit(".", 1)[1] != job]

    def ask_ticket(self, name: str, asked: Asked) -> None:
        line = self.classes.setdefault(name, Class())
        line.asked.append(asked)
        self._give(line)

    def _give(self, line: Class) -> None:
        for ticket in line.tickets:
            if ticket.out:
                continue
            while line.asked and line.asked[0].until <= self._loop.now:
                line.asked.popleft()
            if not line.asked:
                return
            ticket.out = True
            ticket.times += 1
            line.asked.popleft().give(ticket)
            self._loop.call_later(ACK_WAIT, self._take_back, line, ticket, ticket.times)

    def _take_back(self, line: Class, ticket: Ticket, times: int) -> None:
        if ticket.out and ticket.times == times and ticket in line.tickets:
            ticket.out = False
            self._give(line)

    def ack(self, ticket: Ticket) -> None:
        line = self._class(ticket.subject)
        if ticket in line.tickets:
            line.tickets.remove(ticket)

    def back(self, ticket: Ticket, delay: float) -> None:
        if delay:
            self._loop.call_later(
                delay, self._take_back, self._class(ticket.subject), ticket, ticket.times
            )
        else:
            self._take_back(self._class(ticket.subject), ticket, ticket.times)

    # Subscriptions.

    def listeners(self, subject: str) -> list[list[Member]]:
        """Groups of which one member each gets the message."""
        groups: dict[object, list[Member]] = {}
        parts = subject.split(".")
        for stars in range(3):
            pattern = ".".join([*parts[: len(parts) - stars], *["*"] * stars])
            for member in self.members.get(pattern, ()):
                if not self.away(member.node):
                    groups.setdefault(member.queue or id(member), []).append(member)
        return list(groups.values())
