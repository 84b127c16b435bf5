"""What is told of an address: to the router, to the rule of access, to its description?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from schemas.access import Action

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
API = "/api/v1"


@dataclass(frozen=True)
class Query:
    """One parameter of the query string."""

    name: str
    text: str
    kind: str = "string"


@dataclass(frozen=True)
class Operation:
    """One method at one address."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[BaseModel] | str
    """A model, or the content type of what is no JSON; empty where there is none."""
    status: int = 200
    body: type[BaseModel] | None = None
    form: bool = False
    """Takes the multipart form of a submission too."""
    raw: str = ""
    """Content type of a body that is no JSON."""
    query: tuple[Query, ...] = ()
    keyed: bool = False
    """Takes an ``Idempotency-Key``."""
    problems: tuple[int, ...] = ()
    tag: str = "jobs"
    action: Action = Action.ADMIN
    """What a request does, by which it is allowed or not."""


@dataclass(frozen=True)
class Page:
    """One address that a person opens."""

    path: str
    handler: Handler
    action: Action = Action.ADMIN
