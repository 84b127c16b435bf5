"""Which environment variables hold secrets, as far as their names and values tell?"""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "•••"
"""What people see in place of a secret's value."""

NAMES = re.compile(
    r"TOKEN(?!IZ)|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|SIGNING_?KEY"
    r"|ENCRYPTION_?KEY|ACCOUNT_?KEY|CREDENTIAL|CONNECTION_?STRING|SAS_URL"
    r"|^AWS_|^NETRC$|^PGPASS$|^MYSQL_PWD$|(?:^|_)(?:PASS|PWD|PAT|AUTH)$|(?:^|_)WEBHOOK_URL$",
    re.IGNORECASE,
)
"""Searched in the name."""

HARMLESS = frozenset(
    {
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_OUTPUT",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_RETRY_MODE",
        "PWD",
    }
)
"""Names that the pattern meets and that say nothing."""

PLAIN = re.compile(
    r"[-+]?\d*\.?\d*(?:[eE][-+]?\d+)?"
    r"|(?i:true|false|yes|no|on|off|none|null)"
    r"|(?:~|\.\.?)?(?:/[a-z0-9._-]+)+/?",
)
"""Values that are no secrets whatever their name: a number, a boolean, a path in small letters."""


def is_secret(name: str, value: str) -> bool:
    named = NAMES.search(name) is not None and name.upper() not in HARMLESS
    return named and PLAIN.fullmatch(value) is None


def masked(environment: Mapping[str, str]) -> dict[str, str]:
    """What may be shown to whoever may see the job."""
    return {name: MASK if is_secret(name, value) else value for name, value in environment.items()}


def still_masked(environment: Mapping[str, str]) -> list[str]:
    """Names of secrets that were copied from what is shown, not from what was given."""
    return [name for name, value in environment.items() if value == MASK]
