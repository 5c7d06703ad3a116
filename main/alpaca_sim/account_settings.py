"""The account's configuration: what GET and PATCH /v2/account/configurations show and set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal

from .refusals import invalid

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "dtbp_check": ("both", "entry", "exit"),
    "pdt_check": ("both", "entry", "exit"),
    "max_margin_multiplier": ("1", "2", "4"),
    "trade_confirm_email": ("all", "none"),
}
_LEVELS = (0, 1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class AccountSettings:
    """Alpaca's AccountConfigurations. `suspend_trade`, `no_shorting` and `fractional_trading` are
    obeyed; the others are kept and shown."""

    disable_overnight_trading: bool = False
    dtbp_check: str = "entry"
    fractional_trading: bool = True
    max_margin_multiplier: str = "4"
    max_options_trading_level: int = 0
    no_shorting: bool = False
    pdt_check: str = "entry"
    ptp_no_exception_entry: bool = False
    suspend_trade: bool = False
    trade_confirm_email: str = "all"

    def to_wire(self) -> dict[str, object]:
        return asdict(self)

    def changed(self, fields: Mapping[str, object]) -> AccountSettings:
        """With these fields set. Unknown ones are ignored, as Alpaca does. Raises Refusal."""
        known = self.to_wire()
        changes = {
            name: _checked(name, value, known[name])
            for name, value in fields.items()
            if name in known and value is not None
        }
        return replace(self, **changes)  # type: ignore[arg-type]


def _checked(name: str, value: object, present: object) -> object:
    if isinstance(value, Decimal) and isinstance(present, int) and value in _LEVELS:
        value = int(value)
    if isinstance(value, bool) != isinstance(present, bool) or type(value) is not type(present):
        raise invalid(f"invalid {name}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise invalid(f"invalid {name}")
    return value
