"""MLflow's real client, and a script that uses it as scripts do."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

NAME = re.compile(r"^[A-Za-z0-9._-]+")
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}
"""The client tells its makers nothing of a test."""

SCRIPT = """
import math, os, pathlib, time
import mlflow
out = pathlib.Path(os.environ["STOKER_OUTPUTS"])
mlflow.set_experiment("mine")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_params({"lr": 0.1, "token": os.environ.get("HF_TOKEN", "none")})
    mlflow.set_tag("team", "a")
    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_metrics({"loss": math.nan, "acc": 1}, step=2)
    mlflow.log_text("hello", "notes/a.txt")
    print("first", flush=True)
    while os.environ.get("WAIT") and not (out / "go").exists():
        time.sleep(0.05)
    for step in range(3, 33):
        mlflow.log_metric("loss", 1 / step, step=step)
    with mlflow.start_run(run_name="second", nested=True):
        mlflow.log_metric("loss", 7.0, step=1)
        mlflow.log_param("lr", 0.2)
    try:
        mlflow.log_param("lr", 0.3)
    except mlflow.MlflowException as error:
        print("refused:", error.error_code, flush=True)
client = mlflow.MlflowClient()
data = client.get_run(run.info.run_id).data
assert data.params["lr"] == "0.1", data
assert data.tags["team"] == "a", data
assert data.metrics["acc"] == 1.0, data
found = client.search_runs([run.info.experiment_id], "metrics.loss > 1")
assert [one.info.run_name for one in found] == ["second"], found
assert client.get_run(run.info.run_id).info.status == "FINISHED"
assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["notes"]
print("done", flush=True)
"""


def site_packages() -> Path:
    """Where the client lies."""
    return Path(str(distribution("mlflow-skinny").locate_file("")))


def copy_client(target: Path) -> None:
    """The client with all that it needs, for an interpreter of the same version elsewhere."""
    for one in needed("mlflow-skinny", {}).values():
        for file in one.files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            place = target.joinpath(*file.parts)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(one.locate_file(file)), place)


def needed(name: str, known: dict[str, Distribution]) -> dict[str, Distribution]:
    key = name.lower().replace("_", "-")
    if key in known:
        return known
    try:
        known[key] = distribution(name)
    except PackageNotFoundError:
        return known  # Needed elsewhere alone.
    for line in known[key].requires or ():
        match = NAME.match(line)
        if match and "extra ==" not in line:
            needed(match[0], known)
    return known
