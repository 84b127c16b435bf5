"""Which subcommands are there, and how does the command end when something goes wrong?"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import stoker
from stoker import exits
from stoker.answers import StokerError
from stoker.commands import (
    accounts,
    certificates,
    data,
    jobs,
    join,
    logs,
    machine,
    metrics,
    outputs,
    oversight,
    people,
    secrets,
    submit,
    up,
    workers,
)
from stoker.commands.common import Ca, use_ca, with_ca
from stoker.packing import PackingError

app = typer.Typer(
    name="stoker",
    help="Feeds training code to whatever machines you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
quota = typer.Typer(
    invoke_without_command=True, help="How much each user may have; alone: yours, and its use."
)
dataset = typer.Typer(no_args_is_help=True, help="What jobs read: put once, in versions.")
secret = typer.Typer(no_args_is_help=True, help="What jobs need and nobody should read.")
user = typer.Typer(no_args_is_help=True, help="Who may be here, and as what.")
token = typer.Typer(no_args_is_help=True, help="What programs show to say whose they are.")
worker = typer.Typer(no_args_is_help=True, help="The machines that run jobs.")

START, USE, WHO, RUN = "Start", "Jobs", "People", "Machines and services"
HELP = "Help yourself"

app.command(rich_help_panel=START)(up.up)
app.command(rich_help_panel=START)(up.demo)
app.command(rich_help_panel=USE)(submit.submit)
app.command(rich_help_panel=USE)(jobs.jobs)
app.command(rich_help_panel=USE)(jobs.show)
app.command(rich_help_panel=USE)(logs.logs)
app.command(rich_help_panel=USE)(logs.wait)
app.command(rich_help_panel=USE)(outputs.outputs)
app.command(rich_help_panel=USE)(metrics.metrics)
app.command(rich_help_panel=USE)(jobs.cancel)
app.command(rich_help_panel=USE)(jobs.retry)
app.add_typer(dataset, name="data", rich_help_panel=USE)
dataset.command("put")(data.put)
dataset.command("list")(data.list_data)
dataset.command("show")(data.show)
dataset.command("get")(data.get)
dataset.command("rm")(data.remove)
app.add_typer(secret, name="secret", rich_help_panel=USE)
secret.command("set")(secrets.set_secret)
secret.command("list")(secrets.list_secrets)
secret.command()(secrets.remove)
secret.command()(secrets.rekey)
app.command(rich_help_panel=USE)(people.share)
app.command(rich_help_panel=WHO)(people.login)
app.command(rich_help_panel=WHO)(people.logout)
app.add_typer(user, name="user", rich_help_panel=WHO)
user.command("list")(people.list_users)
user.command("add")(people.add_user)
user.command("role")(people.set_role)
user.command("team")(people.set_teams)
user.command("remove")(people.remove_user)
user.command("link")(people.link_user)
app.add_typer(token, name="token", rich_help_panel=WHO)
token.command("list")(people.list_tokens)
token.command("make")(people.make_token)
token.command("revoke")(people.revoke_token)
app.add_typer(quota, name="quota", rich_help_panel=WHO)
quota.callback()(oversight.own_quota)
quota.command("show")(oversight.show_quota)
quota.command("list")(oversight.list_quotas)
quota.command("set")(oversight.set_quota)
app.command(rich_help_panel=WHO)(oversight.audit)
app.command(rich_help_panel=RUN)(workers.workers)
app.add_typer(worker, name="worker", rich_help_panel=RUN)
worker.command("list")(workers.workers)
worker.command()(workers.drain)
worker.command()(workers.invite)
worker.command()(workers.revoke)
worker.command()(workers.joined)
app.command(rich_help_panel=RUN)(join.agent)
app.command(rich_help_panel=RUN)(join.serve)
app.command(rich_help_panel=HELP)(machine.doctor)
app.command(rich_help_panel=HELP)(machine.decode)
app.command("nats-context", rich_help_panel=HELP)(machine.nats_context)
app.command(rich_help_panel=RUN)(certificates.certificate)
app.command("nats-accounts", rich_help_panel=RUN)(accounts.nats_accounts)
app.command(rich_help_panel=HELP)(machine.version)


for group in (app, *(one.typer_instance for one in app.registered_groups)):
    for one in group.registered_commands if group else ():
        if one.callback is not None:
            one.callback = with_ca(one.callback)


def show_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"stoker {stoker.__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
    ca: Ca = None,
) -> None:
    use_ca(ca)


def run(arguments: list[str]) -> int:
    """The exit code; every trouble is one line on standard error."""
    mine, program = split(arguments)
    try:
        code = app(mine, prog_name="stoker", standalone_mode=False, obj=program)
        return code if isinstance(code, int) else 0
    except (StokerError, PackingError) as error:
        return failed(str(error))
    except KeyboardInterrupt:
        return exits.DETACHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.SIGNAL + 13
    except (typer.Abort, EOFError):
        return failed("stopped; nothing was done")
    except OSError as error:
        return failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception as error:
        return usage_or_defect(error)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """``submit … -- args``: what comes after ``--`` is the program's, whatever it looks like."""
    if arguments[:1] != ["submit"] or "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def usage_or_defect(error: Exception) -> int:
    """Typer's complaints carry their own text; anything else is a defect of ours."""
    tell = getattr(error, "format_message", None)
    if tell is not None:
        hint = " (the program's own arguments come after --)" if "extra argument" in tell() else ""
        return failed(f"{tell()}{hint}", exits.USAGE)
    if "STOKER_DEBUG" in os.environ:
        raise error
    return failed(f"a defect in Stoker: {error!r} (STOKER_DEBUG=1 shows where)")


def failed(text: str, code: int = exits.TROUBLE) -> int:
    line = " ".join(text.split())
    sys.stderr.write(f"stoker: {line}\n")
    return code
