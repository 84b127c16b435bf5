"""At which provider of OpenID Connect may people sign in: what was asked on the command line?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from stoker.answers import StokerError

if TYPE_CHECKING:
    from ui.config import OidcConfig

SCOPES = ("openid", "profile", "email")
ROLES = ("viewer", "member", "admin")
EVERYBODY = "*"

Issuer = Annotated[
    str | None,
    typer.Option("--oidc-issuer", metavar="URL", help="OpenID Connect: who says who people are."),
]
ClientId = Annotated[
    str | None, typer.Option("--oidc-client-id", help="What this Stoker is called there.")
]
SecretFile = Annotated[
    Path | None, typer.Option("--oidc-client-secret-file", help="File with its secret.")
]
Scope = Annotated[
    list[str] | None,
    typer.Option(
        "--oidc-scope",
        help="Asked for; repeatable. Some providers tell groups for the scope groups alone.",
        show_default="openid, profile, email",
    ),
]
Group = Annotated[
    list[str] | None,
    typer.Option(
        "--oidc-group",
        metavar="GROUP=ROLE",
        help="Who is viewer, member or admin, repeatable; *=ROLE for everybody there. people's.",
    ),
]
GroupsClaim = Annotated[
    str, typer.Option("--oidc-groups-claim", help="Where it tells the groups.", hidden=True)
]
Name = Annotated[
    str, typer.Option("--oidc-name", help="What the button on the sign-in page calls it.")
]


@dataclass(frozen=True, slots=True)
class OidcFlags:
    """One provider."""

    issuer: str
    client_id: str
    secret_file: Path | None = None
    scopes: tuple[str, ...] = SCOPES
    groups_claim: str = "groups"
    name: str = ""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Its group to our role."""

    def config(self) -> OidcConfig:
        """What the page needs to know. Raises ``StokerError`` where the secret cannot be read."""
        from ui.config import OidcConfig

        return OidcConfig(
            issuer=self.issuer,
            client_id=self.client_id,
            client_secret=secret_of(self.secret_file) if self.secret_file else "",
            scopes=self.scopes,
            groups_claim=self.groups_claim,
            label=self.name or urlsplit(self.issuer).hostname or "single sign-on",
        )


def read_flags(
    issuer: str | None,
    client_id: str | None,
    secret_file: Path | None,
    scopes: Sequence[str],
    groups_claim: str,
    name: str,
    groups: Sequence[str],
) -> OidcFlags | None:
    """None where no provider was named."""
    if issuer is None:
        if client_id or secret_file or scopes:
            raise StokerError("--oidc-client-id and its like need --oidc-issuer URL")
        return None
    if client_id is None:
        raise StokerError("--oidc-issuer needs --oidc-client-id, as the provider calls this Stoker")
    check_issuer(issuer)
    if secret_file is not None:
        secret_of(secret_file)  # Told now, not when the page starts.
    wanted = tuple(dict.fromkeys(("openid", *scopes))) if scopes else SCOPES
    return OidcFlags(
        issuer, client_id, secret_file, wanted, groups_claim, name, group_roles(groups)
    )


def check_issuer(issuer: str) -> None:
    from ui.oidc_answers import is_private

    if not is_private(issuer) or set(issuer) & set("?#"):
        raise StokerError(
            f"--oidc-issuer {issuer}: write its address, https://…, as it calls itself"
        )


def group_roles(groups: Sequence[str]) -> dict[str, str]:
    """From ``GROUP=ROLE``."""
    found = {}
    for text in groups:
        group, _, role = text.rpartition("=")
        if not group or role not in ROLES:
            raise StokerError(
                f"--oidc-group {text}: write GROUP=ROLE, ROLE one of {', '.join(ROLES)}"
            )
        found[group] = role
    return found


def secret_of(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise StokerError(f"--oidc-client-secret-file {path}: {error.strerror}") from error
