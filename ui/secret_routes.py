"""Which addresses are about secrets?"""

from __future__ import annotations

from schemas.access import Action
from schemas.secret import SecretList
from ui.api import secrets
from ui.operations import API, Operation
from ui.secret_views import SecretBody

SECRET_OPERATIONS = (
    Operation(
        "GET",
        f"{API}/secrets",
        secrets.list_secrets,
        "Your secrets: names and dates, never values.",
        SecretList,
        problems=(401, 503),
        tag="secrets",
        action=Action.SIGNED_IN,
    ),
    Operation(
        "PUT",
        f"{API}/secrets/{{name}}",
        secrets.set_secret,
        "Set a secret of yours, for jobs that name it.",
        "",
        204,
        body=SecretBody,
        problems=(401, 403, 413, 422, 429, 503),
        tag="secrets",
        # Not for a token that may only look.
        action=Action.SUBMIT,
    ),
    Operation(
        "DELETE",
        f"{API}/secrets/{{name}}",
        secrets.remove_secret,
        "Remove a secret; jobs that name it fail from then on.",
        "",
        204,
        problems=(401, 403, 404, 422, 503),
        tag="secrets",
        action=Action.SUBMIT,
    ),
)
