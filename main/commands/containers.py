"""`compose`: the containers' file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..compose import FILE_NAME, compose_text
from .common import console


def compose(
    write: Annotated[
        bool, typer.Option("--write", help=f"Write {FILE_NAME} here, instead of printing it.")
    ] = False,
) -> None:
    """The compose file of Redis, broker and scale_t."""
    if not write:
        console.print(compose_text(), markup=False, end="")
        return
    Path(FILE_NAME).write_text(compose_text(), encoding="utf-8")
    console.print(f"wrote {FILE_NAME}")
