"""What does a program find in its environment so that MLflow's client tracks to Stoker? Pure.

Nothing where the job says itself where it tracks to. The address holds a token that follows from
the attempt's nonce: other programs of the machine cannot write into it, and an agent that is
started again knows it without having stored it.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

from agent.mlflow.listening import LOOPBACK
from schemas.worker import Grant

URI = "MLFLOW_TRACKING_URI"
FOLDER = "mlflow"
"""Within the outputs: what programs keep as MLflow's artifacts."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "9"}
"""A client gives an agent that is being restarted eight minutes, not two."""
QUIET = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""The address means nothing to who reads the log."""
ALLOWED = {"MLFLOW_ALLOW_FILE_STORE": "true"}
"""Newer clients take a folder only then."""


def token_of(grant: Grant) -> str:
    words = f"mlflow {grant.job}.{grant.attempt}".encode()
    return hmac.new(grant.nonce.encode(), words, hashlib.sha256).hexdigest()[:32]


def tracking_variables(grant: Grant, port: int | None, outputs: str) -> dict[str, str]:
    """``port`` None where nobody can listen for the program: its runs go into a folder then."""
    asked = {*grant.spec.environment, *(use.target for use in grant.spec.secrets)}
    if URI in asked:
        return {}
    if port is None:
        return {URI: artifacts_of(outputs), **ALLOWED}
    return {URI: f"http://{LOOPBACK}:{port}/{token_of(grant)}", **PATIENCE, **QUIET}


def artifacts_of(outputs: str) -> str:
    """Where programs put files, as they see it themselves."""
    return f"file://{quote(outputs)}/{FOLDER}"
