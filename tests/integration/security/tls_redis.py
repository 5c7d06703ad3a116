"""A Redis that speaks TLS and nothing else, with a certificate for `localhost` from its own CA."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import wait_for


def why_not() -> str | None:
    """What is missing here, if anything is."""
    server = shutil.which("redis-server")
    if server is None:
        return "no redis-server on PATH: `make redis-server` installs it as root"
    if shutil.which("openssl") is None:
        return "no openssl on PATH to make a certificate with"
    if not _speaks_tls(server):
        return "this redis-server was built without TLS"
    return None


def _speaks_tls(server: str) -> bool:
    """One that does complains of the certificate; one that does not, of the option or of itself."""
    tried = subprocess.run(
        [server, "--port", "0", "--tls-port", "1", "--tls-cert-file", "/nowhere"],
        check=False,
        capture_output=True,
        text=True,
        timeout=10,
    )
    return "Failed to configure TLS" in tried.stdout


def make_ca(folder: Path, name: str) -> Path:
    """A certificate authority: `<name>.pem`, and its key beside it."""
    certificate = folder / f"{name}.pem"
    _openssl("-keyout", folder / f"{name}.key", "-out", certificate, "-subj", f"/CN={name}")
    return certificate


def make_certificate(folder: Path, ca: Path, host: str) -> Path:
    """A server's certificate, signed by `ca`, for `host` alone."""
    certificate = folder / "server.pem"
    _openssl(
        *("-keyout", folder / "server.key", "-out", certificate, "-subj", f"/CN={host}"),
        *("-CA", ca, "-CAkey", ca.with_suffix(".key")),
        *("-addext", f"subjectAltName=DNS:{host}", "-addext", "basicConstraints=CA:FALSE"),
    )
    return certificate


def _openssl(*arguments: str | Path) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    command = ["openssl", "req", "-x509", "-days", "2", *curve, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)


class TlsRedis:
    """`with TlsRedis(folder) as server:`; `server.ca` is what signed its certificate."""

    def __init__(self, folder: Path) -> None:
        self.ca = make_ca(folder, "ca")
        certificate = make_certificate(folder, self.ca, "localhost")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        options = {
            "port": "0",
            "tls-port": str(self.port),
            "bind": "127.0.0.1",
            "tls-cert-file": str(certificate),
            "tls-key-file": str(certificate.with_suffix(".key")),
            "tls-ca-cert-file": str(self.ca),
            "tls-auth-clients": "no",
            "save": "",
            "dir": str(folder),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._process = subprocess.Popen(
            ["redis-server", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        wait_for(self._listens, what="redis-server listens")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(10)

    def _listens(self) -> bool:
        assert self._process.poll() is None, "redis-server ended"
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", self.port)) == 0
