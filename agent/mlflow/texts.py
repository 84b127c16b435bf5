"""How do MLflow's experiments, runs and models read as JSON, and what may a request hold? Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from agent.mlflow.book import Book, Experiment, Metric, Model, Refusal, Run

Json = dict[str, Any]

KEY_LENGTH = 250
PARAM_LENGTH, TAG_LENGTH = 6000, 8000
"""Characters, as MLflow's own servers have them."""
BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""How many of them one request may hold, likewise."""
STEP_MOST = 1 << 63
METRIC = ("key", "value", "timestamp", "step")
ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""How protobuf writes what JSON has no number for."""


# ---- what is asked


def text(body: Json, *names: str, most: int = KEY_LENGTH) -> str:
    """Of the first of the fields that is there; one of them has to be."""
    found = text_if_there(body, *names, most=most)
    if not found:
        raise Refusal(f"{names[0]} is missing", status=400)
    return found


def text_if_there(body: Json, *names: str, most: int = KEY_LENGTH) -> str:
    for name in names:
        value = body.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise Refusal(f"{name} is not a text")
        whole = str(value)
        if len(whole) > most:
            raise Refusal(f"{name} has {len(whole)} characters; at most {most} are allowed")
        if not is_text(whole):
            raise Refusal(f"{name} holds half a character, which no text can")
        return whole
    return ""


def is_text(value: str) -> bool:
    """JSON can spell what UTF-8 cannot."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole_number(body: Json, name: str, default: int = 0) -> int:
    value = body.get(name, default)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(f"{name} is not a whole number") from None
    if not -STEP_MOST <= number < STEP_MOST:
        raise Refusal(f"{name} does not fit into 64 bits")
    return number


def number(body: Json, name: str) -> float:
    """NaN and infinity count as numbers."""
    value = body.get(name)
    if isinstance(value, str) and value in ODD:
        return ODD[value]
    if value is None or isinstance(value, bool):
        raise Refusal(f"{name} is not a number")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refusal(f"{name} is not a number") from None


def items(body: Json, name: str) -> list[Json]:
    """A list of objects; empty where it is not there."""
    found = body.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Refusal(f"{name} is not a list of objects")
    most = BATCH.get(name, BATCH["metrics"])
    if len(found) > most:
        raise Refusal(f"{name} holds {len(found)}; a request may hold {most}")
    return found


def pairs(body: Json, name: str, most: int) -> dict[str, str]:
    return {text(one, "key"): text_if_there(one, "value", most=most) for one in items(body, name)}


def metric_of(body: Json, now: int) -> tuple[str, Metric]:
    """Thousands of them come in a second: what is as it should be is not looked at twice."""
    found: list[Any] = [body.get(name) for name in METRIC]
    if is_plain(*found):
        return found[0], Metric(*found[1:])
    at = whole_number(body, "timestamp", now)
    return text(body, "key"), Metric(number(body, "value"), at, whole_number(body, "step"))


def is_plain(key: object, value: object, at: object, step: object) -> bool:
    if type(key) is not str or type(value) is not float:
        return False
    if type(at) is not int or type(step) is not int:
        return False
    named = key.isascii() and 0 < len(key) <= KEY_LENGTH
    return named and 0 <= at < STEP_MOST and 0 <= step < STEP_MOST


# ---- what is answered


def experiment_json(one: Experiment) -> Json:
    return {
        "experiment_id": one.id,
        "name": one.name,
        "artifact_location": one.location,
        "lifecycle_stage": one.stage,
        "creation_time": one.created,
        "last_update_time": one.created,
        "tags": key_values(one.tags),
    }


def run_json(run: Run, book: Book) -> Json:
    return {
        "info": info_json(run, book),
        "data": {
            "metrics": [metric_json(key, one) for key, one in run.metrics.items()],
            "params": key_values(run.params),
            "tags": key_values({**run.tags, "mlflow.runName": run.name}),
        },
        "inputs": {},
        "outputs": {},
    }


def info_json(run: Run, book: Book) -> Json:
    location = book.experiments[run.experiment].location.rstrip("/")
    ended = {} if run.ended is None else {"end_time": run.ended}
    return {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": run.experiment,
        "user_id": run.user,
        "status": run.status,
        "start_time": run.started,
        **ended,
        "artifact_uri": f"{location}/{run.id}/artifacts",
        "lifecycle_stage": run.stage,
    }


def model_json(model: Model, book: Book) -> Json:
    location = book.experiments[model.experiment].location.rstrip("/")
    info = {
        "model_id": model.id,
        "experiment_id": model.experiment,
        "name": model.name,
        "creation_timestamp_ms": model.created,
        "last_updated_timestamp_ms": model.created,
        "artifact_uri": f"{location}/models/{model.id}/artifacts",
        "status": model.status,
        "model_type": model.type,
        "source_run_id": model.run,
        "tags": key_values(model.tags),
    }
    return {"info": info, "data": {"params": key_values(model.params)}}


def metric_json(key: str, metric: Metric) -> Json:
    value: float | str = metric.value
    if not math.isfinite(metric.value):
        value = next(word for word, odd in ODD.items() if str(odd) == str(metric.value))
    return {"key": key, "value": value, "timestamp": metric.time, "step": metric.step}


def key_values(found: Mapping[str, str]) -> list[Json]:
    return [{"key": key, "value": value} for key, value in found.items()]


def newest_first(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (-run.started, run.id))
