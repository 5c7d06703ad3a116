"""Hypothesis strategies for every message of the wire."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec import UNSET

from main.utils.redis import constants, messages

text = st.text(max_size=12)
symbols = st.sampled_from(["AAPL", "BRK.B", "BTC/USD", "AAPL261218C00200000"])
timestamps = st.integers(0, 4_000_000_000 * 10**9).map(messages.rfc3339)
amounts = st.floats(min_value=0, max_value=1e12, allow_nan=False) | st.integers(0, 10**15)
prices = st.floats(min_value=1e-9, max_value=1e12, allow_nan=False, exclude_min=True)
json_objects = st.dictionaries(text, st.none() | st.booleans() | st.integers() | text, max_size=4)


def maybe(values: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """What Alpaca may not send."""
    return st.just(UNSET) | values


numbered = {
    "symbol": symbols,
    "timestamp": timestamps,
    "epoch": st.integers(1, 2**45),
    "seq": st.integers(1, 2**40),
}
market = {
    "conditions": maybe(st.lists(text, max_size=3).map(tuple)),
    "tape": maybe(text),
    "feed": text,
}

price_messages = st.builds(
    messages.PriceMessage,
    **numbered,
    **market,
    price=prices,
    volume=amounts,
    trade_id=maybe(st.integers(0, 2**63) | text),
    exchange=maybe(text),
    last_eligible=st.booleans(),
    backfilled=st.booleans(),
)
order_messages = st.builds(
    messages.OrderMessage,
    **numbered,
    event=text,
    order_data=json_objects,
    update=json_objects,
    account_id=text,
    paper=st.booleans(),
    source=st.sampled_from(["stream", "reconcile"]),
)
gap_messages = st.builds(
    messages.GapMessage,
    **numbered,
    from_=timestamps,
    to=timestamps,
    cause=st.sampled_from(constants.GAP_CAUSES),
    backfilled=st.booleans(),
    lost=st.none() | st.integers(0, 10**9),
)
status_messages = st.builds(
    messages.StatusMessage,
    **numbered,
    code=text,
    message=text,
    reason_code=text,
    reason_message=text,
    tape=maybe(text),
)
correction_messages = st.builds(
    messages.CorrectionMessage,
    **numbered,
    original=json_objects,
    corrected=st.none() | json_objects,
)
quote_messages = st.builds(
    messages.QuoteMessage,
    **numbered,
    **market,
    bid_price=prices,
    bid_size=amounts,
    ask_price=prices,
    ask_size=amounts,
    bid_exchange=maybe(text),
    ask_exchange=maybe(text),
)
bar_messages = st.builds(
    messages.BarMessage,
    **numbered,
    open=prices,
    high=prices,
    low=prices,
    close=prices,
    volume=amounts,
    trade_count=maybe(st.integers(0, 10**9)),
    vwap=maybe(prices),
    interval=st.sampled_from(["minute", "updated", "day"]),
    feed=text,
)
registration_replies = st.builds(
    messages.RegistrationReply,
    action=st.none() | st.sampled_from(constants.ACTIONS),
    ticker=st.none() | text,
    client_id=st.none() | text,
    request_id=st.none() | st.integers(0, 10**9) | text,
    status=st.sampled_from(["accepted", "rejected"]),
    reason=st.none() | st.sampled_from(constants.REJECTION_REASONS),
    detail=st.none() | text,
    holders=st.integers(0, 10**6),
    timestamp=timestamps,
)
stream_states = st.sampled_from(constants.STREAM_STATES)
broker_statuses = st.builds(
    messages.BrokerStatus,
    epoch=st.integers(0, 2**45),
    state=st.sampled_from(constants.BROKER_STATES),
    account_id=st.none() | text,
    paper=st.booleans(),
    timestamp=timestamps,
    started_at=timestamps,
    version=text,
    upstream=st.builds(
        messages.UpstreamStatus,
        prices=st.builds(
            messages.PriceStreamStatus,
            state=stream_states,
            since=timestamps,
            reason=st.none() | text,
            lag_ms=st.none() | st.floats(0, 1e9),
            symbols=st.integers(0, 10_000),
        ),
        orders=st.builds(
            messages.OrderStreamStatus,
            state=stream_states,
            since=timestamps,
            reason=st.none() | text,
            ready=st.booleans(),
            last_event_at=st.none() | timestamps,
        ),
    ),
    tickers=maybe(
        st.dictionaries(
            symbols,
            st.builds(messages.TickerStatus, seq=st.integers(0, 2**40), state=stream_states),
        )
    ),
    counters=st.dictionaries(text, st.integers(0, 10**12), max_size=3),
    journal=st.dictionaries(text, st.integers(0, 10**12), max_size=3),
)
registration_requests = st.builds(
    messages.RegistrationRequest,
    action=st.sampled_from(constants.ACTIONS),
    ticker=st.text(max_size=64),
    client_id=st.from_regex(constants.CLIENT_ID_PATTERN, fullmatch=True),
    lease_s=st.none() | st.integers(1, constants.MAX_LEASE_S),
    request_id=st.none() | st.integers() | st.text(max_size=128),
    data=st.none()
    | st.lists(st.sampled_from(constants.DATA_KINDS), min_size=1, max_size=3, unique=True),
)

by_schema = {
    "price": price_messages,
    "order": order_messages,
    "gap": gap_messages,
    "status": status_messages,
    "correction": correction_messages,
    "quote": quote_messages,
    "bar": bar_messages,
    "registration": registration_replies,
    "broker_status": broker_statuses,
    "registration_request": registration_requests,
}
ticker_messages = st.one_of(
    price_messages, order_messages, gap_messages, status_messages, correction_messages
)
