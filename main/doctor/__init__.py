"""The doctor: what keeps TickerBus from working here, and what to do about it."""

from .examination import Examination, examine
from .findings import Finding, Severity, exit_code_of
from .redis_facts import Role

__all__ = ["Examination", "Finding", "Role", "Severity", "examine", "exit_code_of"]
