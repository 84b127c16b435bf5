"""Which requests are let in, and what is the browser forbidden to do with the answers?"""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
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
    "Origin-Agent-Cluster": "?1",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Permitted-Cross-Domain-Policies": "none",
}
HTTPS_ONLY = "max-age=31536000"
"""A browser that came by HTTPS once comes by nothing else for a year."""

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
    response.headers["Server"] = "Stoker"  # Not which versions of what.
    response.headers.setdefault("Content-Security-Policy", STRICT)
    if is_secure(request) and host_name(host_of(request)) not in LOOPBACK:
        response.headers.setdefault("Strict-Transport-Security", HTTPS_ONLY)
    # Modules import each other without a version in the address: ask each time, get a 304.
    fresh = "no-cache" if request.path.startswith("/static/") else "no-store"
    response.headers.setdefault("Cache-Control", fresh)


def check_host(request: web.Request) -> None:
    """A page of a stranger whose name was pointed at this address (DNS rebinding) is told no."""
    config = request.app[CONFIG]
    host = host_name(host_of(request))
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
    if (origin is not None and not is_own(request, origin)) or site in ("cross-site", "same-site"):
        raise refuse(
            403,
            "foreign_origin",
            "Another site's page may not do this",
            "Open Stoker's own page, or send the request without an Origin. "
            "A proxy in between has to pass Host and X-Forwarded-Proto on.",
        )


def is_own(request: web.Request, origin: str) -> bool:
    """Over HTTPS the page of the same name over HTTP is a stranger: anybody may have written it."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    secure = parts.scheme == "https" or not is_secure(request)
    return secure and parts.netloc.lower() == host_of(request).lower()


def is_secure(request: web.Request) -> bool:
    """Whether the browser's own line is HTTPS: ours, or that of a proxy that we believe."""
    return request.secure or told_by_proxy(request, "X-Forwarded-Proto").lower() == "https"


def host_of(request: web.Request) -> str:
    """As the browser wrote it: a proxy has to pass it on.

    ``X-Forwarded-Host`` counts nowhere: proxies hand it through, and a page that was rebound to our
    address may write it.
    """
    return request.headers.get("Host", "")


def client_address(request: web.Request) -> str:
    """Who asks: the nearest address that is none of our proxies'."""
    peer = request.remote or ""
    if not is_proxy(request, peer):
        return peer
    for told in reversed(forwarded(request, "X-Forwarded-For")):
        if address_of(told) is None:
            break
        peer = told
        if not is_proxy(request, told):
            break
    return peer


def told_by_proxy(request: web.Request, header: str) -> str:
    """What the nearest proxy says; empty where nobody is there whom we believe."""
    if not request.app[CONFIG].proxies or not is_proxy(request, request.remote or ""):
        return ""
    return (forwarded(request, header) or [""])[-1]


def forwarded(request: web.Request, header: str) -> list[str]:
    values = ",".join(request.headers.getall(header, ())).split(",")
    return [value.strip() for value in values if value.strip()]


def is_proxy(request: web.Request, text: str) -> bool:
    address = address_of(text)
    networks = request.app[CONFIG].proxies
    return address is not None and any(address in ip_network(one) for one in networks)


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    with suppress(ValueError):
        address = ip_address(text)
        return getattr(address, "ipv4_mapped", None) or address
    return None


def is_websocket(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


def host_name(host: str) -> str:
    """Without the port; an IPv6 address without its brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
