"""Which pages are there? Shells that the browser fills through the API."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web

from schemas.audit import Deed
from schemas.ids import JOB_ID
from schemas.people import Way
from ui.admission import own_path
from ui.keys import CONFIG, PRINCIPAL
from ui.openapi import openapi

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
TROUBLES = {
    "provider": "The sign-in provider did not say who you are. Try again.",
    "refused": "The sign-in provider knows you, but you may not come in here. Ask an admin.",
    "stale": "That sign-in took too long, or began in another window. Try again.",
    "away": "The sign-in provider does not answer right now. Try again shortly.",
}
"""What went wrong on the way back from a provider, by the word in the address."""


def setup_pages(app: web.Application) -> None:
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        context_processors=[asker],
    )
    environment.globals["version"] = app[CONFIG].version
    environment.globals["asset"] = asset
    app.router.add_static("/static", STATIC, append_version=False)


async def asker(request: web.Request) -> dict[str, Any]:
    """What every page is told of who looks at it."""
    found = request.get(PRINCIPAL)
    guest = found is not None and found.way is Way.SHARE
    return {"who": found, "guest": guest, "here": request.path}


@cache
def asset(name: str) -> str:
    """The address of a static file; changes with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@aiohttp_jinja2.template("home.html")
async def home_page(request: web.Request) -> dict[str, Any]:
    return {"page": "home", "upload_limit": request.app[CONFIG].upload_limit}


async def job_page(request: web.Request) -> web.Response:
    job = request.match_info["job"]
    known = bool(JOB_ID.match(job))
    response = aiohttp_jinja2.render_template(
        "job.html" if known else "missing.html", request, {"page": "job", "job": job[:64]}
    )
    response.set_status(200 if known else 404)
    return response


@aiohttp_jinja2.template("compare.html")
async def compare_page(_request: web.Request) -> dict[str, Any]:
    """Which jobs stands in the address; the page's script asks for each by itself."""
    return {"page": "compare"}


@aiohttp_jinja2.template("workers.html")
async def workers_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "workers"}


@aiohttp_jinja2.template("data.html")
async def data_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "data"}


@aiohttp_jinja2.template("secrets.html")
async def secrets_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "secrets"}


@aiohttp_jinja2.template("account.html")
async def account_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "account"}


@aiohttp_jinja2.template("people.html")
async def people_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "people"}


@aiohttp_jinja2.template("audit.html")
async def audit_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "audit", "deeds": list(Deed)}


async def sign_in_page(request: web.Request) -> web.Response:
    """The one-time link stands behind the ``#``, where only the page's script sees it."""
    config = request.app[CONFIG]
    if not config.sign_in:
        raise web.HTTPSeeOther("/")
    oidc = config.oidc
    values = {
        "page": "sign-in",
        "next": own_path(request.query.get("next", "/")),
        "provider": oidc.label if oidc else "",
        "trouble": TROUBLES.get(request.query.get("trouble", ""), ""),
    }
    return aiohttp_jinja2.render_template("sign_in.html", request, values)


def void_page(request: web.Request) -> web.Response:
    """A link that shows nothing: never made, run out, or taken back."""
    response = aiohttp_jinja2.render_template("void.html", request, {"page": "void"})
    response.set_status(404)
    return response


@aiohttp_jinja2.template("api.html")
async def api_page(_request: web.Request) -> dict[str, Any]:
    from ui.routes import OPERATIONS  # the table names this module's handlers

    return {"page": "api", "operations": OPERATIONS}


async def openapi_document(request: web.Request) -> web.Response:
    from ui.routes import OPERATIONS  # the table names this module's handlers

    return web.json_response(openapi(OPERATIONS, request.app[CONFIG].version))
