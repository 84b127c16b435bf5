"""What has a program told MLflow's client, and what does it get to read of it? Pure.

One book an attempt: experiments, runs, parameters, tags, the last value of each metric, and models.
It holds what the client asks for while the program runs; what people see goes to the service
``metrics``. Everything in it is bounded: what is too much is refused aloud.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import msgpack

from schemas.metrics import MOST_SERIES, NAME_LENGTH

MOST_NAMES = 4 * MOST_SERIES
"""Of metrics that are told apart: several may share a series."""
DEFAULT = "0"
"""Id of the experiment that there always is."""
MOST_RUNS, MOST_EXPERIMENTS, MOST_MODELS = 500, 100, 200
MOST_TEXT = 2 << 20
"""Characters of all names, parameters and tags of one attempt."""
RUN_ID = re.compile(r"^[0-9a-f]{32}$")
ENDED = ("FINISHED", "FAILED", "KILLED")
STATUSES = ("RUNNING", "SCHEDULED", *ENDED)
ACTIVE, DELETED = "active", "deleted"
NOTHING: Mapping[str, str] = {}


class Refusal(Exception):
    """The answer is an error of MLflow's: its code, and one sentence."""

    def __init__(self, message: str, code: str = "INVALID_PARAMETER_VALUE", status: int = 400):
        super().__init__(message)
        self.code = code
        self.status = status


def absent(what: str) -> Refusal:
    return Refusal(f"{what} does not exist", "RESOURCE_DOES_NOT_EXIST", 404)


class Metric(NamedTuple):
    value: float
    time: int
    """Milliseconds, as everywhere in MLflow."""
    step: int


@dataclass
class Experiment:
    id: str
    name: str
    location: str
    created: int
    tags: dict[str, str] = field(default_factory=dict)
    stage: str = ACTIVE


@dataclass
class Run:
    id: str
    name: str
    experiment: str
    label: str
    """Before the names of its series and parameters; empty for the first run of an attempt."""
    started: int
    user: str = ""
    status: str = "RUNNING"
    ended: int | None = None
    stage: str = ACTIVE
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Metric] = field(default_factory=dict)


@dataclass
class Model:
    id: str
    name: str
    experiment: str
    type: str
    run: str
    created: int
    status: str = "LOGGED_MODEL_PENDING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Book:
    """``artifacts``: where programs put files, as a URI that the program itself can write to."""

    def __init__(self, artifacts: str, *, earlier: bool) -> None:
        self.artifacts = artifacts
        self._earlier = earlier
        """Whether a run may be one of an attempt, or of a job, that goes on here."""
        self.experiments: dict[str, Experiment] = {}
        self.runs: dict[str, Run] = {}
        self.models: dict[str, Model] = {}
        self.series: set[str] = set()
        self._names: dict[tuple[str, str], str] = {}
        """Of the series, by run and metric."""
        self._text = 0
        self._add_experiment(Experiment(DEFAULT, "Default", artifacts, 0))

    # ---- experiments

    def experiment(self, id: str) -> Experiment:
        if id not in self.experiments:
            raise absent(f"an experiment with the id {id[:40]!r}")
        return self.experiments[id]

    def named(self, name: str) -> Experiment:
        for one in self.experiments.values():
            if one.name == name:
                return one
        raise absent(f"an experiment with the name {name[:80]!r}")

    def new_experiment(self, name: str, location: str, now: int) -> Experiment:
        if any(one.name == name for one in self.experiments.values()):
            words = f"there is an experiment {name[:80]!r} already"
            raise Refusal(words, "RESOURCE_ALREADY_EXISTS")
        few("experiments", self.experiments, MOST_EXPERIMENTS)
        self.weigh({name: location})
        id = str(len(self.experiments))
        return self._add_experiment(Experiment(id, name, location or self.artifacts, now))

    def _add_experiment(self, one: Experiment) -> Experiment:
        self.experiments[one.id] = one
        return one

    # ---- runs

    def run(self, id: str, now: int) -> Run:
        found = self.runs.get(id)
        if found is None and self._earlier and RUN_ID.match(id):
            # Into the experiment that the program has just chosen, or its client would object.
            return self.new_run(id, "", next(reversed(self.experiments)), now)
        if found is None:
            raise absent(f"a run with the id {id[:40]!r}")
        return found

    def new_run(self, id: str, name: str, experiment: str, started: int) -> Run:
        self.experiment(experiment)
        few("runs", self.runs, MOST_RUNS)
        self.weigh({id: name})
        name = name or f"run-{id[:8]}"
        labels = {one.label for one in self.runs.values()}
        self.runs[id] = Run(id, name, experiment, label_of(name, labels), started)
        return self.runs[id]

    def set_params(self, run: Run, params: Mapping[str, str]) -> None:
        """None of them where one differs from what was set before: MLflow's rule."""
        for key, value in params.items():
            before = run.params.get(key, value)
            if before != value:
                raise Refusal(
                    f"the parameter {key[:80]!r} is {before[:80]!r} already, and a parameter does"
                    f" not change; {value[:80]!r} was not set"
                )
        self.weigh({key: value for key, value in params.items() if key not in run.params})
        run.params |= params

    def set_tags(self, tags: dict[str, str], new: Mapping[str, str]) -> None:
        """Some are set anew at every step: what is replaced counts no more."""
        self.weigh(new, instead={key: tags[key] for key in new if key in tags})
        tags |= new

    def note(self, run: Run, key: str, metric: Metric) -> str | None:
        """Keeps the last one; the name of the series, or None where there are too many of them."""
        name = self._names.get((run.id, key))
        if name is None:
            name = series_name(run.label, key)
            fresh = name not in self.series and len(self.series) >= MOST_SERIES
            if fresh or len(self._names) >= MOST_NAMES:
                return None
            self.series.add(name)
            self._names[run.id, key] = name
        run.metrics[key] = metric
        return name

    # ---- models

    def model(self, id: str) -> Model:
        if id not in self.models:
            raise absent(f"a model with the id {id[:40]!r}")
        return self.models[id]

    def new_model(self, model: Model) -> Model:
        self.experiment(model.experiment)
        few("models", self.models, MOST_MODELS)
        self.weigh({model.id: model.name, model.run: model.type, **model.params, **model.tags})
        self.models[model.id] = model
        return model

    # ---- what is too much

    def weigh(self, texts: Mapping[str, str], instead: Mapping[str, str] = NOTHING) -> None:
        more = length(texts) - length(instead)
        if self._text + more > MOST_TEXT:
            raise Refusal(
                f"this job has told MLflow {MOST_TEXT >> 20} MiB of names, parameters and tags, as"
                " much as Stoker keeps of one",
                "RESOURCE_LIMIT_EXCEEDED",
            )
        self._text += more

    # ---- an agent that is started again

    def pack(self) -> bytes:
        kept = {
            "experiments": [asdict(one) for one in self.experiments.values()],
            "runs": [{**asdict(one), "metrics": one.metrics} for one in self.runs.values()],
            "models": [asdict(one) for one in self.models.values()],
            "series": sorted(self.series),
            "text": self._text,
        }
        data: bytes = msgpack.packb(kept)
        return data

    def restore(self, data: bytes) -> None:
        """What ``pack`` of the agent before this one gave. Raises ``ValueError``."""
        try:
            kept: dict[str, Any] = msgpack.unpackb(data)
            experiments = [Experiment(**one) for one in kept["experiments"]]
            runs = [Run(**one) for one in kept["runs"]]
            models = [Model(**one) for one in kept["models"]]
            series, text = set(kept["series"]), int(kept["text"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"no book of an attempt: {error}") from error
        for run in runs:
            run.metrics = {key: Metric(*metric) for key, metric in run.metrics.items()}
        self.experiments = {one.id: one for one in experiments}
        self.runs = {one.id: one for one in runs}
        self.models = {one.id: one for one in models}
        self.series, self._text = series, text


def length(texts: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in texts.items())


def few(what: str, there: Mapping[str, object], most: int) -> None:
    if len(there) >= most:
        words = f"one job can have {most} {what} of MLflow's, and this one has them"
        raise Refusal(words, "RESOURCE_LIMIT_EXCEEDED")


def label_of(name: str, taken: Iterable[str]) -> str:
    """The first run of an attempt needs none; another one's tells it from those before."""
    labels = set(taken)
    if not labels:
        return ""
    name = name[: NAME_LENGTH // 2]
    label, number = name, 1
    while label in labels:
        number += 1
        label = f"{name} {number}"
    return label


def series_name(label: str, key: str) -> str:
    """Short enough, and the same for the same key."""
    name = f"{label}/{key}" if label else key
    if len(name) <= NAME_LENGTH:
        return name
    return f"{name[: NAME_LENGTH - 9]}~{zlib.crc32(name.encode('utf-8', 'replace')):08x}"
