"""The compose file, made from one template: `python -m main compose`."""

from __future__ import annotations

from importlib import resources
from string import Template
from typing import Final

from .settings import Settings

FILE_NAME: Final = "docker-compose.generated.yml"
# Where Redis is, and where figures are served, the compose file says itself; the rest it hands on.
NOT_HANDED_ON: Final = ("redis_", "metrics_")
# The image's own folder, which a volume keeps.
DEFAULTS: Final = {"BROKER_STATE_DIR": "/var/lib/tickerbus"}


def compose_text() -> str:
    """The whole file, ending with a newline."""
    template = resources.files(__package__).joinpath("compose.template").read_text("utf-8")
    return Template(template).substitute(settings=_handed_on())


def _handed_on() -> str:
    # From the shell or .env; where neither has it, an empty value, which is as if unset.
    names = [name.upper() for name in Settings.model_fields if not name.startswith(NOT_HANDED_ON)]
    return "\n".join(f"    {name}: ${{{name}:-{DEFAULTS.get(name, '')}}}" for name in names)
