"""Which addresses are about the log of a job?"""

from __future__ import annotations

from schemas.access import Action
from ui.api import log_rows, log_socket, log_text, row_socket
from ui.operations import API, Operation, Query
from ui.views import FoundRows

ATTEMPT = (
    Query("attempt", "Number of the attempt; the newest if left out.", "integer"),
    Query("rank", "Container of the attempt; 0.", "integer"),
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
LOG_OPERATIONS: tuple[Operation, ...] = (
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
)
