"""How is the real scheduler put into a virtual house? Its modules' outer edges are replaced."""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any
from unittest import mock

from bus.errors import Corrupt
from services.scheduler import fold, roster
from tests.simulation.bus import follow
from tests.simulation.loop import NODE, VirtualLoop

CODED = ("bus.audit", "bus.records", "bus.serve", "bus.tickets")
KEPT = ("services.scheduler.roster", "services.scheduler.classes")
STORED = (*KEPT, "bus.quotas")
TIMED = (*KEPT, "services.scheduler.beats", "services.scheduler.steps", "bus.clock")
FOLLOWED = (*STORED, "services.scheduler.service", "bus.kv")


class VirtualTime:
    """The module ``time``, to a process."""

    def __init__(self, loop: VirtualLoop, epoch: float) -> None:
        self._loop = loop
        self._epoch = epoch

    def monotonic(self) -> float:
        return self._loop.now

    def time(self) -> float:
        node = NODE.get()
        return self._epoch + self._loop.now + (node.skew if node else 0.0)


class Plain:
    """``base64`` and ``secrets`` that leave things as they are, and count."""

    def __init__(self) -> None:
        self._count = 0

    def b64decode(self, data: Any) -> Any:
        return data

    def token_urlsafe(self, _: int) -> str:
        self._count += 1
        return f"nonce{self._count}"


class InOrder(dict[str, None]):
    """A set of strings whose order does not hang on the interpreter's hash seed."""

    def add(self, one: str) -> None:
        self[one] = None

    def discard(self, one: str) -> None:
        self.pop(one, None)


class OrderedFold(fold.Fold):
    def __init__(self) -> None:
        super().__init__()
        self._workers = defaultdict(InOrder)  # type: ignore[assignment]


def known_since(time: VirtualTime) -> Callable[..., roster.Known]:
    """Its own default takes the clock of the real module, once and for all."""
    real = roster.Known

    def known(*arguments: Any, **named: Any) -> roster.Known:
        return real(*arguments, **{"heard": time.monotonic(), **named})

    return known


def encode(message: Any) -> tuple[Any, dict[str, str]]:
    """Messages are frozen: they cross as they are. ``tests/unit/test_codec.py`` has the bytes."""
    return message, {}


def decode(kind: type[Any], data: Any, _: object) -> Any:
    if not isinstance(data, kind):
        raise Corrupt(f"{data!r} is no {kind}")
    return data


@contextlib.contextmanager
def seams(loop: VirtualLoop, epoch: float) -> Iterator[None]:
    time, plain = VirtualTime(loop, epoch), Plain()
    replaced: list[tuple[str, Any]] = [
        *((f"{module}.encode", encode) for module in (*CODED, *STORED)),
        *((f"{module}.decode", decode) for module in ("bus.records", "bus.serve", *STORED)),
        *((f"{module}.time", time) for module in TIMED),
        *((f"{module}.follow", follow) for module in FOLLOWED),
        ("bus.records.base64", plain),
        ("services.scheduler.service.secrets", plain),
        ("services.scheduler.service.Fold", OrderedFold),
        ("services.scheduler.roster.Known", known_since(time)),
    ]
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.ExitStack() as stack:
            for name, new in replaced:
                module, attribute = name.rsplit(".", 1)
                stack.enter_context(mock.patch.object(import_module(module), attribute, new))
            yield
    finally:
        logging.disable(disabled)
