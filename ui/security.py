"""Which requests are let in, and what is the browser forbidden to do with the answers?"""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from ui.keys import CONFIG
from ui.problems import refuse

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


STRICT = "; ".join(f"{name} {value}" for name, value in POLICY.items())


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses foreign hosts and foreign origins before anything is read."""
    check_host(request)
    if request.method not in SAFE_METHODS or is_websocket(request):
        check_origin(request)
    return await handler(request)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", STRICT)
    # Modules import each other without a version in the address: ask each time, get a 304.
    fresh = "no-cache" if request.path.startswith("/static/") else "no-store"
    response.headers.setdefault("Cache-Control", fresh)


def check_host(request: web.Request) -> None:
    """A page of a stranger whose name was pointed at this address (DNS rebinding) is told no."""
    config = request.app[CONFIG]
    host = host_name(request.headers.get("Host", ""))
    if "*" in config.hosts or host in LOOPBACK or host in config.hosts or host == config.host:
        return
    raise refuse(
        421,
        "unknown_host",
        "This is not the name of a Stoker page",
        f"Add {host!r} to the ui's hosts if you mean to open the page under that name.",
    )


def check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    own = request.headers.get("Host", "").lower()
    foreign = origin is not None and urlsplit(origin).netloc.lower() != own
    if foreign or site in ("cross-site", "same-site"):
        raise refuse(
            403,
            "foreign_origin",
            "Another site's page may not do this",
            "Open Stoker's own page, or send the request without an Origin.",
        )


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def host_name(host: str) -> str:
    """Without the port; an IPv6 address without its brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
