"""What is logged of bytes that are no HTTP request? One line, without any of them.

The server shows them in a traceback, the header with the token among them.
"""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.log import server_logger


class Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "bytes that are no HTTP request: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


QUIET = Quiet()


def keep_bytes_out_of_logs() -> None:
    """However often it is called."""
    server_logger.addFilter(QUIET)
