"""How do running nats-servers learn what an account is from now on?

Asked with a user of the servers' own account. An update counts at once: connections of keys that it
revokes are closed, all others stay.
"""

from __future__ import annotations

import json

from nats.errors import Error, NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from bus.connection import API_TIMEOUT, Bus
from bus.errors import BusError, Unanswered
from bus.keys import BadKey
from bus.link import ask
from bus.tokens import read_claims


async def stored_token(bus: Bus, account: str) -> str:
    """What the servers believe now. Raises ``BusError``."""
    token = (await said(bus, f"$SYS.REQ.ACCOUNT.{account}.CLAIMS.LOOKUP", b"")).decode()
    try:
        read_claims(token)
    except BadKey as error:
        raise BusError(f"the server knows no account {account}") from error
    return token


async def update(bus: Bus, token: str) -> None:
    """Raises ``BusError`` where the server does not take it."""
    answer = json.loads(await said(bus, "$SYS.REQ.CLAIMS.UPDATE", token.encode()))
    if "error" in answer:
        raise BusError(f"the server refused the account: {answer['error']}")


async def said(bus: Bus, subject: str, data: bytes) -> bytes:
    try:
        return (await ask(bus.nc, subject, data, API_TIMEOUT)).data
    except (NatsTimeout, NoRespondersError) as error:
        raise Unanswered(subject, API_TIMEOUT) from error
    except Error as error:
        raise BusError(f"{subject}: {error}") from error
