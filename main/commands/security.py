"""`acl`: the Redis users that a bus needs."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

import typer

from ..acl import HASH_PLACEHOLDER, ROLES, AclError, AclRequest, Role, acl_rule
from ..demo import client_id_of
from .common import Mistake, console, errors, open_settings, parse_tickers

NOTE: Final = (
    "The user default may still do everything: when these users work, turn it off with "
    "ACL SETUSER default off"
)


def acl(
    role: Annotated[
        Role | None, typer.Argument(help="Whose rules; without it, those of all.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="The Redis user. Without it: the role.")
    ] = None,
    client_id: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID", help="As whom a strategy, or the dashboard, registers; may be repeated."
        ),
    ] = None,
    tickers: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="All that a strategy may hear.")
    ] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Before every channel and key. Without it: BUS_PREFIX.")
    ] = None,
    secured: Annotated[
        bool | None,
        typer.Option(
            "--secured/--open",
            help="Whether clients register on channels of their own. Else: REGISTRATION_SECURED.",
        ),
    ] = None,
    password_hash: Annotated[
        str | None, typer.Option(metavar="SHA256", help="Instead of a placeholder.")
    ] = None,
    ask_password: Annotated[
        bool, typer.Option("--ask-password", help="Ask for the password, and print its hash.")
    ] = False,
    aclfile: Annotated[
        bool, typer.Option("--aclfile", help="Lines for an aclfile, not ACL SETUSER commands.")
    ] = False,
) -> None:
    """Redis ACL rules for the broker, a strategy, an observer and the dashboard.

    Each user may do what its role needs, and nothing else. Fill in each password's hash where the
    placeholder stands: Redis refuses the rule before that.
    """
    settings = open_settings()
    one_user = user or client_id or tickers or password_hash or ask_password
    if role is None and one_user:
        raise Mistake(f"these options are for one user: say which role, {', '.join(ROLES)}")
    if ask_password:
        password_hash = hashlib.sha256(_ask().encode()).hexdigest()
    start = "user" if aclfile else "ACL SETUSER"
    for each in ROLES if role is None else (role,):
        request = AclRequest(
            role=each,
            user=user or each,
            prefix=settings.bus_prefix if prefix is None else prefix,
            client_ids=tuple(client_id or _own_client_ids(each)),
            tickers=parse_tickers(tickers) if tickers else (),
            secured=settings.registration_secured if secured is None else secured,
            password_hash=password_hash or HASH_PLACEHOLDER,
        )
        try:
            rule = acl_rule(request)
        except AclError as error:
            raise Mistake(str(error)) from None
        console.print(f"{start} {request.user} {rule}", markup=False)
    errors.print(NOTE, style="dim", markup=False)


def _own_client_ids(role: Role) -> tuple[str, ...]:
    """The page registers as page@<host>, whatever its user is called."""
    return (client_id_of("page"),) if role == "dashboard" else ()


def _ask() -> str:
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
