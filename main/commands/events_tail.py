"""What `events tail` says beside the events: whether a bridge feeds them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    import redis

LOOK_EVERY_S: Final = 1.0
NONE: Final = "no events bridge is running, so orders do not come here: tickerbus events bridge"
BEGUN: Final = "an events bridge is running"


class BridgeWatch:
    """Says once that no bridge runs, and again whenever that changes. Within a `with`, by a thread
    of its own; `owner` is the key that a bridge at work holds."""

    def __init__(self, client: redis.Redis, owner: str, say: Callable[[str], object]) -> None:
        self._client, self._owner, self._say = client, owner, say
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bridge-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(LOOK_EVERY_S)

    def _run(self) -> None:
        from redis import RedisError

        ran = True  # one that runs from the start is no news
        while not self._ended.is_set():
            try:
                runs = bool(self._client.exists(self._owner))
            except RedisError:
                runs = ran  # that Redis is away is told elsewhere
            if runs != ran:
                self._say(BEGUN if runs else NONE)
            ran = runs
            self._ended.wait(LOOK_EVERY_S)
