"""When is a server one that its clients should leave? By what it says of the others."""

from __future__ import annotations

from typing import Any

import pytest
from nats.aio.client import Client

from bus.majority import Member


async def ignored(self: Client, info: dict[str, Any], initial_connection: bool = False) -> None:
    """The library's part needs a connection."""


@pytest.mark.parametrize(
    ("heard", "cut_off"),
    [
        ((0,), False),  # a server by itself
        ((1,), False),  # the first of a cluster that starts
        ((1, 3), False),
        ((3, 2), False),  # one of three died
        ((3, 1), True),
        ((3, 1, 3), False),
        ((6, 2), True),  # each with two addresses
        ((5, 3), False),
        ((5, 2), True),
        ((3, 0), False),  # nothing said is nothing known
    ],
)
async def test_a_server_that_hears_no_majority_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, heard: tuple[int, ...], cut_off: bool
) -> None:
    monkeypatch.setattr(Client, "_process_info", ignored)
    told: list[Member] = []
    member = Member(told.append)
    for number in heard:
        await member._process_info({"connect_urls": [f"10.0.0.{n}:4222" for n in range(number)]})
    assert member.cut_off == cut_off
    assert (told[-1:] == [member]) == (cut_off or heard == (3, 1, 3))
