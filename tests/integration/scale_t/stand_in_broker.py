"""A broker small enough to be told how to misbehave: it publishes what a test says, as brokers do.

Orders come from the local Alpaca's real trading stream; prices, heartbeats and answers from here.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import (
    BrokerStatus,
    OrderMessage,
    PriceMessage,
    RegistrationReply,
    now_rfc3339,
)
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber
from tests.unit.scale_t.broker_status import status

HEARTBEAT_S = 0.1


class StandInBroker:
    """`with StandInBroker(config, sim.trading_stream_url) as broker: broker.price(100.0)`."""

    def __init__(self, config: RedisConfig, trading_stream_url: str) -> None:
        self.ready = self.alive = self.relaying = True
        self.reject_with: str | None = None
        self.account_id: str | None = None
        self.beats = 0
        self.requests: Counter[str] = Counter()
        self._config, self._url = config, trading_stream_url
        self._done = threading.Event()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> StandInBroker:
        self.publisher = RedisPublisher(self._config)
        self.publisher.open_epoch()
        self._bus = RedisSubscriber(self._config)
        self._bus.subscribe(self._bus.names.BROKER_REGISTRATION, self._answer)
        self._bus.start_listening()
        self._stream = self._open.enter_context(connect(self._url))
        self._listen()
        self._threads = [
            threading.Thread(target=work, name=f"stand-in-{work.__name__}")
            for work in (self._beat, self._relay)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._open.close()
        for thread in self._threads:
            thread.join()
        self._bus.close()
        self.publisher.close()

    def price(self, price: float, symbol: str = "AAPL", *, last_eligible: bool = True) -> None:
        message = PriceMessage(
            symbol=symbol,
            timestamp=now_rfc3339(),
            price=price,
            volume=100,
            feed="iex",
            last_eligible=last_eligible,
            backfilled=False,
        )
        self.publisher.publish_batch([message])

    def _listen(self) -> None:
        self._stream.send(json.dumps({"action": "auth", "key": "local", "secret": "local-secret"}))
        self._stream.recv(timeout=5)
        self._stream.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        self._stream.recv(timeout=5)

    def _relay(self) -> None:
        while True:
            try:
                frame = json.loads(self._stream.recv())
            except ConnectionClosed:
                return
            update = dict(frame.get("data") or {})
            order_data, event = update.pop("order", None), update.pop("event", "")
            if self.relaying and order_data:
                message = OrderMessage(
                    symbol=order_data["symbol"],
                    timestamp=now_rfc3339(),
                    event=event,
                    order_data=order_data,
                    update=update,
                    account_id="account",
                    paper=True,
                    source="stream",
                )
                self.publisher.publish_batch([message])

    def _beat(self) -> None:
        while not self._done.wait(HEARTBEAT_S):
            if self.alive:
                self.publisher.publish(self.publisher.names.BROKER_STATUS, self._status())
                self.beats += 1

    def _status(self) -> BrokerStatus:
        return status(ready=self.ready, account=self.account_id, epoch=self.publisher.epoch)

    def _answer(self, request: object) -> None:
        assert isinstance(request, dict)
        self.requests[request["action"]] += 1
        self.publisher.publish(
            self.publisher.names.BROKER_REGISTRATION_REPLIES,
            RegistrationReply(
                action=request["action"],
                ticker=request["ticker"],
                client_id=request.get("client_id"),
                request_id=request.get("request_id"),
                status="rejected" if self.reject_with else "accepted",
                reason=self.reject_with,
                detail=None,
                holders=1,
                timestamp=now_rfc3339(),
            ),
        )
