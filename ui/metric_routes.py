"""Which addresses are about what was measured?"""

from __future__ import annotations

from schemas.access import Action
from ui.api import metric_files, metric_socket, metrics, sparks
from ui.metric_views import JobCurves, JobMetrics, SparkList, WorkerCurves
from ui.operations import API, Operation, Query

ATTEMPT = Query("attempt", "Number of the attempt; the newest with metrics if left out.", "integer")
SERIES = Query("series", "Key such as log:loss, or a name; repeated for more.")
POINTS = Query("points", "Most points of each series, 5 to 4,000; 1,000.", "integer")
RANGE = (
    Query("from", "Only from there on: a step, or Unix seconds.", "number"),
    Query("to", "Only up to there.", "number"),
)
METRIC_OPERATIONS = (
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/metrics",
        metrics.list_metrics,
        "List the series of a job, attempt by attempt, and its parameters.",
        JobMetrics,
        problems=(404, 503),
        tag="metrics",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/metrics/points",
        metrics.metric_points,
        "Points of some series, as many as a chart can show; no peak is lost.",
        JobCurves,
        query=(SERIES, ATTEMPT, POINTS, Query("axis", "step or time."), *RANGE),
        problems=(404, 422, 503),
        tag="metrics",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/metrics/ws",
        metric_socket.metric_socket,
        "WebSocket: new points, at most once a second.",
        "application/json",
        101,
        query=(ATTEMPT,),
        problems=(404, 422, 503),
        tag="metrics",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/metrics.csv",
        metric_files.csv_metrics,
        "Every point, as CSV.",
        "text/csv",
        query=(ATTEMPT, SERIES),
        problems=(404, 422, 503),
        tag="metrics",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/metrics.parquet",
        metric_files.parquet_metrics,
        "Every point, as Parquet.",
        "application/vnd.apache.parquet",
        query=(ATTEMPT, SERIES),
        problems=(404, 422, 501, 503),
        tag="metrics",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/sparks",
        sparks.list_sparks,
        "A small curve of each of some jobs.",
        SparkList,
        query=(Query("job", "Id of a job; repeated, at most 100."),),
        problems=(422, 503),
        tag="metrics",
        action=Action.SEE_JOBS,
    ),
    Operation(
        "GET",
        f"{API}/workers/{{worker}}/metrics",
        metrics.worker_metrics,
        "What a worker measured of its machine in the last 24 hours.",
        WorkerCurves,
        query=(SERIES, POINTS, *RANGE),
        problems=(404, 422, 503),
        tag="metrics",
        action=Action.SEE_WORKERS,
    ),
)
