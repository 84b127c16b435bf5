"""How does the admin of a first start come in, where nobody sits at a terminal?"""

from __future__ import annotations

import logging

from bus.keys import write_private
from schemas.people_requests import fresh
from services.people.desk import Desk
from services.people.users import Users

log = logging.getLogger(__name__)

LINK_LIFE = 900.0
"""Seconds."""


async def welcome(desk: Desk, users: Users) -> None:
    """Makes the admin; writes a link into a file for as long as they have no other way in."""
    first = await users.first(desk.config.first)
    path = desk.config.link_file
    user = await desk.user(first.name)
    if path is None or user is None or user.password or user.issuer:
        return
    made = await users.make_link(user, LINK_LIFE, fresh())
    page = desk.config.page.rstrip("/")
    write_private(path, f"{page}/sign-in#link={made.link}\n")
    log.info("the admin is %s; a sign-in link, once and for 15 minutes, is in %s", user.name, path)
