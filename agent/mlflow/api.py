"""What is one request of MLflow's client answered? Pure.

The part of MLflow's REST interface by which programs track: experiments, runs, metrics, parameters,
tags, and models as files. What is asked for and not here gets MLflow's own error, so that its
client says something that makes sense.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs

from agent.mlflow import models, runs
from agent.mlflow.book import ACTIVE, DELETED, Book, Refusal
from agent.mlflow.runs import Asked, Handler, Sink
from agent.mlflow.texts import Json

PREFIX = re.compile(r"^/(?:ajax-)?api/2\.0/(?:preview/)?mlflow(/.*)$")
MODEL = re.compile(r"^/logged-models/([^/]{1,100})(/params|/tags)?$")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    changed: bool = False
    """Whether the book has something that an agent started anew has to know at once."""


def answer(book: Book, sink: Sink, method: str, target: str, content: bytes, now: float) -> Answer:
    """``target`` begins behind the attempt's own token; ``now`` is Unix seconds."""
    path, _, query = target.partition("?")
    try:
        handler, id = find(method, path)
        asked = Asked(book, sink, read(method, query, content), int(now * 1000), id)
        return Answer(200, packed(handler(asked)), handler in MAKING)
    except Refusal as error:
        return refused(error)


def refused(error: Refusal) -> Answer:
    return Answer(error.status, packed({"error_code": error.code, "message": str(error)}))


def packed(body: Json) -> bytes:
    return json.dumps(body).encode("utf-8", "replace")


def read(method: str, query: str, content: bytes) -> Json:
    """Raises ``Refusal``."""
    try:
        if method == "GET" and not content:
            return {
                name: values[-1] for name, values in parse_qs(query, max_num_fields=100).items()
            }
        found = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        raise Refusal("the request is not JSON", "BAD_REQUEST") from None
    if not isinstance(found, dict):
        raise Refusal("the request is not a JSON object", "BAD_REQUEST")
    return found


def find(method: str, path: str) -> tuple[Handler, str]:
    match = PREFIX.match(path)
    if match is None:
        raise Refusal(f"there is no {path[:80]!r} here", "ENDPOINT_NOT_FOUND", 404)
    model = MODEL.match(match[1])
    if model and (method, match[1]) not in ROUTES:
        handler, id = ROUTES.get((method, f"/logged-models/ID{model[2] or ''}")), model[1]
    else:
        handler, id = ROUTES.get((method, match[1])), ""
    if handler is None:
        raise Refusal(
            f"Stoker's tracking has no {method} {match[1][:80]!r}: it takes experiments, runs,"
            " metrics, parameters, tags and models as files",
            "ENDPOINT_NOT_FOUND",
            404,
        )
    return handler, id


ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "/experiments/create"): runs.create_experiment,
    ("GET", "/experiments/get"): runs.get_experiment,
    ("GET", "/experiments/get-by-name"): runs.get_experiment_by_name,
    ("GET", "/experiments/list"): runs.search_experiments,
    ("POST", "/experiments/search"): runs.search_experiments,
    ("GET", "/experiments/search"): runs.search_experiments,
    ("POST", "/experiments/update"): runs.update_experiment,
    ("POST", "/experiments/delete"): runs.stage_experiment(DELETED),
    ("POST", "/experiments/restore"): runs.stage_experiment(ACTIVE),
    ("POST", "/experiments/set-experiment-tag"): runs.tag_experiment,
    ("POST", "/runs/create"): runs.create_run,
    ("GET", "/runs/get"): runs.get_run,
    ("POST", "/runs/update"): runs.update_run,
    ("POST", "/runs/delete"): runs.stage_run(DELETED),
    ("POST", "/runs/restore"): runs.stage_run(ACTIVE),
    ("POST", "/runs/search"): runs.search_runs,
    ("POST", "/runs/log-metric"): runs.log_metric,
    ("POST", "/runs/log-batch"): runs.log_batch,
    ("POST", "/runs/log-parameter"): runs.log_param,
    ("POST", "/runs/set-tag"): runs.set_tag,
    ("POST", "/runs/delete-tag"): runs.delete_tag,
    ("POST", "/runs/log-model"): runs.taken,
    ("POST", "/runs/log-inputs"): runs.taken,
    ("POST", "/runs/outputs"): runs.taken,
    ("GET", "/metrics/get-history"): runs.metric_history,
    ("POST", "/logged-models"): models.create_model,
    ("POST", "/logged-models/search"): models.search_models,
    ("GET", "/logged-models/ID"): models.get_model,
    ("PATCH", "/logged-models/ID"): models.finish_model,
    ("DELETE", "/logged-models/ID"): models.delete_model,
    ("POST", "/logged-models/ID/params"): models.set_model_params,
    ("PATCH", "/logged-models/ID/tags"): models.set_model_tags,
}
MAKING = frozenset({runs.create_experiment, runs.create_run, models.create_model})
"""What is lost with an agent that dies right after it would be missed."""
