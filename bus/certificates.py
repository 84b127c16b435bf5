"""How do servers that run take a new certificate without a restart?"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

from bus.errors import BusError

log = logging.getLogger(__name__)

CA, SERVER = "ca.pem", "server.pem"
"""Files of our own authority, in the folder of keys: whom to trust, and what servers show."""
LOOK_EVERY = 30.0
"""Seconds between two looks at a certificate's files."""
RENEW_EVERY = 3600.0
"""Seconds between two looks whether ours is to be renewed: a machine may have slept."""


class CertificateError(BusError):
    """A certificate that was named cannot be shown; the message says what to change."""


class Watched:
    """Files that somebody else may write anew."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(dict.fromkeys(paths))
        self._seen = self._state()

    def changed(self) -> bool:
        """Since the last time that this was asked; a file that is gone changes nothing."""
        before, self._seen = self._seen, self._state()
        return self._seen != before and None not in self._seen

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(state_of(path) for path in self._paths)


def state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Shown:
    """What a server of ours shows; who connects after a change sees the new certificate."""

    def __init__(self, certificate: Path, key: Path | None = None) -> None:
        """``key`` where it is not in the same file. Raises ``CertificateError``."""
        self._files = (certificate, key or certificate)
        self._watched = Watched(self._files)
        self.context = self._loaded()

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        certificate, key = self._files
        try:
            context.load_cert_chain(certificate, key, password=no_password)
        except ssl.SSLError as error:
            told = " and ".join(dict.fromkeys(map(str, self._files)))
            why = (error.reason or "no certificate and key").replace("_", " ").lower()
            raise CertificateError(f"{told} cannot be shown: {why}; both are PEM") from error
        except OSError as error:
            missing = next((path for path in self._files if state_of(path) is None), certificate)
            raise CertificateError(f"{missing} cannot be read: {error.strerror}") from error

    def refresh(self) -> bool:
        """Takes what was written meanwhile; the old one stays where the new one is no good."""
        if not self._watched.changed():
            return False
        try:
            self._loaded()  # Tried elsewhere first: a half-loaded context shows nothing.
            self._load(self.context)
        except CertificateError as error:
            log.error("the certificate of before stays: %s", error)
            return False
        log.info("a new certificate is shown")
        return True

    async def keep_fresh(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                self.refresh()
            except Exception:
                log.exception("the certificate cannot be looked at")


def no_password() -> str:
    raise CertificateError("its key is locked by a password; write it without one")


@contextlib.asynccontextmanager
async def renewing(folder: Path | None, names: Callable[[], Iterable[str]]) -> AsyncIterator[None]:
    """For as long as the context lasts; nothing without a folder."""
    if folder is None:
        yield
        return
    task = asyncio.create_task(keep_renewed(folder, names))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def keep_renewed(
    folder: Path, names: Callable[[], Iterable[str]], clock: Callable[[], float] = time.time
) -> None:
    """For ever: what our own authority signed is written anew in good time."""
    from bus.authority import server_certificate

    while True:
        await asyncio.sleep(RENEW_EVERY)
        try:
            server_certificate(folder, names(), clock())
        except BusError as error:
            log.error("the certificate cannot be renewed: %s", error)
        except Exception:
            log.exception("the certificate cannot be renewed")
