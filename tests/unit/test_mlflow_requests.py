"""What MLflow's client asks is answered in its own terms, and what is too much is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from agent.mlflow.address import URI, token_of, tracking_variables
from agent.mlflow.api import answer
from agent.mlflow.book import MOST_RUNS, MOST_TEXT, Book, label_of
from agent.mlflow.queue import SampleQueue
from schemas.metrics import MOST_SERIES, NAME_LENGTH, Source
from schemas.spec import JobSpec
from schemas.worker import Grant

API = "/api/2.0/mlflow"
NOW = 1000.0


@dataclass
class Heard:
    """All that came of measurements."""

    points: list[tuple[str, int, float, float]] = field(default_factory=list)
    params: dict[str, str] = field(default_factory=dict)
    beyond: int = 0

    def add(self, name: str, step: int, time: float, value: float) -> None:
        self.points.append((name, step, time, value))

    def left_out(self, points: int) -> None:
        self.beyond += points

    def set(self, name: str, value: str) -> None:
        self.params[name] = value


class Client:
    """Asks as MLflow's client does; a refusal is its status and code."""

    def __init__(self, *, earlier: bool = False) -> None:
        self.book = Book("file:///outputs/mlflow", earlier=earlier)
        self.heard = Heard()

    def ask(self, method: str, path: str, **body: Any) -> Any:
        return self.raw(method, API + path, json.dumps(body).encode())

    def raw(self, method: str, target: str, content: bytes = b"") -> Any:
        given = answer(self.book, self.heard, method, target, content, NOW)
        told = json.loads(given.body)
        return told if given.status == 200 else (given.status, told["error_code"])

    def post(self, path: str, **body: Any) -> Any:
        return self.ask("POST", path, **body)

    def run(self, name: str = "") -> str:
        id: str = self.post("/runs/create", run_name=name)["run"]["info"]["run_id"]
        return id

    def get(self, run: str) -> Any:
        return self.raw("GET", f"{API}/runs/get?run_id={run}&run_uuid={run}")["run"]


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_batch_is_measured_and_read_again(client: Client) -> None:
    run = client.run("big")
    metrics = [
        {"key": "loss", "value": 0.5, "timestamp": 5000, "step": 3},
        {"key": "loss", "value": "NaN", "timestamp": "6000", "step": "2"},
    ]
    told = client.post(
        "/runs/log-batch",
        run_id=run,
        metrics=metrics,
        params=[{"key": "lr", "value": "0.1"}],
        tags=[{"key": "team", "value": "a"}, {"key": "mlflow.user", "value": "root"}],
    )
    assert told == {}
    assert str(client.heard.points) == "[('loss', 3, 5.0, 0.5), ('loss', 2, 6.0, nan)]"
    assert client.heard.params == {"lr": "0.1", "tags.team": "a"}
    data = client.get(run)["data"]
    assert data["metrics"] == [{"key": "loss", "value": "NaN", "timestamp": 6000, "step": 2}]
    assert data["params"] == [{"key": "lr", "value": "0.1"}]
    assert client.get(run)["info"]["artifact_uri"] == f"file:///outputs/mlflow/{run}/artifacts"


def test_further_runs_have_their_names_before_their_series(client: Client) -> None:
    for name in ("first", "try", "try"):
        client.post("/runs/log-metric", run_id=client.run(name), key="loss", value=1)
    assert [one[0] for one in client.heard.points] == ["loss", "try/loss", "try 2/loss"]
    assert label_of("x" * 300, ["", "x" * 100]) == "x" * 100 + " 2"


def test_a_parameter_does_not_change(client: Client) -> None:
    run = client.run()
    assert client.post("/runs/log-parameter", run_id=run, key="lr", value="1") == {}
    assert client.post("/runs/log-parameter", run_id=run, key="lr", value="1") == {}
    told = client.post("/runs/log-parameter", run_id=run, key="lr", value="2")
    assert told == (400, "INVALID_PARAMETER_VALUE")


def test_experiments_are_found_by_name_and_not_made_twice(client: Client) -> None:
    get = f"{API}/experiments/get-by-name?experiment_name="
    assert client.raw("GET", f"{get}mine") == (404, "RESOURCE_DOES_NOT_EXIST")
    made = client.post("/experiments/create", name="mine")
    assert client.raw("GET", f"{get}mine")["experiment"]["experiment_id"] == made["experiment_id"]
    assert client.post("/experiments/create", name="mine") == (400, "RESOURCE_ALREADY_EXISTS")
    assert client.raw("GET", f"{get}Default")["experiment"]["experiment_id"] == "0"


def test_a_run_of_an_earlier_attempt_goes_on(client: Client) -> None:
    old = "0123456789abcdef" * 2
    told = client.post("/runs/log-metric", run_id=old, key="loss", value=1)
    assert told == (404, "RESOURCE_DOES_NOT_EXIST")
    later = Client(earlier=True)
    chosen = later.post("/experiments/create", name="mine")["experiment_id"]
    assert later.get(old)["info"]["experiment_id"] == chosen
    assert later.post("/runs/log-metric", run_id=old, key="loss", value=1) == {}
    assert later.post("/runs/log-metric", run_id="../etc", key="loss", value=1)[0] == 404


def test_a_book_is_the_same_after_the_agent_was_started_again(client: Client) -> None:
    run = client.run("one")
    client.run("two")
    client.post("/experiments/create", name="mine")
    client.post("/runs/log-metric", run_id=run, key="loss", value="Infinity", step=7)
    model = client.post("/logged-models", name="m", source_run_id=run)["model"]["info"]["model_id"]
    after = Client()
    after.book.restore(client.book.pack())
    assert after.get(run) == client.get(run)
    assert after.ask("GET", f"/logged-models/{model}")["model"]["info"]["name"] == "m"
    third = after.run("three")
    after.post("/runs/log-metric", run_id=third, key="loss", value=1)
    assert after.heard.points[-1][0] == "three/loss"
    for damaged in (b"", b"\xc1", client.book.pack()[:50]):
        with pytest.raises(ValueError, match="no book"):
            after.book.restore(damaged)


def test_a_model_is_made_and_finished(client: Client) -> None:
    model = client.post("/logged-models", name="net", params=[{"key": "a", "value": "b"}])["model"]
    path = f"/logged-models/{model['info']['model_id']}"
    assert model["info"]["artifact_uri"].startswith("file:///outputs/mlflow/models/m-")
    done = client.ask("PATCH", path, status="LOGGED_MODEL_READY")["model"]
    assert done["info"]["status"] == "LOGGED_MODEL_READY"
    assert client.ask("PATCH", f"{path}/tags", tags=[{"key": "k", "value": "v"}])["model"]
    assert client.ask("PATCH", path, status=17) == (400, "INVALID_PARAMETER_VALUE")
    assert client.ask("DELETE", path) == {}
    assert client.ask("GET", path) == (404, "RESOURCE_DOES_NOT_EXIST")


SEARCHES = [
    ({}, ["c", "b", "a"]),
    ({"filter": "metrics.loss < 2.5 and params.kind = 'big'"}, ["b"]),
    ({"filter": "tags.`k` != 'x'"}, []),
    ({"filter": "attributes.status = 'FINISHED'"}, ["a"]),
    ({"order_by": ["metrics.loss DESC"]}, ["c", "b", "a"]),
    ({"order_by": ["metrics.loss ASC"], "max_results": 2}, ["b", "c"]),
    ({"run_view_type": "DELETED_ONLY"}, []),
    ({"experiment_ids": ["7"]}, []),
]


@pytest.mark.parametrize(("asked", "names"), SEARCHES, ids=range(len(SEARCHES)))
def test_runs_are_searched_for(client: Client, asked: dict[str, Any], names: list[str]) -> None:
    for number, (name, kind) in enumerate((("a", "small"), ("b", "big"), ("c", "big"))):
        made = client.post("/runs/create", run_name=name, start_time=number)
        run = made["run"]["info"]["run_id"]
        client.post("/runs/log-parameter", run_id=run, key="kind", value=kind)
        loss = "NaN" if name == "a" else number + 1
        client.post("/runs/log-metric", run_id=run, key="loss", value=loss)
        if name == "a":
            client.post("/runs/update", run_id=run, status="FINISHED", end_time=5)
    told = client.post("/runs/search", **{"experiment_ids": ["0"], **asked})
    assert [run["info"]["run_name"] for run in told["runs"]] == names


BAD = [
    ("GET", "/etc/passwd", b"", 404),
    ("GET", f"{API}/nothing", b"", 404),
    ("PUT", f"{API}/runs/create", b"{}", 404),
    ("POST", f"{API}/registered-models/create", b"{}", 404),
    ("POST", f"{API}/runs/create", b"not json", 400),
    ("POST", f"{API}/runs/create", b"[" * 100_000, 400),
    ("POST", f"{API}/runs/create", b'{"start_time":' + b"9" * 5000 + b"}", 400),
    ("POST", f"{API}/runs/create", b'{"start_time":99999999999999999999}', 400),
    ("POST", f"{API}/runs/create", b'{"run_name":"\\ud800"}', 400),
    ("POST", f"{API}/runs/create", b'{"run_name":{"a":1}}', 400),
    ("POST", f"{API}/runs/create", b'{"tags":"x"}', 400),
    ("POST", f"{API}/runs/create", b"\xff\xfe", 400),
    ("POST", f"{API}/runs/create", b"[]", 400),
    ("POST", f"{API}/runs/log-metric", b'{"key":"x","value":1}', 400),
    ("POST", f"{API}/runs/search", b'{"filter":"1=1; drop table"}', 400),
    ("POST", f"{API}/runs/search", b'{"order_by":["a.b.c d e"]}', 400),
    ("GET", f"{API}/runs/get?run_id=" + "a" * 5000, b"", 400),
    ("GET", f"{API}/logged-models/..", b"", 404),
    ("GET", f"{API}/runs/get?" + "&".join(f"a{n}=1" for n in range(200)), b"", 400),
]


@pytest.mark.parametrize(("method", "target", "body", "status"), BAD, ids=range(len(BAD)))
def test_a_bad_request_changes_nothing(
    client: Client, method: str, target: str, body: bytes, status: int
) -> None:
    before = client.book.pack()
    assert client.raw(method, target, body)[0] == status
    assert (client.book.pack(), client.heard) == (before, Heard())


@pytest.mark.parametrize(
    "metric",
    [{"value": "x"}, {"value": None}, {"value": True}, {"value": 1, "step": 1 << 63},
     {"value": 1, "step": "x"}, {"value": 1, "timestamp": 1e300}],
    ids=["text", "none", "truth", "far", "word", "late"],
)  # fmt: skip
def test_a_bad_metric_takes_its_batch_with_it(client: Client, metric: dict[str, Any]) -> None:
    run = client.run()
    good = {"key": "a", "value": 1}
    told = client.post("/runs/log-batch", run_id=run, metrics=[good, {"key": "b", **metric}])
    assert told[0] == 400
    assert client.heard == Heard()


def test_a_job_is_kept_within_its_bounds(client: Client) -> None:
    run = client.run()
    for part in range(2):
        metrics = [{"key": f"m{part}.{n}", "value": 1} for n in range(MOST_SERIES)]
        assert client.post("/runs/log-batch", run_id=run, metrics=metrics) == {}
    assert (len(client.heard.points), client.heard.beyond) == (MOST_SERIES, MOST_SERIES)
    assert client.post("/runs/log-batch", run_id=run, metrics=[{"key": "a"}] * 1001)[0] == 400
    big = [{"key": f"p{n}", "value": "x" * 6000} for n in range(100)]
    full = (400, "RESOURCE_LIMIT_EXCEEDED")
    told = [client.post("/runs/log-batch", run_id=client.run(), params=big) for _ in range(9)]
    assert told.count({}) == MOST_TEXT // (100 * 6003)
    assert told[-1] == full
    for _ in range(MOST_RUNS):
        last = client.post("/runs/create")
    assert last == full


def test_what_is_set_at_every_step_never_becomes_too_much(client: Client) -> None:
    run = client.run()
    for step in range(MOST_TEXT // 5000):
        for path in ("/runs/set-tag", "/runs/update"):
            told = client.post(path, run_id=run, key="now", value=str(step) * 2000, run_name="n")
            assert isinstance(told, dict), told
    assert client.post("/runs/delete-tag", run_id=run, key="now") == {}
    assert client.book._text < 1000


def test_a_long_name_is_short_enough_and_its_own(client: Client) -> None:
    run = client.run()
    for end in "ab":
        client.post("/runs/log-metric", run_id=run, key="x" * 249 + end, value=1)
    names = {one[0] for one in client.heard.points}
    assert len(names) == 2
    assert all(len(name) <= NAME_LENGTH for name in names)


def grant(nonce: str = "n", **spec: Any) -> Grant:
    asked = JobSpec.model_validate(spec)
    return Grant(job="j", attempt=1, nonce=nonce, spec=asked, bundle="b")


def test_a_program_is_told_where_to_track_unless_it_says_so_itself() -> None:
    told = tracking_variables(grant(), 5977, "/outputs")
    assert told[URI] == f"http://127.0.0.1:5977/{token_of(grant())}"
    assert token_of(grant()) != token_of(grant("other"))
    folder = tracking_variables(grant(), None, "/with blank")
    assert folder[URI] == "file:///with%20blank/mlflow"
    assert tracking_variables(grant(environment={URI: "http://mine"}), 1, "/o") == {}
    assert tracking_variables(grant(secrets=[f"MINE={URI}"]), 1, "/o") == {}


def test_a_queue_that_is_full_counts_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.mlflow.queue.WAITING_MOST", 50_000)
    said: list[str] = []
    queue = SampleQueue(None, "j.1", Source.MLFLOW, said.append)  # type: ignore[arg-type]
    for step in range(60_000):
        queue.add(f"s{step % 3}", step, 1.0, 2.0)
    for number in range(150):
        queue.set(f"p{number}", "v" * 10_000)
    messages = []
    while queue._anything:
        messages.append(queue._taken())
    assert sum(one.left_out for one in messages) == 10_000
    assert [len(one.params) for one in messages] == [100, 50, 0, 0, 0]
    points = [sum(len(c.points()) for c in one.columns.values()) for one in messages]
    assert points == [0, 0, 20_000, 20_000, 10_000]
    assert len(said) == 1
