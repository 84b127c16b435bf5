"""What do the requests about models do? Pure. Since its version 3, MLflow knows them by themselves.

Their files are written by the client, to the place that it is told.
"""

from __future__ import annotations

import uuid

from agent.mlflow.book import DEFAULT, Model, Refusal
from agent.mlflow.runs import Asked
from agent.mlflow.texts import (
    PARAM_LENGTH,
    TAG_LENGTH,
    Json,
    model_json,
    pairs,
    text_if_there,
)

STATUSES = {"LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED", "LOGGED_MODEL_PENDING"}
NUMBERS = {1: "LOGGED_MODEL_PENDING", 2: "LOGGED_MODEL_READY", 3: "LOGGED_MODEL_UPLOAD_FAILED"}


def create_model(asked: Asked) -> Json:
    model = Model(
        id=f"m-{uuid.uuid4().hex}",
        name=text_if_there(asked.body, "name") or "model",
        experiment=text_if_there(asked.body, "experiment_id") or DEFAULT,
        type=text_if_there(asked.body, "model_type"),
        run=text_if_there(asked.body, "source_run_id"),
        created=asked.now,
        params=pairs(asked.body, "params", PARAM_LENGTH),
        tags=pairs(asked.body, "tags", TAG_LENGTH),
    )
    return {"model": model_json(asked.book.new_model(model), asked.book)}


def get_model(asked: Asked) -> Json:
    return {"model": model_json(asked.book.model(asked.id), asked.book)}


def finish_model(asked: Asked) -> Json:
    model = asked.book.model(asked.id)
    status = asked.body.get("status")
    status = NUMBERS.get(status, "") if isinstance(status, int) else str(status)
    if status not in STATUSES:
        raise Refusal("status is no status of a model")
    model.status = status
    return {"model": model_json(model, asked.book)}


def delete_model(asked: Asked) -> Json:
    asked.book.model(asked.id)
    del asked.book.models[asked.id]
    return {}


def set_model_params(asked: Asked) -> Json:
    model = asked.book.model(asked.id)
    asked.book.set_tags(model.params, pairs(asked.body, "params", PARAM_LENGTH))
    return {}


def set_model_tags(asked: Asked) -> Json:
    model = asked.book.model(asked.id)
    asked.book.set_tags(model.tags, pairs(asked.body, "tags", TAG_LENGTH))
    return {"model": model_json(model, asked.book)}


def search_models(asked: Asked) -> Json:
    if text_if_there(asked.body, "filter", most=1000):
        raise Refusal("Stoker's tracking does not filter models: leave filter_string out")
    return {"models": [model_json(one, asked.book) for one in asked.book.models.values()]}
