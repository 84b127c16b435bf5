"""What can be set about the page and the API?"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class OidcConfig:
    """A provider of OpenID Connect, and how its groups become roles."""

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    """Empty for a public client: PKCE alone."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    groups_claim: str = "groups"
    label: str = "single sign-on"
    """What the button calls it."""


@dataclass(frozen=True)
class UiConfig:
    """Settings of one ui process."""

    host: str = "127.0.0.1"
    port: int = 8900
    """0 for any free one."""
    hosts: tuple[str, ...] = ()
    """Names, beside loopback's, under which the page may be opened; ``*`` for any."""
    certificate: Path | None = None
    """PEM file with certificate, chain and key: HTTPS. It is read again when it changes."""
    key: Path | None = None
    """The certificate's key where that lies in a file of its own."""
    proxies: tuple[str, ...] = ()
    """Networks such as ``10.0.0.0/8`` whose ``X-Forwarded-*`` is believed."""
    sign_in: bool = False
    """Whether people sign in; without it whoever reaches the page is ``owner``, and rules."""
    oidc: OidcConfig | None = None
    """The provider at which people may sign in, too."""
    owner: str = "local"
    """Whose jobs are submitted where nobody signs in."""
    examples: Path = EXAMPLES
    upload_limit: int = 16 * GIBIBYTE
    """Bytes of one bundle."""
    uploads_at_once: int = 16
    viewers_at_once: int = 5000
    """WebSockets of this process."""
    request_timeout: float = 2.0
    """Seconds of one try of a request to a service."""
    version: str = "0.1.0"
