"""What a client knows of its broker, and since when."""

from __future__ import annotations

from main.utils.redis.broker_watch import BrokerWatch
from main.utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    UpstreamStatus,
)

OPENED = "2026-11-21T14:30:00Z"


def beat(
    second: int, *, state: str = "RUNNING", prices: str = "LIVE", ready: bool = True
) -> BrokerStatus:
    return BrokerStatus(
        epoch=1,
        state=state,
        account_id=None,
        paper=True,
        timestamp=f"2026-11-21T14:30:{second:02}Z",
        started_at=OPENED,
        version="1",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(state=prices, since="2026-11-21T09:00:00Z"),
            orders=OrderStreamStatus(state="LIVE", since="2026-11-21T10:00:00Z", ready=ready),
        ),
        counters={},
        journal={},
    )


def test_before_the_first_heartbeat_nothing_is_known_and_after_3_s_it_is_away() -> None:
    watch = BrokerWatch(0.0, OPENED)
    assert (watch.view(2.9).state, watch.view(2.9).ready) == ("UNKNOWN", False)
    view = watch.view(3.0)
    assert (view.state, view.since, view.away) == ("AWAY", OPENED, True)


def test_who_comes_late_learns_since_when_from_the_streams() -> None:
    watch = BrokerWatch(0.0, OPENED)
    watch.hear(beat(1), 1.0)
    view = watch.view(1.5)
    assert (view.state, view.ready, view.prices_ready, view.orders_ready) == (
        "RUNNING",
        True,
        True,
        True,
    )
    assert view.prices_since == "2026-11-21T09:00:00Z"
    assert view.orders_since == view.since == "2026-11-21T10:00:00Z"


def test_an_order_stream_that_is_not_ready_says_since_when() -> None:
    watch = BrokerWatch(0.0, OPENED)
    watch.hear(beat(1), 1.0)
    watch.hear(beat(2, ready=False), 2.0)
    watch.hear(beat(3, ready=False), 3.0)
    view = watch.view(3.0)
    assert (view.ready, view.prices_ready, view.orders_ready) == (False, True, False)
    assert view.orders_since == view.since == "2026-11-21T14:30:02Z"
    assert view.prices_since == "2026-11-21T09:00:00Z"


def test_prices_are_ready_only_while_they_flow() -> None:
    watch = BrokerWatch(0.0, OPENED)
    for second, (prices, flows) in enumerate(
        {"QUIET": True, "LAGGING": False, "DOWN": False, "LIVE": True}.items(), start=1
    ):
        watch.hear(beat(second, prices=prices), float(second))
        assert watch.view(float(second)).prices_ready is flows


def test_a_broker_that_says_it_stops_is_not_ready() -> None:
    watch = BrokerWatch(0.0, OPENED)
    watch.hear(beat(1, state="STOPPING"), 1.0)
    view = watch.view(1.0)
    assert (view.state, view.ready, view.orders_ready) == ("STOPPING", False, False)


def test_after_a_silence_it_is_away_since_its_last_word_and_back_since_its_next() -> None:
    watch = BrokerWatch(0.0, OPENED)
    watch.hear(beat(1), 1.0)
    away = watch.view(4.0)
    assert (away.state, away.ready, away.orders_ready) == ("AWAY", False, False)
    assert away.since == away.prices_since == away.orders_since == "2026-11-21T14:30:01Z"
    watch.hear(beat(9), 9.0)
    back = watch.view(9.0)
    assert (back.state, back.ready) == ("RUNNING", True)
    assert back.since == back.prices_since == back.orders_since == "2026-11-21T14:30:09Z"
