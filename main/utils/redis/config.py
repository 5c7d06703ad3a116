"""From a `RedisConfig` to a connection.

redis-py resolves, connects, encrypts and authenticates. What it is too slow for, reading and
writing a hot socket, the publisher and the subscriber do themselves on a `Wire`. It is imported
with the first connection: it takes longer than all the rest of this package.
"""

from __future__ import annotations

# redis-py brings it in, but it cannot be imported any more once the main thread has ended, and that
# may be before the first connection.
import concurrent.futures.thread  # noqa: F401
import contextlib
import os
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

import hiredis

from .errors import RedisUnavailable

if TYPE_CHECKING:
    import redis

    from .connections import Sentinels

# How a `Wire` fails after it was connected: the last is an answer that is no RESP.
WIRE_FAULTS: Final = (OSError, hiredis.HiredisError)


@dataclass(frozen=True, kw_only=True)
class RedisConfig:
    """Where Redis is, and as whom. `timeout_s` is the deadline of one command.

    With `sentinels` they say where the primary is, at every connect; `host` and `port` are unused.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca_file: str | None = None
    timeout_s: float = 1.0
    connect_timeout_s: float = 3.0
    client_name: str = "tickerbus"
    bus_prefix: str = ""
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_master: str = "mymaster"
    sentinel_password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str, **overrides: Any) -> RedisConfig:
        """From `redis://[user[:password]@]host[:port][/db]`; `rediss://` is with TLS.

        Raises:
            ValueError: not such a URL; the password is not in the message.
        """
        shape = "REDIS_URL must look like redis://[user:password@]host[:port][/db]"
        hint = "; a password with / ? # @ or % has to be percent-encoded"
        try:
            parts = urlsplit(url)
            port, database = parts.port or 6379, parts.path.strip("/")
        except ValueError:  # it cites what may be a piece of the password
            raise ValueError(shape + hint) from None
        if parts.scheme not in ("redis", "rediss") or not parts.hostname:
            raise ValueError(shape)
        if (database and not database.isdecimal()) or parts.fragment:
            raise ValueError(shape + ", db being a number" + hint)
        fields: dict[str, Any] = {
            "host": parts.hostname,
            "port": port,
            "db": int(database or 0),
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "tls": parts.scheme == "rediss",
        }
        return cls(**(fields | overrides))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **overrides: Any) -> RedisConfig:
        """From `REDIS_URL`, or `REDIS_HOST`, `_PORT`, `_DB`, `_USERNAME`, `_PASSWORD`, `_TLS`,
        `_SENTINELS`, …: the names in `.env.example`.

        Raises:
            ValueError: a value is not what its name promises.
        """
        env = os.environ if env is None else env
        ca_file = env.get("REDIS_TLS_CA_FILE") or None
        overrides = {"bus_prefix": env.get("BUS_PREFIX", ""), "tls_ca_file": ca_file} | overrides
        if url := env.get("REDIS_URL"):
            return cls.from_url(url, **overrides)
        fields: dict[str, Any] = {
            "host": env.get("REDIS_HOST") or "localhost",
            "port": _number(env, "REDIS_PORT", 6379),
            "db": _number(env, "REDIS_DB", 0),
            "username": env.get("REDIS_USERNAME") or None,
            "password": env.get("REDIS_PASSWORD") or None,
            "tls": env.get("REDIS_TLS", "").lower() in ("1", "true", "yes", "on"),
            "sentinels": parse_sentinels(env.get("REDIS_SENTINELS", "")),
            "sentinel_master": env.get("REDIS_SENTINEL_MASTER") or "mymaster",
            "sentinel_password": env.get("REDIS_SENTINEL_PASSWORD") or None,
        }
        return cls(**(fields | overrides))

    @property
    def address(self) -> str:
        """For people and logs: no password."""
        if self.sentinels:
            return f"{self.sentinel_master}/{self.db} (Sentinel {self._sentinels()})"
        return f"{self.host}:{self.port}/{self.db}"

    def client(self) -> redis.Redis:
        """A redis-py client, for everything that is not hot."""
        import redis

        from .connections import BusConnection, SecureConnection

        pool = redis.ConnectionPool(
            connection_class=SecureConnection if self.tls else BusConnection,
            **self._connection_arguments(),
        )
        client = redis.Redis(connection_pool=pool)
        client.auto_close_connection_pool = True
        return client

    def connection(self) -> redis.Connection:
        """One connection of its own, not yet connected."""
        from .connections import BusConnection, SecureConnection

        kind = SecureConnection if self.tls else BusConnection
        return kind(**self._connection_arguments())

    def _connection_arguments(self) -> dict[str, Any]:
        from .connections import fixed_arguments

        return {
            "host": self.host,
            "port": self.port,
            "db": self.db,
            "username": self.username,
            "password": self.password,
            "socket_timeout": self.timeout_s,
            "socket_connect_timeout": self.connect_timeout_s,
            "socket_keepalive": True,
            "client_name": self.client_name,
            "sentinels": self._sentinels() if self.sentinels else None,
            **fixed_arguments(self.tls, self.tls_ca_file),
        }

    def find_primary(self) -> tuple[str, int]:
        """The primary's host and port, as the Sentinels say now.

        Raises:
            redis.ConnectionError: none of them knows it.
        """
        return self._sentinels().find_primary()

    def _sentinels(self) -> Sentinels:
        from .connections import Sentinels

        return Sentinels(
            addresses=self.sentinels,
            master=self.sentinel_master,
            password=self.sentinel_password,
            tls=self.tls,
            tls_ca_file=self.tls_ca_file,
        )


def parse_sentinels(text: str) -> tuple[tuple[str, int], ...]:
    """`"a:26379,b"`: hosts, and ports (26379 where there is none).

    Raises:
        ValueError: not such a list.
    """
    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            parts = urlsplit(f"//{word}")
            host, port = parts.hostname, parts.port or 26_379
        except ValueError:
            host = port = None
        if not host or not port or "@" in word or "/" in word:
            raise ValueError("REDIS_SENTINELS must look like host:port,host:port")
        found.append((host, port))
    return tuple(found)


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal():
        raise ValueError(f"{name} must be a number, not {text!r}")
    return int(text)


class Wire:
    """A connected, authenticated Redis socket with a reply parser. One thread reads, one writes."""

    def __init__(self, config: RedisConfig) -> None:
        """Connect.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        import redis

        self._connection = cast(Any, config.connection())  # its connect() has no types
        try:
            self._connection.connect()
        except (redis.RedisError, OSError) as error:
            self._connection.disconnect()
            raise RedisUnavailable(config.address, error) from error
        # redis-py hands out its socket under no public name
        self.sock: socket.socket = self._connection._sock
        self.replies = hiredis.Reader()
        self._buffer = bytearray(262_144)

    def send(self, packed: bytes) -> None:
        self.sock.sendall(packed)

    def receive(self) -> Any:
        """The next reply; an error reply is returned as `hiredis.ReplyError`, not raised.

        Raises:
            TimeoutError: nothing came within the socket's deadline.
            ConnectionError: the other side closed.
        """
        while (reply := self.replies.gets()) is False:
            self.feed()
        return reply

    def feed(self) -> None:
        """Read once from the socket into the parser."""
        # Into one buffer: a new one of this size for each read costs five times the read itself.
        received = self.sock.recv_into(self._buffer)
        if not received:
            raise ConnectionResetError("Redis closed the connection")
        self.replies.feed(cast(bytes, self._buffer), 0, received)  # it copies from any buffer

    def call(self, *arguments: str | bytes | int) -> Any:
        self.send(pack_command(*arguments))
        return self.receive()

    def close(self) -> None:
        # Shut down first: it wakes a thread that is blocked in recv.
        with contextlib.suppress(OSError):  # it may be gone already
            self.sock.shutdown(socket.SHUT_RDWR)
        self._connection.disconnect()


def is_passing(error: BaseException | str | None) -> bool:
    """Whether somebody is there who could not answer just now. A refused connection, an unknown
    name or a wrong password will be the same in a second."""
    import redis

    while isinstance(error, BaseException):
        if isinstance(error, redis.AuthenticationError):
            return False
        if isinstance(error, redis.TimeoutError | redis.BusyLoadingError):
            return True
        if isinstance(error, TimeoutError | ConnectionResetError | BrokenPipeError):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_elsewhere(config: RedisConfig, wire: Wire | None) -> bool:
    """Whether the Sentinels name another primary than the one that `wire` is connected to.

    False without Sentinels, without an answer, and without a connection. Any thread may ask.
    """
    if not config.sentinels or wire is None:
        return False
    import redis

    try:
        host, port = config.find_primary()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return wire.sock.getpeername()[:2] not in {address[:2] for *_, address in found}
    except (redis.RedisError, OSError):
        return False


def pack_argument(argument: str | bytes | int) -> bytes:
    """One bulk string of RESP."""
    raw = argument if isinstance(argument, bytes) else str(argument).encode()
    return b"$%d\r\n%b\r\n" % (len(raw), raw)


def pack_command(*arguments: str | bytes | int) -> bytes:
    """One command of RESP."""
    return b"*%d\r\n%b" % (len(arguments), b"".join(map(pack_argument, arguments)))


def backoff_delays(
    first_s: float = 0.05, cap_s: float = 2.0, rng: random.Random | None = None
) -> Iterator[float]:
    """Endless delays that double up to a cap, each with full jitter above a half."""
    rng = rng or random.Random()
    delay = first_s
    while True:
        yield delay * rng.uniform(0.5, 1.0)
        delay = min(cap_s, delay * 2)
