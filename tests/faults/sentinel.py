"""One Sentinel process that watches over a primary; it decides alone."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import redis

from main.embedded_valkey import find_server

MASTER: Final = "mymaster"
DOWN_AFTER_MS: Final = 400


class Sentinel:
    """Runs from its creation until `stop`. `port` is where it listens, on loopback."""

    def __init__(self, folder: Path, primary_port: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        config = folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\n"
            "bind 127.0.0.1\n"
            f"dir {folder}\n"
            f"logfile {folder}/sentinel.log\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {primary_port} 1\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 4000\n"
        )
        self._process = subprocess.Popen(
            [find_server(), str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._client: Any = redis.Redis(port=self.port, decode_responses=True)

    def primary_port(self) -> int:
        """Where it says that the primary is; 0 until it answers."""
        try:
            reply = self._client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        except redis.ConnectionError:
            assert self._process.poll() is None, "the Sentinel ended"
            return 0
        return int(reply[1])

    def knows_the_replica(self) -> bool:
        replicas = self._client.execute_command("SENTINEL", "REPLICAS", MASTER)
        return bool(replicas) and "s_down" not in replicas[0]["flags"]

    def fail_over(self) -> None:
        """Promote the replica, though nothing is wrong with the primary."""
        self._client.execute_command("SENTINEL", "FAILOVER", MASTER)

    def stop(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(10)
