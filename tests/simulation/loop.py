"""In which order does everything happen? An event loop whose time jumps, and which can freeze."""

from __future__ import annotations

import asyncio
import heapq
import traceback
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any


class Node:
    """One operating system process. What it started runs in its context."""

    def __init__(self, name: str, skew: float = 0.0) -> None:
        self.name = name
        self.skew = skew
        """Seconds by which its machine's clock is off."""
        self.dead = False
        self.frozen = False
        self.frozen_since = 0.0
        self.parked: list[Handle] = []
        self.context = copy_context()
        self.context.run(NODE.set, self)


NODE: ContextVar[Node | None] = ContextVar("node", default=None)


class Handle:
    """A call that is due."""

    __slots__ = ("arguments", "at", "callback", "context", "over")

    def __init__(
        self, callback: Callable[..., Any], arguments: tuple[Any, ...], context: Context, at: float
    ) -> None:
        self.callback, self.arguments, self.context, self.at = callback, arguments, context, at
        self.over = False

    def cancel(self) -> None:
        self.over = True

    def cancelled(self) -> bool:
        return self.over

    def when(self) -> float:
        return self.at


class VirtualLoop(asyncio.AbstractEventLoop):
    """Runs what is ready in order; with nothing ready, time jumps to what is due next."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self.trouble: list[str] = []
        """How tasks of living processes failed."""
        self._ready: deque[Handle] = deque()
        self._due: list[tuple[float, int, Handle]] = []
        self._serial = 0

    # What asyncio asks of a loop.

    def time(self) -> float:
        return self.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Any:
        handle = Handle(callback, args, copy_context() if context is None else context, self.now)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        return self._push(
            when, Handle(callback, args, copy_context() if context is None else context, when)
        )

    def call_later(
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> Any:
        when = self.now + delay
        return self._push(
            when, Handle(callback, args, copy_context() if context is None else context, when)
        )

    def _push(self, when: float, handle: Handle) -> Handle:
        self._serial += 1
        heapq.heappush(self._due, (when, self._serial, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        return asyncio.Task(coro, loop=self, name=name or "task", context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Heard when garbage is collected; ``observe`` hears it at once."""

    # What drives it.

    def observe(self, task: asyncio.Task[Any]) -> None:
        """Called back when a task is done that nobody awaits."""
        node = NODE.get()
        if not task.cancelled() and task.exception() is not None and not (node and node.dead):
            self.trouble.append("".join(traceback.format_exception(task.exception())[-14:]))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Until that time, or until ``done``, which is asked whenever time goes on."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while True:
                while self._ready:
                    self._call(self._ready.popleft())
                if not self._due or self._due[0][0] > until or done():
                    return
                if self._due[0][0] > self.now:
                    self.now = self._due[0][0]
                while self._due and self._due[0][0] <= self.now:
                    self._ready.append(heapq.heappop(self._due)[2])
        finally:
            asyncio._set_running_loop(before)

    def _call(self, handle: Handle) -> None:
        if handle.over:
            return
        node = handle.context.get(NODE)
        if node is not None and node.frozen:
            node.parked.append(handle)
            return
        self.steps += 1
        handle.context.run(handle.callback, *handle.arguments)

    def freeze(self, node: Node) -> None:
        if not node.frozen:
            node.frozen, node.frozen_since = True, self.now

    def thaw(self, node: Node) -> None:
        node.frozen = False
        self._ready.extend(node.parked)
        node.parked.clear()
