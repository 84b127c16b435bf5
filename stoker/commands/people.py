"""``stoker login``, ``user``, ``token``, ``share``: who am I here, and who are the others?"""

from __future__ import annotations

import secrets
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from stoker import config, keeping
from stoker.answers import StokerError
from stoker.client import Client
from stoker.commands.common import AsJson, JobArgument, Server, one_job
from stoker.terminal import ago, clock, say, show_json

ROLES = ("viewer", "member", "admin")
PEOPLE, TOKENS = "/api/v1/people", "/api/v1/tokens"
LONGEST_TOKEN = 1000

Name = Annotated[str, typer.Argument(metavar="USER")]
Expires = Annotated[str | None, typer.Option(metavar="TIME", help="It counts for so long: 30d.")]


def login(
    url: Annotated[str, typer.Argument(help="Stoker's address.")],
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page that makes tokens.")
    ] = False,
    ca_fingerprint: Annotated[
        str | None,
        typer.Option(metavar="SHA256", help="Of the authority that vouches for it, kept with it."),
    ] = None,
) -> None:
    """Keep a token for a server: commands to it are yours from then on.

    Make one on the page that is shown, and paste it; or send it in through a pipe.
    """
    from stoker.transport import checked_url
    from stoker.trust import fetch_authority, keep_authority

    url = checked_url(url)
    if ca_fingerprint:
        keep_authority(url, fetch_authority(url, ca_fingerprint))
    token = typed_token(url, browser) if sys.stdin.isatty() else sys.stdin.read(LONGEST_TOKEN)
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise StokerError("that is no token; make one on the page, and paste all of it")
    who = Client(url, token=token).transport.get("/api/v1/me")
    path = keeping.keep_token(url, token)
    say(f"you are {who['name'] or 'a guest'} ({who['role']}) at {url}; the token is in {path}")


def logout(
    url: Annotated[str | None, typer.Argument(help="Default: this machine's own.")] = None,
    server: Server = None,
) -> None:
    """Forget the token of a server. It still counts: stoker token revoke ends it."""
    where = url or server or config.page_url()
    known = keeping.forget_token(where)
    say(f"the token for {where} is forgotten" if known else f"no token for {where} was kept")


def typed_token(url: str, browser: bool) -> str:
    page = f"{url}/account#tokens"
    say(f"make a token at {page}")
    if browser:
        import webbrowser

        webbrowser.open(page)
    return str(typer.prompt("token", hide_input=True))


def list_users(as_json: AsJson = False, server: Server = None) -> None:
    """List the users, their roles and teams."""
    users = Client(server).transport.get(PEOPLE)["users"]
    if as_json:
        return show_json(users)
    for user in users:
        teams = ", ".join(user["teams"]) or "no team"
        seen = ago(user.get("seen_at")) or "never"
        line(f"{user['name']:<20} {user['role']:<7} {teams:<24} signed in {seen}")
    return None


def add_user(
    name: Name,
    role: Annotated[str, typer.Option(help=", ".join(ROLES))] = "member",
    team: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    email: Annotated[
        str, typer.Option(help="Who signs in with it at the identity provider is this user.")
    ] = "",
    expires: Annotated[str, typer.Option(metavar="TIME", help="The link is void then.")] = "1d",
    server: Server = None,
) -> None:
    """Make a user, and print the link with which they sign in, once."""
    client = Client(server)
    asked = {"role": checked_role(role), "teams": team or [], "email": email, "new": True}
    client.transport.put(person(name), asked, fresh_key())
    print_link(client, name, expires)


def set_role(
    name: Name,
    role: Annotated[str, typer.Argument(metavar="ROLE", help=", ".join(ROLES))],
    server: Server = None,
) -> None:
    """Say what a user may do."""
    client = Client(server)
    known(client, name)
    user = client.transport.put(person(name), {"role": checked_role(role)})
    say(f"{name} is {user['role']}")


def set_teams(
    name: Name,
    teams: Annotated[list[str] | None, typer.Argument(metavar="[TEAM]...")] = None,
    server: Server = None,
) -> None:
    """Say in which teams a user is; none takes them out of all."""
    client = Client(server)
    known(client, name)
    user = client.transport.put(person(name), {"teams": teams or []})
    say(f"{name} is in {', '.join(user['teams']) or 'no team'}")


def remove_user(name: Name, server: Server = None) -> None:
    """Take a user out: sessions, tokens and links end at once, jobs stay."""
    client = Client(server)
    known(client, name)
    client.transport.delete(person(name))
    say(f"{name} is removed")


def link_user(
    name: Name,
    expires: Annotated[str, typer.Option(metavar="TIME", help="The link is void then.")] = "15m",
    server: Server = None,
) -> None:
    """Print a link with which a user signs in, once; the one before is void."""
    print_link(Client(server), name, expires)


def list_tokens(
    every: Annotated[bool, typer.Option("--all", help="Everybody's; for admins.")] = False,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """List your tokens."""
    tokens = Client(server).transport.get(f"{TOKENS}?every=1" if every else TOKENS)["tokens"]
    if as_json:
        return show_json(tokens)
    for token in tokens:
        used = ago(token.get("last_used_at")) or "never"
        ends = f", until {clock(token['expires_at'])}" if token.get("expires_at") else ""
        what = f"{token['user']:<16} {token['scope']:<7} {token['name']:<24}"
        line(f"{token['id']}  {what} used {used}{ends}")
    return None


def make_token(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[str, typer.Option(help="It may do no more: " + ", ".join(ROLES))] = "member",
    expires: Expires = None,
    user: Annotated[str, typer.Option(help="For somebody else; admins only.")] = "",
    server: Server = None,
) -> None:
    """Make a token for a program, and print it, once."""
    asked = {"name": name, "scope": checked_role(scope), "user": user, "seconds": seconds(expires)}
    made = Client(server).transport.post(TOKENS, asked, fresh_key())
    say(f"token {made['token']['id']}, shown this once:")
    line(made["secret"])


def revoke_token(id: Annotated[str, typer.Argument(metavar="ID")], server: Server = None) -> None:
    """End a token at once."""
    client = Client(server)
    client.transport.delete(f"{TOKENS}/{quote(id, safe='')}")
    say(f"token {id} does not count any more")


def share(
    job: JobArgument,
    expires: Annotated[str, typer.Option(metavar="TIME", help="The link is void then.")] = "7d",
    shown: Annotated[bool, typer.Option("--list", help="List the links that count.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="ID", help="Make a link void.")] = None,
    as_json: AsJson = False,
    server: Server = None,
) -> None:
    """Print a link that shows one job to whoever has it."""
    client = Client(server)
    path = f"/api/v1/jobs/{one_job(client, job).id}/shares"
    if revoke is not None:
        client.transport.delete(f"{path}/{quote(revoke, safe='')}")
        return say(f"link {revoke} is void")
    if shown:
        return show_shares(client.transport.get(path)["shares"], as_json)
    made = client.transport.post(path, {"seconds": seconds(expires)}, fresh_key())
    say(f"link {made['share']['id']}, until {clock(made['share']['expires_at'])}:")
    line(client.url + made["link"])
    return None


def show_shares(shares: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        return show_json(shares)
    for one in shares:
        line(f"{one['id']}  by {one['by']}, until {clock(one['expires_at'])}")
    return None


def print_link(client: Client, name: str, expires: str) -> None:
    path = f"{person(name)}/link"
    made = client.transport.post(path, {"seconds": seconds(expires)}, fresh_key())
    say(f"for {name}, once, until {clock(made['expires_at'])}:")
    line(client.url + made["link"])


def known(client: Client, name: str) -> None:
    """A slip of the keyboard makes no new user, and removes none in silence."""
    if name not in {user["name"] for user in client.transport.get(PEOPLE)["users"]}:
        raise StokerError(f"there is no user {name}; stoker user add {name} makes one")


def person(name: str) -> str:
    return f"{PEOPLE}/{quote(name, safe='')}"


def checked_role(text: str) -> str:
    if text not in ROLES:
        raise StokerError(f"there is no role {text!r}; write one of {', '.join(ROLES)}")
    return text


def seconds(text: str | None) -> float | None:
    return config.duration("--expires", text)


def fresh_key() -> str:
    """Of one request, however often it is sent."""
    return secrets.token_hex(16)


def line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
