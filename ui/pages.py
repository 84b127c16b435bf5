"""Which pages are there? Shells that the browser fills through the API."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp_jinja2
import jinja2
from aiohttp import web

from schemas.ids import JOB_ID
from ui.keys import CONFIG
from ui.openapi import openapi

HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"


def setup_pages(app: web.Application) -> None:
    environment = aiohttp_jinja2.setup(
        app, loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True
    )
    environment.globals["version"] = app[CONFIG].version
    environment.globals["asset"] = asset
    app.router.add_static("/static", STATIC, append_version=False)


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


@aiohttp_jinja2.template("workers.html")
async def workers_page(_request: web.Request) -> dict[str, Any]:
    return {"page": "workers"}


@aiohttp_jinja2.template("api.html")
async def api_page(_request: web.Request) -> dict[str, Any]:
    from ui.routes import OPERATIONS  # the table names this module's handlers

    return {"page": "api", "operations": OPERATIONS}


async def openapi_document(request: web.Request) -> web.Response:
    from ui.routes import OPERATIONS  # the table names this module's handlers

    return web.json_response(openapi(OPERATIONS, request.app[CONFIG].version))
