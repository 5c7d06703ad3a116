"""Tracebacks for logs."""

from __future__ import annotations

import traceback


def plain_traceback() -> str:
    """The exception that is being handled, as text, for the field `traceback` of a log event.

    Not `log.exception`: a program that uses the library and did not configure structlog would
    print every frame's local variables, and a password may be among them.
    """
    return traceback.format_exc().rstrip()
