"""The bus's errors: whose fault, and what next. Never branch on an error's text."""

from __future__ import annotations


class BusError(Exception):
    """The root of the bus's errors. `retry` says whether the same call may succeed later."""

    retry = False


class InvalidTicker(BusError, ValueError):
    """A ticker that cannot name a channel."""

    def __init__(self, ticker: object, suggestion: str | None = None) -> None:
        self.ticker, self.suggestion = ticker, suggestion
        hint = (
            f"did you mean {suggestion}?" if suggestion else "expected e.g. AAPL, BRK.B or BTC/USD"
        )
        super().__init__(f"{str(ticker)[:40]!r} is not a ticker: {hint}")


class RedisUnavailable(BusError):
    """Redis did not answer in time, or not at all."""

    retry = True

    def __init__(self, address: str, cause: BaseException | str) -> None:
        self.address, self.cause = address, cause
        super().__init__(f"Redis at {address} is not available: {cause}")


class RedisUnsuitable(BusError):
    """This Redis, or this user on it, cannot carry the bus. `problems` names every lack at once."""

    def __init__(self, address: str, problems: list[str]) -> None:
        self.address, self.problems = address, problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"Redis at {address} cannot carry the bus:\n{listed}")


class Fenced(BusError):
    """Another run of the broker owns the epoch: this one must publish nothing more."""

    def __init__(self, mine: int, theirs: str) -> None:
        self.mine, self.theirs = mine, theirs
        super().__init__(f"epoch {mine} was superseded by {theirs}: another broker is publishing")


class Abandoned(BusError):
    """Stopped while a batch could not be written. `messages` were not confirmed by Redis."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        super().__init__(f"stopped with {messages} messages that Redis did not confirm")


class IllegalUse(BusError, RuntimeError):
    """The call does not fit the state of its object; nothing was changed."""


class NotPermitted(RedisUnavailable):
    """Redis refuses the channel to this user: an ACL rule is missing."""

    retry = False

    def __init__(self, address: str, channel: str, cause: BaseException) -> None:
        super().__init__(address, cause)
        self.channel = channel
        self.args = (f"Redis at {address} refuses {channel}: {cause}",)
