"""How is a file that somebody's job or upload made served, whole or in part?"""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from ui.output_kinds import DOWNLOAD
from ui.problems import refuse
from ui.ranges import ByteRange, Unsatisfiable, read_range

SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"


def span_of(request: web.Request, size: int, etag: str) -> ByteRange:
    """What is asked for; raises ``HttpProblem`` where there is no such range."""
    condition = request.headers.get("If-Range")
    if condition is not None and condition != etag:
        return ByteRange(0, size)
    try:
        return read_range(request.headers.get("Range"), size) or ByteRange(0, size)
    except Unsatisfiable:
        detail = f"The file has {size} bytes."
        raise refuse(416, "bad_range", "There is no such range", detail) from None


def answer_to(
    path: str, size: int, etag: str, span: ByteRange, shown: str | None = None
) -> web.StreamResponse:
    """To be saved, unless it is ``shown`` as that type."""
    way, name = "inline" if shown else "attachment", path.rpartition("/")[2]
    headers = {
        "Content-Type": shown or DOWNLOAD,
        "Content-Disposition": f"{way}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": SANDBOX,
        "Accept-Ranges": "bytes",
        "ETag": etag,
    }
    partial = span != ByteRange(0, size)
    if partial:
        headers["Content-Range"] = f"bytes {span.start}-{span.stop - 1}/{size}"
    response = web.StreamResponse(status=206 if partial else 200, headers=headers)
    response.content_length = span.stop - span.start
    return response
