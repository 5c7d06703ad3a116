"""The broker's own counters, and the names and labels under which they are served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Counted:
    """One counter's name and help; from which of the broker's own counters, each with the value of
    its label (`label` is "" for a counter without)."""

    name: str
    says: str
    sources: Mapping[str, str]
    label: str = ""


COUNTED: Final = (
    Counted(
        name="published_messages",
        says="Messages numbered, journalled and published on ticker channels.",
        sources={"messages": ""},
    ),
    Counted(
        name="control_messages",
        says="Heartbeats and registration replies published.",
        sources={"control_messages": ""},
    ),
    Counted(
        name="redis_batch_retries",
        says="Batches sent again because Redis did not confirm them.",
        sources={"batch_retries": ""},
    ),
    Counted(
        name="redis_reconnects",
        says="Times the publisher connected to Redis again.",
        sources={"reconnects": ""},
    ),
    Counted(
        name="orders_without_replica",
        says="Order messages that no replica of Redis had when they were confirmed.",
        sources={"orders_without_replica": ""},
    ),
    Counted(
        name="journals_set_aside",
        says="Foreign values found under a journal's name, and renamed.",
        sources={"journals_set_aside": ""},
    ),
    Counted(
        name="unconfirmed_messages",
        says="Messages given up at the end because Redis did not confirm them.",
        sources={"unconfirmed_at_stop": ""},
    ),
    Counted(
        name="upstream_frames",
        says="Market-data frames received from Alpaca.",
        sources={"frames": ""},
    ),
    Counted(
        name="upstream_bytes",
        says="Bytes of market-data frames received from Alpaca.",
        sources={"frame_bytes": ""},
    ),
    Counted(
        name="malformed_messages",
        says="Messages from Alpaca that could not be read.",
        label="stream",
        sources={"malformed": "market", "orders_malformed": "orders"},
    ),
    Counted(
        name="mute_remedies",
        says="What was done about streams or tickers that were silent against what is usual.",
        label="remedy",
        sources={"mute_resubscribed": "resubscribe_ticker", "mute_renewed": "renew_connection"},
    ),
    Counted(
        name="upstream_lost_tickers",
        says="Tickers that Alpaca stopped following after it had accepted them.",
        sources={"upstream_lost_tickers": ""},
    ),
    Counted(
        name="interruptions",
        says="Tickers whose stream was interrupted, each time.",
        sources={"interruptions": ""},
    ),
    Counted(
        name="refilled_messages",
        says="Missed trades that were brought by REST and published.",
        sources={"refilled": ""},
    ),
    Counted(
        name="refill_failures",
        says="Refills by REST that failed.",
        sources={"refills_failed": ""},
    ),
    Counted(
        name="dropped_messages",
        says="Messages not published, by the policy that dropped them.",
        label="policy",
        sources={
            "folded_messages": "fold_to_last",
            "repeats_dropped": "repeat",
            "order_repeats_dropped": "order_repeat",
            "dropped_after_unsubscribe": "unsubscribed",
            "early_overflow": "not_followed_yet",
        },
    ),
    Counted(
        name="order_messages", says="Order messages made from updates.", sources={"orders": ""}
    ),
    Counted(
        name="order_messages_reconciled",
        says="Order messages that the stream missed and REST told.",
        sources={"orders_reconciled": ""},
    ),
    Counted(
        name="order_messages_unrouted",
        says="Order messages whose symbol can name no channel.",
        sources={"orders_unrouted": ""},
    ),
    Counted(
        name="reconciliations",
        says="Comparisons of the order stream with REST.",
        label="result",
        sources={"reconciliations": "done", "reconciliations_failed": "failed"},
    ),
    Counted(
        name="executions_never_listed",
        says="Fills that an order tells of and REST's list of executions never had.",
        sources={"executions_never_listed": ""},
    ),
    Counted(
        name="order_record_failures",
        says="Order events that could not be kept in the record on disk.",
        label="cause",
        sources={"order_record_dropped": "queue_full", "order_record_failures": "disk"},
    ),
    Counted(
        name="registration_requests",
        says="Requests of clients, by what became of them at first sight.",
        label="result",
        sources={
            "registrations": "read",
            "registrations_invalid": "invalid",
            "registrations_limited": "rate_limited",
            "registrations_unsecured": "unsecured_channel",
        },
    ),
    Counted(
        name="producer_restarts",
        says="Stops and starts of the producers for a change of tickers.",
        sources={"restarts": ""},
    ),
)
# By stream: `stocks_disconnects` and so on. The causes come from the streams themselves.
BY_STREAM: Final = {
    "slot_taken": ("upstream_slot_taken", "Sign-ins answered with 406: the slot is taken."),
    "failures": ("upstream_faults", "Errors of our own in a stream's thread."),
}
