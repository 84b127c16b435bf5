"""The round of the open sockets ends those of nobody, and no socket ends the round."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ui.config import UiConfig
from ui.keys import CONFIG, SOCKETS, Sockets
from ui.rounds import SIGNED_OUT, Rounds


class Line:
    """What the round asks of a socket."""

    def __init__(self, prepared: bool = True, gone: bool = False) -> None:
        self.prepared = prepared
        self.gone = gone
        self.closed_with: int | None = None

    async def close(self, *, code: int, message: bytes) -> None:
        if self.gone:
            raise ConnectionResetError
        self.closed_with = code


async def test_every_socket_of_nobody_is_closed_whatever_the_others_do() -> None:
    app = web.Application()
    app[CONFIG] = UiConfig(sign_in=True)
    app[SOCKETS] = Sockets()
    lines = [Line(gone=True), Line(), Line(prepared=False), Line(gone=True), Line()]
    opened: dict[Any, web.Request] = app[SOCKETS].open
    for line in lines:
        opened[line] = make_mocked_request("GET", "/", app=app)
    await Rounds(app).once()
    assert [line.closed_with for line in lines] == [None, SIGNED_OUT, None, None, SIGNED_OUT]
