"""A plain websocket client that shows what is on the wire. It knows nothing of alpaca-py."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Self

import msgpack
from websockets.sync.client import ClientConnection, connect

Message = dict[str, Any]
DEADLINE_S = 8.0


class StreamClient:
    """Signs in (unless told otherwise), and reads frame by frame with a deadline."""

    def __init__(
        self,
        url: str,
        *,
        packed: bool = False,
        sign_in: bool = True,
        headers: Mapping[str, str] | None = None,
        compression: str | None = None,
        max_queue: int | None = None,
    ) -> None:
        self.packed = packed
        extra = dict(headers or {})
        if packed:
            extra["Content-Type"] = "application/msgpack"
        self.frames: list[list[Message]] = []
        self._stack = ExitStack()
        self.ws: ClientConnection = self._stack.enter_context(
            connect(
                url,
                additional_headers=extra,
                max_size=64 * 1024 * 1024,
                max_queue=max_queue,
                close_timeout=1,
                compression=compression,
                ping_interval=None,
            )
        )
        if sign_in:
            assert self.receive() == [{"T": "success", "msg": "connected"}]
            assert self.auth() == {"T": "success", "msg": "authenticated"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def send(self, message: Mapping[str, Any]) -> None:
        if self.packed:
            self.ws.send(msgpack.packb(message))
        else:
            self.ws.send(json.dumps(message))

    def raw(self, timeout: float = DEADLINE_S) -> bytes | str:
        return self.ws.recv(timeout)

    def receive(self, timeout: float = DEADLINE_S) -> list[Message]:
        frame = self.raw(timeout)
        decoded = msgpack.unpackb(frame) if isinstance(frame, bytes) else json.loads(frame)
        assert isinstance(decoded, list)
        self.frames.append(decoded)
        return decoded

    def auth(self, key: str = "local", secret: str = "local-secret") -> Message:
        self.send({"action": "auth", "key": key, "secret": secret})
        return self.control()

    def subscribe(self, **channels: list[str]) -> Message:
        self.send({"action": "subscribe"} | channels)
        return self.control()

    def unsubscribe(self, **channels: list[str]) -> Message:
        self.send({"action": "unsubscribe"} | channels)
        return self.control()

    def control(self) -> Message:
        """The next control message; data in between is passed over, but kept in `frames`."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            frame = self.receive()
            if frame and frame[0]["T"] in ("success", "error", "subscription"):
                assert len(frame) == 1, "control messages come alone in their array"
                return frame[0]
        raise AssertionError("no control message came")

    def until(self, enough: Callable[[list[Message]], bool]) -> list[Message]:
        """Data messages, until there are enough."""
        got: list[Message] = []
        end = time.monotonic() + DEADLINE_S
        while not enough(got):
            left = end - time.monotonic()
            assert left > 0, f"only {len(got)} messages came: {got[-3:]}"
            got += self.receive(left)
        return got

    def take(self, count: int) -> list[Message]:
        return self.until(lambda got: len(got) >= count)

    def silent_for(self, seconds: float) -> bool:
        """Whether nothing comes. (The one place where a test must wait: silence takes time.)"""
        try:
            self.receive(seconds)
        except TimeoutError:
            return True
        return False


def eventually(check: Callable[[], Any], what: str = "it") -> Any:
    """Wait for a condition, with a deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {DEADLINE_S} s")
