"""The settings: what is wrong in them, what is misspelled, and who can read the secrets."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import AliasChoices

from ..settings import Settings, SettingsError, load_settings
from .findings import Notebook

# What begins so in a .env beside us is meant for us.
OUR_PREFIXES: Final = (
    *("REDIS_", "ALPACA_", "APCA_", "PAPER_ALPACA_", "BUS_", "JOURNAL_", "ORDER_LOG_"),
    *("REGISTRATION_", "LOG_", "METRICS_"),
)
# Others' names on the same machine may begin so too: only a near miss is told.
NEAR_MISS: Final = 0.87
SECRETS: Final = ("PASSWORD", "SECRET", "KEY", "URL")


def examine_settings(
    notebook: Notebook, env_file: Path, environment: Mapping[str, str]
) -> Settings | None:
    """The settings if they can be used; None if not, and then the notebook says why."""
    in_file = _read_env_file(notebook, env_file)
    _check_names(notebook, in_file, environment)
    _check_secrets(notebook, {**in_file, **environment})
    _check_who_reads(notebook, env_file, in_file)
    try:
        settings = load_settings(env_file)
    except SettingsError as error:
        for problem in error.problems:
            notebook.error("wrong", problem, "mend it in the environment or in .env")
        return None
    _check_live(notebook, settings)
    return settings


def known_names() -> frozenset[str]:
    """Every name that a setting is read from, in capitals."""
    names = set()
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names |= set(map(str, alias.choices)) if isinstance(alias, AliasChoices) else {name.upper()}
    return frozenset(names)


def _read_env_file(notebook: Notebook, env_file: Path) -> dict[str, str]:
    if not env_file.exists():
        notebook.note("env_file", "there is no .env here: only the environment counts")
        return {}
    try:
        from dotenv import dotenv_values  # noqa: PLC0415  (as pydantic-settings reads it)

        values = dotenv_values(env_file)
    except (OSError, ValueError) as error:
        notebook.error("env_file", f".env cannot be read: {error}", "make it a readable UTF-8 text")
        return {}
    notebook.fine("env_file", f".env is read from {env_file.resolve().parent}")
    return {name.upper(): value for name, value in values.items() if value}


def _check_names(
    notebook: Notebook, in_file: Mapping[str, str], environment: Mapping[str, str]
) -> None:
    known = known_names()
    ours = {name for name in in_file if name.startswith(OUR_PREFIXES)}
    for name in sorted((ours | set(environment)) - known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=NEAR_MISS)
        if near and near[0] not in environment and near[0] not in in_file:
            where = ".env" if name in in_file else "the environment"
            notebook.warn(
                "misspelled",
                f"{name} in {where} is no setting, and nobody reads it",
                f"did you mean {near[0]}?",
            )
        elif name in ours:
            notebook.warn(
                "unknown", f"{name} in .env is no setting", "see .env.example for all names"
            )


def _check_secrets(notebook: Notebook, values: Mapping[str, str]) -> None:
    """A pair of keys from two accounts, or a key that was pasted with its quotes."""
    families = [
        ("ALPACA_API_KEY", "ALPACA_API_SECRET"),
        ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
        ("PAPER_ALPACA_API_KEY_ID", "PAPER_ALPACA_API_SECRET_KEY"),
    ]
    key = next((key for key, _ in families if values.get(key)), None)
    secret = next((secret for _, secret in families if values.get(secret)), None)
    if key and secret and (key, secret) not in families:
        notebook.warn(
            "mixed_keys",
            f"the key is read from {key}, but its secret from {secret}",
            "set both halves of one pair, and remove the others",
        )
    for name in filter(None, (key, secret)):
        if values[name].strip(" \t\"'") != values[name]:
            notebook.error(
                "key_shape",
                f"{name} begins or ends with a blank or a quotation mark",
                "paste it again, without",
            )


def _check_who_reads(notebook: Notebook, env_file: Path, in_file: Mapping[str, str]) -> None:
    holds_secrets = any(word in name for name in in_file for word in SECRETS)
    if os.name != "posix" or not holds_secrets:
        return
    if env_file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        notebook.warn(
            "env_file_open",
            ".env holds secrets, and other users of this machine may read it",
            f"chmod 600 {env_file}",
        )


def _check_live(notebook: Notebook, settings: Settings) -> None:
    feed, limit = settings.alpaca_data_feed, settings.alpaca_symbol_limit
    words = f"feed {feed}, {limit or 'no limit of'} symbols"
    if settings.alpaca_paper:
        notebook.fine("account", f"paper account, {words}")
    else:
        notebook.note("account", f"LIVE account: orders are real money; {words}")
