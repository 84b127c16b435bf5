"""Which addresses are about what a job wrote?"""

from __future__ import annotations

from schemas.access import Action
from ui.api import outputs
from ui.operations import API, Operation, Query
from ui.output_views import OutputList

ATTEMPT = Query("attempt", "Number of the attempt; the newest with outputs if left out.", "integer")
UNDER = Query("under", "Only what lies in that folder.")
OUTPUT_OPERATIONS = (
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/outputs",
        outputs.list_outputs,
        "List what an attempt wrote, as far as it is stored.",
        OutputList,
        query=(
            ATTEMPT,
            UNDER,
            Query("after", "Only behind that path: the last one of the page before."),
            Query("limit", "Files at most, 1 to 5,000; 1,000.", "integer"),
        ),
        problems=(404, 422, 503),
        tag="outputs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/outputs/{{path}}",
        outputs.read_output,
        "One file; takes Range. The path's slashes stand as they are.",
        "application/octet-stream",
        query=(ATTEMPT, Query("inline", "1: text or an image, to be shown in a page.")),
        problems=(404, 416, 422, 503),
        tag="outputs",
        action=Action.SEE_JOB,
    ),
    Operation(
        "GET",
        f"{API}/jobs/{{job}}/outputs.zip",
        outputs.zip_outputs,
        "All files in one zip, made while it is sent.",
        "application/zip",
        query=(ATTEMPT, UNDER),
        problems=(404, 422, 503),
        tag="outputs",
        action=Action.SEE_JOB,
    ),
)
