"""redis-py's connections as the bus needs them: the address is resolved anew at each connect.

With Sentinels, they are asked which server is the primary now; with a plain address, redis-py asks
the name service again. A server that says it may not write is no primary any more: its connection
is dropped, so that the next command goes where the primary is.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final, cast

import redis

CONNECTION_FAULTS: Final = (redis.ConnectionError, redis.TimeoutError, OSError)
_SENTINEL_TIMEOUT_S: Final = 0.5
# OpenSSL's verify codes for "the certificate is another host's": by name, by address.
_WRONG_HOST: Final = (62, 64)


@dataclass(frozen=True, kw_only=True)
class Sentinels:
    """Where the Sentinels are, and which primary they shall name."""

    addresses: tuple[tuple[str, int], ...]
    master: str
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca_file: str | None = None

    def __str__(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.addresses)

    def find_primary(self) -> tuple[str, int]:
        """The primary's address, by the first Sentinel that knows it.

        Raises:
            redis.ConnectionError: none answers, or none knows the name; says what each said.
        """
        faults = []
        for host, port in self.addresses:
            try:
                found = self._ask(host, port)
            except (redis.RedisError, OSError) as error:
                faults.append(f"{host}:{port}: {error}")
                continue
            if found is not None:
                return found
            faults.append(f"{host}:{port} knows no {self.master!r}")
        raise redis.ConnectionError(
            f"no Sentinel names the primary {self.master!r} ({'; '.join(faults)}): "
            "check REDIS_SENTINELS and REDIS_SENTINEL_MASTER"
        )

    def _ask(self, host: str, port: int) -> tuple[str, int] | None:
        kind = SecureConnection if self.tls else BusConnection
        connection = cast(
            Any,
            kind(
                host=host,
                port=port,
                password=self.password,
                socket_timeout=_SENTINEL_TIMEOUT_S,
                socket_connect_timeout=_SENTINEL_TIMEOUT_S,
                **fixed_arguments(self.tls, self.tls_ca_file),
            ),
        )
        try:
            connection.connect()
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.master)
            reply = connection.read_response()
        finally:
            connection.disconnect()
        return (reply[0].decode(), int(reply[1])) if reply else None


def fixed_arguments(tls: bool, tls_ca_file: str | None) -> dict[str, Any]:
    """What every connection of ours has in common."""
    arguments: dict[str, Any] = {
        "protocol": 2,
        # Retrying is ours: a silent second attempt of redis-py would hide a lost reply.
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
    }
    if tls:
        arguments |= {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
        if tls_ca_file:
            arguments["ssl_ca_certs"] = tls_ca_file
    return arguments


class BusConnection(redis.Connection):
    """A connection to the primary of the moment."""

    def __init__(self, *, sentinels: Sentinels | None = None, **arguments: Any) -> None:
        self._sentinels = sentinels
        cast(Any, super()).__init__(**arguments)  # redis-py's connections have no types
        # No CLIENT SETINFO: Redis 7.0 lacks it, so that no ACL rule may name it; and it costs two
        # round trips at each connect.
        self.driver_info = self.lib_name = self.lib_version = None

    def _connect(self) -> Any:
        if self._sentinels is not None:
            self.host, self.port = self._sentinels.find_primary()
        return cast(Any, super())._connect()

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        try:
            return cast(Any, super()).read_response(*arguments, **options)
        except (redis.exceptions.ReadOnlyError, redis.exceptions.MasterDownError):
            cast(Any, self).disconnect()
            raise


class SecureConnection(BusConnection, redis.SSLConnection):
    """The same over TLS. What is wrong with the certificate is said in words."""

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        try:
            return cast(Any, super())._wrap_socket_with_ssl(sock)
        except TimeoutError:  # a plain Redis waits for more of what it takes for a command
            raise redis.ConnectionError(
                f"no TLS with {self.host}:{self.port}: no answer to the handshake; check REDIS_TLS"
            ) from None

    def _error_message(self, exception: Any) -> str:
        where = f"{self.host}:{self.port}"
        if isinstance(exception, ssl.SSLCertVerificationError):
            if exception.verify_code in _WRONG_HOST:
                return (
                    f"the certificate of {where} is not for that host: {exception.verify_message}"
                )
            return (
                f"the certificate of {where} is not trusted ({exception.verify_message}): "
                "REDIS_TLS_CA_FILE must name the CA that signed it"
            )
        if isinstance(exception, ssl.SSLError):
            return f"no TLS with {where} ({exception.reason or exception}): check REDIS_TLS"
        return str(cast(Any, super())._error_message(exception))
