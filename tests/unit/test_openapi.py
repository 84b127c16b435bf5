"""Does the OpenAPI document describe every address that the server has, and nothing else?"""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from ui.openapi import openapi
from ui.routes import OPERATIONS, PAGES, add_routes

REFERENCE = re.compile(r'"\$ref": "#/components/schemas/([^"]+)"')


def document() -> dict[str, Any]:
    return openapi(OPERATIONS, "1.2.3")


def test_every_route_is_described() -> None:
    app = web.Application()
    add_routes(app)
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    pages = {("get", page.path) for page in PAGES}
    described = {
        (method, path) for path, methods in document()["paths"].items() for method in methods
    }
    assert described == served - pages


def test_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    schemas = document()["components"]["schemas"]
    assert set(REFERENCE.findall(text)) <= set(schemas)


def test_operation_ids_are_unique() -> None:
    ids = [
        operation["operationId"]
        for methods in document()["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))


def test_the_secrets_of_a_grant_are_not_shown() -> None:
    assert '"nonce"' not in json.dumps(document())
    assert '"claim"' not in json.dumps(document())
