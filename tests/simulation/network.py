"""Which messages arrive, when, and how often? Every process has one link, to the broker."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass

from tests.simulation.broker import Broker
from tests.simulation.loop import Node, VirtualLoop

Arrival = Callable[[], object]

SEEN_AWAY = 6.0
"""Seconds after which the server takes a client that says nothing for gone."""
BUFFERED = 0.5
"""Share of what is said over a broken link that the client sends once it is whole again."""
OUTSIDE = Context()
"""Of what no process does."""


@dataclass(frozen=True)
class Weather:
    """Shares of all messages."""

    dropped: float = 0.0
    doubled: float = 0.0
    slow: float = 0.0
    """Those that take up to three seconds, and overtake each other."""


class Network:
    """Links by name: a process that is started anew is where its forerunner was."""

    def __init__(self, loop: VirtualLoop, random: random.Random, broker: Broker) -> None:
        self._loop = loop
        self.random = random
        self._broker = broker
        self.weather = Weather()
        self._cut: dict[str, float] = {}
        self._buffered: defaultdict[Node, list[Arrival]] = defaultdict(list)
        broker.away = self._away

    def cut(self, name: str) -> None:
        self._cut.setdefault(name, self._loop.now)

    def heal(self, name: str) -> None:
        self._cut.pop(name, None)
        for node in [node for node in self._buffered if node.name == name]:
            for arrival in self._buffered.pop(node):
                self.to_broker(node, arrival)

    def heal_all(self) -> None:
        """Also what was said to a broker that was away."""
        for name in [*self._cut, *(node.name for node in self._buffered)]:
            self.heal(name)

    def whole(self, node: Node) -> bool:
        return self._broker.up and node.name not in self._cut and not node.dead

    def _away(self, node: Node) -> bool:
        if node.dead:
            return True
        long_ago = self._loop.now - SEEN_AWAY
        return (node.frozen and node.frozen_since < long_ago) or (
            self._cut.get(node.name, self._loop.now) < long_ago
        )

    def delay(self) -> float:
        if self.random.random() < self.weather.slow:
            return self.random.uniform(0.05, 3.0)
        return 0.0005 + 0.004 * self.random.random()

    def to_broker(self, node: Node, arrival: Arrival, *, once: bool = True) -> None:
        """``arrival`` happens at the broker; more than ``once`` where the message may double."""
        for _ in range(self._copies(once)):
            self._loop.call_later(self.delay(), self._at_broker, node, arrival, context=OUTSIDE)

    def _at_broker(self, node: Node, arrival: Arrival) -> None:
        if self.whole(node):
            arrival()
        elif node.dead:
            if self._broker.up and node.name not in self._cut:
                arrival()  # it was on its way when its sender died
        elif self.random.random() < BUFFERED:
            self._buffered[node].append(arrival)

    def to_node(self, node: Node, arrival: Arrival) -> None:
        """``arrival`` happens in the process, or where it is frozen, when it thaws."""
        for _ in range(self._copies(once=True)):
            self._loop.call_later(self.delay(), self._at_node, node, arrival, context=node.context)

    def _at_node(self, node: Node, arrival: Arrival) -> None:
        if self.whole(node):
            arrival()

    def _copies(self, once: bool) -> int:
        chance = self.random.random()
        if chance < self.weather.dropped:
            return 0
        return 2 if not once and chance > 1 - self.weather.doubled else 1
