"""Pure: what a ladder does when Alpaca refuses one of its orders.

`utils/refusals.py` knows what a refusal means and how long to wait. Here is what is a ladder's own:

* an exit never gives up. What stops another order makes an exit wait, up to five minutes; for what
  is not offered is not protected.
* no buying power is not the end, for it comes back when an exit fills: the rung waits, from 30 s
  to five minutes.
* an exit for want of quantity waits, too, and the shell looks at the account: if that has less than
  the ladder owns, somebody else sold it, and `session_check.py` holds it.
* any other refusal that no waiting mends PAUSES it: a person has to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from ..utils.answers import Refused
from ..utils.refusals import Remedy, Rule, rule_for
from .modes import Mode
from .order_ids import OrderKind

NO_BUYING_POWER: Final = Rule(
    cause="buying_power", remedy=Remedy.SEND_AGAIN, first_s=30.0, cap_s=300.0, attempts=math.inf
)
EXIT_AGAIN: Final = Rule(
    cause="exit_refused", remedy=Remedy.SEND_AGAIN, first_s=5.0, cap_s=300.0, attempts=math.inf
)
ENDED_UNASKED: Final = replace(EXIT_AGAIN, cause="ended_unasked")
SESSION_OVER: Final = replace(EXIT_AGAIN, cause="session_over", first_s=60.0, cap_s=60.0)


@dataclass(frozen=True, kw_only=True)
class Consequence:
    """`rule`: how long the rung waits. `mode`: what the ladder becomes once `rule` is a stop, or
    at once where it is one already; None: it goes on."""

    rule: Rule
    mode: Mode | None


def consequence_of(kind: OrderKind, refused: Refused) -> Consequence:
    """What follows from this refusal of an entry or of an exit."""
    rule = rule_for(refused)
    if rule.account_wide:
        return Consequence(rule=rule, mode=None)
    if rule.remedy is Remedy.STOP_ALL:
        return Consequence(rule=rule, mode=Mode.HELD)
    if rule.cause == "buying_power" and kind == "entry":
        return Consequence(rule=NO_BUYING_POWER, mode=None)
    if kind == "profit":
        lasting = replace(rule, attempts=math.inf)
        return Consequence(
            rule=lasting if rule.remedy is Remedy.SEND_AGAIN else EXIT_AGAIN, mode=None
        )
    return Consequence(rule=rule, mode=Mode.PAUSED)
