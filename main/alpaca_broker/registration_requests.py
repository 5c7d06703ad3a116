"""Pure: what came on the registration channel, judged. A request, or the reason why it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from jsonschema import Draft202012Validator

from ..utils.redis.constants import (
    CLIENT_ID_PATTERN,
    DEFAULT_LEASE_S,
    ENVELOPE_SCHEMA,
    MAX_REGISTRATION_BYTES,
    REGISTRATION_REQUEST_SCHEMA,
    normalize_ticker,
)
from ..utils.redis.errors import InvalidTicker
from ..utils.redis.messages import RegistrationReply, now_rfc3339
from .registry import ANONYMOUS, TRADES, Holding

_request: Final = Draft202012Validator(REGISTRATION_REQUEST_SCHEMA)
_envelope: Final = Draft202012Validator(ENVELOPE_SCHEMA)
_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)
_ECHO_LENGTH: Final = 128


@dataclass(frozen=True, kw_only=True)
class Request:
    """A well-formed request. `client_id` is "" for the anonymous ones."""

    action: Literal["subscribe", "unsubscribe"]
    ticker: str
    client_id: str = ANONYMOUS
    lease_s: int | None = None
    request_id: str | int | None = None
    data: frozenset[str] = TRADES

    def holding(self, now_ms: int) -> Holding:
        """The hold that it asks for. Who names himself has a lease; the anonymous has none."""
        if self.client_id == ANONYMOUS:
            until_ms = None
        else:
            until_ms = now_ms + 1000 * (self.lease_s or DEFAULT_LEASE_S)
        return Holding(
            ticker=self.ticker,
            client_id=self.client_id,
            until_ms=until_ms,
            data=self.data,
            lease_s=self.lease_s,
        )

    def accepted(self, holders: int, detail: str | None = None) -> RegistrationReply:
        return self._reply("accepted", None, detail, holders)

    def rejected(self, reason: str, detail: str, holders: int = 0) -> RegistrationReply:
        return self._reply("rejected", reason, detail, holders)

    def _reply(
        self,
        status: Literal["accepted", "rejected"],
        reason: str | None,
        detail: str | None,
        holders: int,
    ) -> RegistrationReply:
        return RegistrationReply(
            action=self.action,
            ticker=self.ticker,
            client_id=self.client_id or None,
            request_id=self.request_id,
            status=status,
            reason=reason,
            detail=detail,
            holders=holders,
            timestamp=now_rfc3339(),
        )


def read_request(payload: bytes, client_id: str | None = None) -> Request | RegistrationReply:
    """Judge one message of the registration channel, without or inside an envelope.

    `client_id` is the one that the channel's name proves (secured mode); it replaces any other.
    """
    if len(payload) > MAX_REGISTRATION_BYTES:
        detail = f"{len(payload)} bytes: a request has at most {MAX_REGISTRATION_BYTES}"
        return _rejection({}, "invalid_request", detail)
    try:
        return _read(payload, client_id)
    except RecursionError:  # some depths can be decoded, but not be judged, nor told
        return _rejection({}, "invalid_json", "nested too deeply")


def _read(payload: bytes, client_id: str | None) -> Request | RegistrationReply:
    try:
        fields = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _rejection({}, "invalid_json", str(error)[:200])
    if not isinstance(fields, dict):
        return _rejection({}, "invalid_request", "a request is a JSON object")
    fields = _unwrap(fields)
    if client_id is not None:
        fields["client_id"] = client_id
    return _judge(fields)


def _unwrap(fields: dict[str, Any]) -> dict[str, Any]:
    """The request inside an envelope; its `sender` serves as `client_id` if none is given."""
    if "action" in fields or not _envelope.is_valid(fields):
        return fields
    inner: dict[str, Any] = dict(fields["data"])
    sender = fields.get("sender")
    if "client_id" not in inner and isinstance(sender, str) and _CLIENT_ID.fullmatch(sender):
        inner["client_id"] = sender
    return inner


def _judge(fields: dict[str, Any]) -> Request | RegistrationReply:
    fault = next(iter(sorted(_request.iter_errors(fields), key=lambda e: list(e.path))), None)
    if fault is not None:
        where = ".".join(map(str, fault.path)) or "request"
        return _rejection(fields, "invalid_request", f"{where}: {fault.message}"[:200])
    # JSON Schema's `$` lets a trailing line feed pass.
    client_id, lease_s = fields.get("client_id", ANONYMOUS), fields.get("lease_s")
    if client_id and not _CLIENT_ID.fullmatch(client_id):
        return _rejection(fields, "invalid_request", f"client_id: must match {CLIENT_ID_PATTERN}")
    try:
        ticker = normalize_ticker(fields["ticker"])
    except InvalidTicker as error:
        return _rejection(fields, "invalid_ticker", str(error))
    return Request(
        action=fields["action"],
        ticker=ticker,
        client_id=client_id,
        lease_s=int(lease_s) if lease_s is not None else None,
        request_id=fields.get("request_id"),
        data=frozenset(fields.get("data", TRADES)),
    )


def _rejection(fields: dict[str, Any], reason: str, detail: str) -> RegistrationReply:
    request_id = fields.get("request_id")
    return RegistrationReply(
        action=_echo(fields.get("action")),
        ticker=_echo(fields.get("ticker")),
        client_id=_echo(fields.get("client_id")),
        request_id=request_id if type(request_id) is int else _echo(request_id),
        status="rejected",
        reason=reason,
        detail=detail,
        holders=0,
        timestamp=now_rfc3339(),
    )


def _echo(value: object) -> str | None:
    """What is sent back of a bad request: enough to recognise it by."""
    return value[:_ECHO_LENGTH] if isinstance(value, str) else None
