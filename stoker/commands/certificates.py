"""``stoker certificate``: how does a server that Stoker does not start get a certificate?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stoker.answers import StokerError
from stoker.terminal import say


def certificate(
    folder: Annotated[Path, typer.Argument(help="Of the authority; made where there is none.")],
    names: Annotated[
        list[str], typer.Argument(help="Names and addresses under which the server is reached.")
    ],
) -> None:
    """Make a certificate by an authority of your own, or renew it where that is due.

    authority.pem stays in FOLDER and is nobody else's; ca.pem is for whoever is to trust it;
    server.pem, certificate, chain and key, is what the server shows.
    """
    import time

    from bus.authority import CA, days_left, read_certificate, server_certificate
    from bus.errors import BusError
    from stoker.trust import fingerprint_of

    try:
        made = server_certificate(folder, names, time.time())
    except BusError as error:
        raise StokerError(str(error)) from error
    found = read_certificate(made)
    assert found is not None
    say(f"{made} counts for {days_left(found, time.time()):.0f} days")
    say(f"{folder / CA} is for whoever is to trust it: {fingerprint_of(folder / CA)}")
