"""Which addresses are there? One table, from which the server and its description are made."""

from __future__ import annotations

from aiohttp import web

from schemas.access import Action
from schemas.requests import JobList
from ui import pages
from ui.api import (
    health,
    jobs,
    list_socket,
    log_rows,
    log_socket,
    log_text,
    oidc,
    row_socket,
    samples,
    sharing,
    submitting,
    workers,
)
from ui.keys import ACTIONS, PAGES_OF
from ui.operations import API, Operation, Page, Query
from ui.output_routes import OUTPUT_OPERATIONS
from ui.oversight_routes import OVERSIGHT_OPERATIONS
from ui.people_routes import PEOPLE_OPERATIONS
from ui.secret_routes import SECRET_OPERATIONS
from ui.views import (
    DrainBody,
    FoundRows,
    JobAnswer,
    SampleList,
    StoredSubmission,
    WorkerList,
    WorkerView,
)

ATTEMPT = (
    Query("attempt", "Number of the attempt; the newest if left out.", "integer"),
    Query("rank", "Container of the attempt; 0.", "integer"),
)
LIST = (
    Query("state", "States to show, repeated or joined by commas."),
    Query("text", "To be found in name, id or reason."),
    Query("pool", "Only of this pool."),
    Query("before", "Only jobs older than this id: the last one of the page before."),
    Query("limit", "At most this many, 1 to 500.", "integer"),
)
WINDOW = (
    Query("lines", "Such as 120, 120-140 or 120-; Stoker-Cursor says where it begins."),
    Query("tail", "That many lines at the end.", "integer"),
    Query("since", "What was printed from then on: an ISO time, Unix seconds, or 10m ago."),
    Query("until", "What was printed before then."),
)
VIEW = (
    Query("view", "readable: rows as a terminal would show them, not the bytes as printed."),
    Query("colour", "0: the readable view without colours."),
    Query("download", "1: as a file."),
)
BYTES_UNSEEN = Query("window", 'Bytes on the way at most; the client sends {"seen": N}.', "integer")
MATCHING = (
    Query("q", "Only rows that hold this text."),
    Query("case", "1: letters as they are written."),
    Query("stream", "Only rows of o (standard output), e (error), b (build) or s (Stoker)."),
)
ROWS = (
    Query("first", "The first row, counted from 1; with q or stream, the first match.", "integer"),
    Query("tail", "Instead: that many rows at the end.", "integer"),
    Query("offset", "Instead: from the row on that holds this byte of the log.", "integer"),
    Query("time", "Instead: from the row on that was begun then: as in since."),
    Query("count", "Rows at most, 1 to 5,000; 500.", "integer"),
)
SOCKET = (
    Query("after", "The cursor attempt.rank.offset; everything after it is sent."),
    *ATTEMPT,
    BYTES_UNSEEN,
)
LIKE = (Query("like", "The job whose secrets are meant where the spec still says •••."),)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        f"{API}/jobs",
        submitting.create_job,
        "Submit a job: a .zip with a spec, or a spec with the digest of a stored bundle.",
        JobAnswer,
        201,
        StoredSubmission,
        form=True,
        query=LIKE,
        keyed=True,
        problems=(408, 413, 415, 422, 503, 507),
        action=Action.SUBMIT,
    ),
    Operation(
        "GET",
        f"{API}/jobs",
        jobs.list_jobs,
        "List jobs, newest first.",
        JobList,
        query=LIST,
        problems=(422, 503),
        action=Action.SEE_JOBS,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}",
        jobs.show_job,
        "Show a job, and why it does not run yet.",
        JobAnswer,
        problems=(404, 503),
        action=Action.SEE_JOB,
    ),
    Operation(
        "POST",
        f"{API}/jobs/{{job}}/cancel",
        jobs.cancel_job,
        "Cancel a job; repeated, it gets the same answer.",
        JobAnswer,
        problems=(404, 503),
        action=Action.STOP_JOB,
    ),
    Operation(
        "POST",
        f"{API}/jobs/{{job}}/retry",
        jobs.retry_job,
        "Submit the same job again, as a new one.",
        JobAnswer,
        201,
        keyed=True,
        problems=(404, 422, 503),
        action=Action.SUBMIT,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/log",
        log_text.log_text,
        "The stored log of one attempt as text; takes Range, or a part by lines or by time.",
        "text/plain",
        query=(*ATTEMPT, *WINDOW, *VIEW),
        problems=(404, 410, 416, 422, 503),
        tag="logs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/log/ws",
        log_socket.log_socket,
        "WebSocket: the log after a cursor, then its live tail, and changes of the job.",
        "application/octet-stream",
        101,
        query=SOCKET,
        problems=(404, 422, 503),
        tag="logs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/log/rows",
        log_rows.log_rows,
        "A frame with rows of the readable log: what a terminal would show, numbered from 1.",
        "application/octet-stream",
        query=(*ATTEMPT, *ROWS, *MATCHING),
        problems=(404, 410, 422, 503),
        tag="logs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/log/search",
        log_rows.log_search,
        "Count and number the rows of the readable log that match.",
        FoundRows,
        query=(*ATTEMPT, *MATCHING),
        problems=(404, 410, 422, 503),
        tag="logs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/log/rows/ws",
        row_socket.row_socket,
        "WebSocket: the rows that can still change, then every change, and changes of the job.",
        "application/octet-stream",
        101,
        query=(*ATTEMPT, BYTES_UNSEEN),
        problems=(404, 422, 503),
        tag="logs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/events/ws",
        list_socket.list_socket,
        "WebSocket: rows of the job list that change.",
        "application/json",
        101,
        problems=(503,),
        action=Action.SEE_JOBS,
    ),
    Operation(
        "GET",
        f"{API}/workers",
        workers.list_workers,
        "List workers as last heard.",
        WorkerList,
        problems=(503,),
        tag="workers",
        action=Action.SEE_WORKERS,
    ),
    Operation(
        "POST",
        f"{API}/workers/{{worker}}/drain",
        workers.drain_worker,
        "Let a worker take nothing new, or take up work again.",
        WorkerView,
        body=DrainBody,
        problems=(404, 422, 503),
        tag="workers",
        action=Action.ADMIN,
    ),
    Operation(
        "GET",
        f"{API}/samples",
        samples.list_samples,
        "List the sample jobs.",
        SampleList,
        tag="samples",
        action=Action.SUBMIT,
    ),
    Operation(
        "POST",
        f"{API}/samples/{{name}}",
        samples.run_sample,
        "Submit a sample job.",
        JobAnswer,
        201,
        keyed=True,
        problems=(404, 503),
        tag="samples",
        action=Action.SUBMIT,
    ),
    Operation(
        "GET",
        f"{API}/openapi.json",
        pages.openapi_document,
        "This description.",
        "application/json",
        tag="service",
        action=Action.SIGNED_IN,
    ),
    Operation(
        "GET",
        "/healthz",
        health.healthz,
        "The process answers.",
        "text/plain",
        tag="service",
        action=Action.OPEN,
    ),
    Operation(
        "GET",
        "/readyz",
        health.readyz,
        "The bus is connected.",
        "text/plain",
        problems=(503,),
        tag="service",
        action=Action.OPEN,
    ),
    Operation(
        "GET",
        "/metrics",
        health.metrics,
        "Figures in Prometheus' text format.",
        "text/plain",
        tag="service",
        action=Action.SEE_WORKERS,
    ),
    *OUTPUT_OPERATIONS,
    *PEOPLE_OPERATIONS,
    *SECRET_OPERATIONS,
    *OVERSIGHT_OPERATIONS,
)
PAGES: tuple[Page, ...] = (
    Page("/", pages.home_page, Action.SEE_JOBS),
    Page("/jobs/{job}", pages.job_page, Action.SEE_JOB),
    Page("/workers", pages.workers_page, Action.SEE_WORKERS),
    Page("/api", pages.api_page, Action.SIGNED_IN),
    Page("/account", pages.account_page, Action.SIGNED_IN),
    Page("/secrets", pages.secrets_page, Action.SIGNED_IN),
    Page("/people", pages.people_page, Action.ADMIN),
    Page("/audit", pages.audit_page, Action.ADMIN),
    Page("/sign-in", pages.sign_in_page, Action.OPEN),
    Page("/sign-in/oidc", oidc.begin_oidc, Action.OPEN),
    Page(oidc.BACK, oidc.end_oidc, Action.OPEN),
    Page("/shared/{secret}", sharing.shared_page, Action.OPEN),
)


def add_routes(app: web.Application) -> None:
    for operation in OPERATIONS:
        if operation.method == "GET":
            path = operation.path.replace("{path}", r"{path:[^\0]+}")
            app.router.add_get(path, operation.handler)
        else:
            app.router.add_route(operation.method, operation.path, operation.handler)
    for page in PAGES:
        app.router.add_get(page.path, page.handler)
    app[ACTIONS] = {
        **{(one.method, one.path): one.action for one in OPERATIONS},
        **{("GET", page.path): page.action for page in PAGES},
    }
    app[PAGES_OF] = {("GET", page.path) for page in PAGES}
