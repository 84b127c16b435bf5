"""What does the OpenAPI document say? All that the table of operations and the models say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.access import Action
from schemas.problem import Problem
from schemas.spec import JobSpec
from ui.credentials import SESSION_COOKIE

if TYPE_CHECKING:
    from ui.operations import Operation

REF = "#/components/schemas/{model}"
PATH_PARAMETER = re.compile(r"{(\w+)}")
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer"},
    "session": {"type": "apiKey", "in": "cookie", "name": SESSION_COOKIE},
}
BODILESS = frozenset({101, 204})
BINARY = {"type": "string", "contentMediaType": "application/zip"}


def openapi(operations: Iterable[Operation], version: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Stoker",
            "version": version,
            "summary": "Submit training jobs, watch them, read their logs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": component_schemas(operations), "securitySchemes": SCHEMES},
    }


def component_schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: list[type[BaseModel]] = [Problem, JobSpec]
    for operation in operations:
        named = (operation.answer, operation.body)
        models += [model for model in named if isinstance(model, type)]
    unique = list(dict.fromkeys(models))
    _, schemas = models_json_schema(
        [(model, "serialization") for model in unique], ref_template=REF
    )
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": operation.handler.__name__,
        "tags": [operation.tag],
        "parameters": parameters(operation),
        "responses": responses(operation),
        "security": [] if operation.action is Action.OPEN else [{"token": []}, {"session": []}],
        "x-action": operation.action.value,
    }
    if operation.raw:
        content = {operation.raw: {"schema": {"type": "string", "format": "binary"}}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": body_content(operation)}
    return described


def parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in PATH_PARAMETER.findall(operation.path)
    ]
    found += [
        {
            "name": query.name,
            "in": "query",
            "description": query.text,
            "schema": {"type": query.kind},
        }
        for query in operation.query
    ]
    if operation.keyed:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "The same key gives the same job, however often it is sent.",
                "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
            }
        )
    return found


def responses(operation: Operation) -> dict[str, Any]:
    answer = operation.answer
    schema: dict[str, Any] = (
        {"type": "object"} if answer == "application/json" else {"type": "string"}
    )
    kind = answer if isinstance(answer, str) else "application/json"
    if not isinstance(answer, str):
        schema = {"$ref": REF.format(model=answer.__name__)}
    found: dict[str, Any] = {str(operation.status): {"description": phrase(operation.status)}}
    if operation.status not in BODILESS:
        found[str(operation.status)]["content"] = {kind: {"schema": schema}}
    if operation.keyed:
        found["200"] = {
            "description": "The key had been used: the job that it got then.",
            "content": {kind: {"schema": schema}},
        }
    problem = {"application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}}
    guarded = () if operation.action is Action.OPEN else (401, 403)
    for status in dict.fromkeys((*operation.problems, *guarded, 500)):
        found[str(status)] = {"description": phrase(status), "content": problem}
    return found


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def body_content(operation: Operation) -> dict[str, Any]:
    assert operation.body is not None
    content: dict[str, Any] = {
        "application/json": {"schema": {"$ref": REF.format(model=operation.body.__name__)}}
    }
    if operation.form:
        content["multipart/form-data"] = {
            "schema": {
                "type": "object",
                "required": ["bundle"],
                "properties": {"spec": {"$ref": REF.format(model="JobSpec")}, "bundle": BINARY},
            },
            "encoding": {"spec": {"contentType": "application/json"}},
        }
    return content
