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
    oidc,
    packages,
    resuming,
    samples,
    sharing,
    submitting,
    workers,
)
from ui.data_routes import DATA_OPERATIONS
from ui.keys import ACTIONS, PAGES_OF
from ui.log_routes import LOG_OPERATIONS
from ui.metric_routes import METRIC_OPERATIONS
from ui.operations import API, Operation, Page, Query
from ui.output_routes import OUTPUT_OPERATIONS
from ui.oversight_routes import OVERSIGHT_OPERATIONS
from ui.people_routes import PEOPLE_OPERATIONS
from ui.secret_routes import SECRET_OPERATIONS
from ui.upload_routes import UPLOAD_OPERATIONS
from ui.views import (
    DrainBody,
    JobAnswer,
    SampleList,
    StoredSubmission,
    WorkerList,
    WorkerView,
)

LIST = (
    Query("state", "States to show, repeated or joined by commas."),
    Query("text", "To be found in name, id or reason."),
    Query("pool", "Only of this pool."),
    Query("before", "Only jobs older than this id: the last one of the page before."),
    Query("limit", "At most this many, 1 to 500.", "integer"),
)
RESUME = (Query("resume", "1: it begins from the last checkpoint of this one."),)
LIKE = (Query("like", "The job whose secrets are meant where the spec still says •••."),)
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        f"{API}/jobs",
        submitting.create_job,
        "Submit a job: a .zip with a spec, or a spec that names what was sent before.",
        JobAnswer,
        201,
        StoredSubmission,
        form=True,
        query=LIKE,
        keyed=True,
        problems=(408, 409, 413, 415, 422, 503, 507),
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
        "GET",
        f"{API}/jobs/{{job}}/packages",
        packages.list_packages,
        "List the packages that it ran with, as pip freeze would.",
        "text/plain",
        query=(Query("attempt", "Number; the newest that told them if left out.", "integer"),),
        problems=(404, 422, 503),
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/checkpoint",
        resuming.show_checkpoint,
        "Show from what its next attempt would go on.",
        resuming.CheckpointAnswer,
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
        query=RESUME,
        keyed=True,
        problems=(404, 422, 503),
        action=Action.SUBMIT,
    ),
    *LOG_OPERATIONS,
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
    *UPLOAD_OPERATIONS,
    *OUTPUT_OPERATIONS,
    *METRIC_OPERATIONS,
    *DATA_OPERATIONS,
    *PEOPLE_OPERATIONS,
    *SECRET_OPERATIONS,
    *OVERSIGHT_OPERATIONS,
)
PAGES: tuple[Page, ...] = (
    Page("/", pages.home_page, Action.SEE_JOBS),
    Page("/jobs/{job}", pages.job_page, Action.SEE_JOB),
    Page("/compare", pages.compare_page, Action.SEE_JOBS),
    Page("/workers", pages.workers_page, Action.SEE_WORKERS),
    Page("/api", pages.api_page, Action.SIGNED_IN),
    Page("/account", pages.account_page, Action.SIGNED_IN),
    Page("/data", pages.data_page, Action.SEE_DATA),
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
