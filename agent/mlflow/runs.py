"""What do the requests about experiments and runs do? Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from agent.mlflow.book import DEFAULT, STATUSES, Book, Metric, Refusal, Run, series_name
from agent.mlflow.search import chosen
from agent.mlflow.texts import (
    PARAM_LENGTH,
    TAG_LENGTH,
    Json,
    experiment_json,
    info_json,
    items,
    metric_json,
    metric_of,
    pairs,
    run_json,
    text,
    text_if_there,
    whole_number,
)

OWN_TAGS = "mlflow."
"""Before the names of the tags that the client sets by itself: who, from where, which commit."""
NAME_LENGTH, PLACE_LENGTH = 500, 1000


class Sink(Protocol):
    """Where measurements go. It never waits and never fails."""

    def add(self, name: str, step: int, time: float, value: float) -> None: ...

    def left_out(self, points: int) -> None:
        """Points of more series than are kept."""

    def set(self, name: str, value: str) -> None:
        """A parameter or a tag."""


@dataclass(slots=True)
class Asked:
    """One request, and what it is about."""

    book: Book
    sink: Sink
    body: Json
    now: int
    """Milliseconds."""
    id: str = ""
    """Of the model that its path names."""

    def run(self) -> Run:
        return self.book.run(text(self.body, "run_id", "run_uuid"), self.now)


Handler = Callable[[Asked], Json]


# ---- experiments


def create_experiment(asked: Asked) -> Json:
    name = text(asked.body, "name", most=NAME_LENGTH)
    location = text_if_there(asked.body, "artifact_location", most=PLACE_LENGTH)
    tags = pairs(asked.body, "tags", TAG_LENGTH)
    made = asked.book.new_experiment(name, location, asked.now)
    asked.book.set_tags(made.tags, tags)
    return {"experiment_id": made.id}


def get_experiment(asked: Asked) -> Json:
    found = asked.book.experiment(text(asked.body, "experiment_id"))
    return {"experiment": experiment_json(found)}


def get_experiment_by_name(asked: Asked) -> Json:
    found = asked.book.named(text(asked.body, "experiment_name", most=NAME_LENGTH))
    return {"experiment": experiment_json(found)}


def search_experiments(asked: Asked) -> Json:
    if text_if_there(asked.body, "filter", most=1000):
        raise Refusal("Stoker's tracking does not filter experiments: leave filter_string out")
    return {"experiments": [experiment_json(one) for one in asked.book.experiments.values()]}


def update_experiment(asked: Asked) -> Json:
    found = asked.book.experiment(text(asked.body, "experiment_id"))
    name = text(asked.body, "new_name", most=NAME_LENGTH)
    asked.book.weigh({name: ""}, instead={found.name: ""})
    found.name = name
    return {}


def stage_experiment(stage: str) -> Handler:
    def handler(asked: Asked) -> Json:
        asked.book.experiment(text(asked.body, "experiment_id")).stage = stage
        return {}

    return handler


def tag_experiment(asked: Asked) -> Json:
    found = asked.book.experiment(text(asked.body, "experiment_id"))
    value = text_if_there(asked.body, "value", most=TAG_LENGTH)
    asked.book.set_tags(found.tags, {text(asked.body, "key"): value})
    return {}


# ---- runs


def create_run(asked: Asked) -> Json:
    tags = pairs(asked.body, "tags", TAG_LENGTH)
    name = text_if_there(asked.body, "run_name") or tags.get("mlflow.runName", "")
    experiment = text_if_there(asked.body, "experiment_id") or DEFAULT
    started = whole_number(asked.body, "start_time", asked.now)
    run = asked.book.new_run(uuid.uuid4().hex, name, experiment, started)
    run.user = text_if_there(asked.body, "user_id")
    set_tags(asked, run, tags)
    return {"run": run_json(run, asked.book)}


def get_run(asked: Asked) -> Json:
    return {"run": run_json(asked.run(), asked.book)}


def update_run(asked: Asked) -> Json:
    run = asked.run()
    status = text_if_there(asked.body, "status") or run.status
    if status not in STATUSES:
        raise Refusal(f"{status[:40]!r} is no status of a run; known: {', '.join(STATUSES)}")
    name = text_if_there(asked.body, "run_name")
    ended = whole_number(asked.body, "end_time", -1)
    if name and name != run.name:
        asked.book.weigh({name: ""}, instead={run.name: ""})
    run.status, run.name = status, name or run.name
    run.ended = ended if ended >= 0 else run.ended
    return {"run_info": info_json(run, asked.book)}


def stage_run(stage: str) -> Handler:
    def handler(asked: Asked) -> Json:
        asked.run().stage = stage
        return {}

    return handler


def search_runs(asked: Asked) -> Json:
    found = chosen(asked.book.runs.values(), asked.body)
    return {"runs": [run_json(run, asked.book) for run in found]}


def log_metric(asked: Asked) -> Json:
    run = asked.run()
    add(asked, run, [metric_of(asked.body, asked.now)])
    return {}


def log_batch(asked: Asked) -> Json:
    """All or nothing, as far as what is wrong can be seen."""
    run = asked.run()
    metrics = [metric_of(one, asked.now) for one in items(asked.body, "metrics")]
    params = pairs(asked.body, "params", PARAM_LENGTH)
    tags = pairs(asked.body, "tags", TAG_LENGTH)
    set_params(asked, run, params)
    set_tags(asked, run, tags)
    add(asked, run, metrics)
    return {}


def log_param(asked: Asked) -> Json:
    value = text_if_there(asked.body, "value", most=PARAM_LENGTH)
    set_params(asked, asked.run(), {text(asked.body, "key"): value})
    return {}


def set_tag(asked: Asked) -> Json:
    value = text_if_there(asked.body, "value", most=TAG_LENGTH)
    set_tags(asked, asked.run(), {text(asked.body, "key"): value})
    return {}


def delete_tag(asked: Asked) -> Json:
    tags, key = asked.run().tags, text(asked.body, "key")
    if key in tags:
        asked.book.weigh({}, instead={key: tags.pop(key)})
    return {}


def metric_history(asked: Asked) -> Json:
    """The last value alone: the whole is the service's, not the worker's."""
    run = asked.run()
    key = text(asked.body, "metric_key")
    return {"metrics": [metric_json(key, run.metrics[key])] if key in run.metrics else []}


def taken(asked: Asked) -> Json:
    """What is told of data sets and files: nothing of it is shown, and nothing is wrong with it."""
    asked.run()
    return {}


def add(asked: Asked, run: Run, metrics: list[tuple[str, Metric]]) -> None:
    beyond = 0
    for key, metric in metrics:
        name = asked.book.note(run, key, metric)
        if name is None:
            beyond += 1
        else:
            asked.sink.add(name, metric.step, metric.time / 1000, metric.value)
    if beyond:
        asked.sink.left_out(beyond)


def set_params(asked: Asked, run: Run, params: dict[str, str]) -> None:
    asked.book.set_params(run, params)
    for key, value in params.items():
        asked.sink.set(series_name(run.label, key), value)


def set_tags(asked: Asked, run: Run, tags: dict[str, str]) -> None:
    asked.book.set_tags(run.tags, tags)
    run.name = tags.get("mlflow.runName") or run.name
    for key, value in tags.items():
        if not key.startswith(OWN_TAGS):
            asked.sink.set(series_name(run.label, f"tags.{key}"), value)
