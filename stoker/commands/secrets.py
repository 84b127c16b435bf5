"""``stoker secret``: how are secrets set, listed and removed, and their keys changed?"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from schemas.secret import VALUE_BYTES, check_name
from stoker import config
from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, Server
from stoker.terminal import ago, say, show_json

SHORTEST = 6
"""Bytes below which a log does not hide a value."""
Name = Annotated[str, typer.Argument(metavar="NAME", help="As of an environment variable.")]


def set_secret(name: Name, server: Server = None) -> None:
    """Set a secret: the value comes from a hidden prompt, or from a pipe or file (<).

    One line feed at the end of a single line is left out; all else is kept as it is, bytes too.
    """
    checked(name)
    value = asked(name) if sys.stdin.isatty() else piped()
    if not 0 < len(value) <= VALUE_BYTES:
        raise StokerError(f"a value has 1 to {VALUE_BYTES} bytes, and this one has {len(value)}")
    body = {"base64": base64.b64encode(value).decode()}
    Client(server).transport.put(address(name), body)
    say(f"{name} is set; a job gets it with --secret {name}")
    if len(value) < SHORTEST:
        say(f"it is shorter than {SHORTEST} bytes: logs do not hide it")


def list_secrets(as_json: AsJson = False, server: Server = None) -> None:
    """List your secrets: names and dates, never values."""
    found = Client(server).transport.get("/api/v1/secrets")["secrets"]
    if as_json:
        return show_json(found)
    if not found:
        say("no secrets yet; set one with: stoker secret set NAME")
        return None
    width = max(len(one["name"]) for one in found)
    for one in found:
        sys.stdout.write(f"{one['name']:<{width}}  set {ago(one['set_at'])}\n")
    return None


def remove(name: Name, server: Server = None) -> None:
    """Remove a secret. Jobs that name it fail when they start; what runs keeps it."""
    checked(name)
    Client(server).transport.delete(address(name))
    say(f"{name} is removed")


def rekey(
    key: Annotated[
        Path | None, typer.Option(help="The file of keys.", show_default="that of stoker up")
    ] = None,
) -> None:
    """Add a key, by which all secrets are locked from now on, where the service's file lies.

    The service takes it up by itself, and locks what is stored anew within minutes.
    """
    from bus.errors import BusError
    from services.secrets.keyfile import add_key

    path = key or config.data_folder() / config.KEYS / config.SECRET_KEYS
    try:
        version = add_key(path)
    except BusError as error:
        raise StokerError(str(error)) from None
    except FileNotFoundError:
        raise StokerError(f"there is no {path}; name the file of keys with --key") from None
    say(f"key {version} locks from now on; copy {path} to every replica of the service")


def asked(name: str) -> bytes:
    """Hidden, twice: a slip would show only when a job fails."""
    value: str = typer.prompt(
        f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True
    )
    return value.encode()


def piped() -> bytes:
    value = sys.stdin.buffer.read(VALUE_BYTES + 2)
    text = value.removesuffix(b"\n").removesuffix(b"\r")
    return value if b"\n" in text else text


def checked(name: str) -> None:
    if "=" in name:
        raise StokerError("write the name alone: the value is asked for, or read from a pipe")
    try:
        check_name(name)
    except ValueError as error:
        raise StokerError(str(error)) from None


def address(name: str) -> str:
    return f"/api/v1/secrets/{quote(name, safe='')}"
