"""Mutual TLS between processes: each has a certificate signed by the configured authority.

Owns when the files are reloaded: by a server for each new connection, by a client within a second of a change. Must never
fall back to a connection without TLS or without a verified peer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog

from services.runtime.config.settings import TlsConfig
from services.runtime.process.lifecycle import spawn

CHECK_SECONDS = 1.0
_log = structlog.get_logger("tls")


class Pems(NamedTuple):
    """The contents of the three files."""

    key: bytes
    chain: bytes
    authority: bytes


def read_pems(config: TlsConfig) -> Pems:
    """Read the files. Raises OSError, and ValueError if only some are configured."""
    names = (config.key_file, config.cert_file, config.ca_file)
    if not all(names):
        raise ValueError("TOPTEN_TLS_CERT_FILE, TOPTEN_TLS_KEY_FILE and TOPTEN_TLS_CA_FILE must be set together.")
    return Pems(*(Path(name).read_bytes() for name in names))


def server_credentials(config: TlsConfig) -> grpc.ServerCredentials:
    """Credentials of a server that requires client certificates and reloads its files for each connection.

    If the files can't be read, or the key does not match, the previous ones stay. Raises OSError, ValueError.
    """
    latest = read_pems(config)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal latest
        pems = _reread(config, latest)
        if pems == latest:
            return None
        latest = pems
        return _for_server(pems)

    fetch: Any = renewed  # None, which is missing in its type, keeps the current configuration
    return grpc.dynamic_ssl_server_credentials(_for_server(latest), fetch, require_client_authentication=True)


class ReloadingChannel:
    """A channel, as far as stubs need one, that opens a new connection when the files have changed.

    gRPC cannot reload the certificates of a Python client. Calls in progress stay on the old connection, which is closed
    with the next change. Use from one event loop.
    """

    def __init__(self, address: str, config: TlsConfig, options: list[tuple[str, Any]]) -> None:
        """Raises OSError, ValueError."""
        self._address = address
        self._config = config
        self._options = options
        self._pems = read_pems(config)
        self._checked_at = time.monotonic()
        self._channel = self._open()
        self._old: grpc.aio.Channel | None = None

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """A unary method that is called over the latest connection."""
        return self._method("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """A streaming method that is called over the latest connection."""
        return self._method("unary_stream", method, options)

    async def close(self) -> None:
        """Close all connections."""
        for channel in (self._channel, self._old):
            if channel is not None:
                await channel.close()

    def _method(self, kind: str, method: tuple[Any, ...], options: dict[str, Any]) -> Any:
        def begin(*request: Any, **how: Any) -> Any:
            return getattr(self._current(), kind)(*method, **options)(*request, **how)

        return begin

    def _current(self) -> grpc.aio.Channel:
        now = time.monotonic()
        if now - self._checked_at >= CHECK_SECONDS:
            self._checked_at = now
            pems = _reread(self._config, self._pems)
            if pems != self._pems:
                self._pems = pems
                closing, self._old, self._channel = self._old, self._channel, self._open()
                if closing is not None:
                    spawn("close an old channel", closing.close())
        return self._channel

    def _open(self) -> grpc.aio.Channel:
        key, chain, authority = self._pems
        credentials = grpc.ssl_channel_credentials(authority, key, chain)
        return grpc.aio.secure_channel(self._address, credentials, options=self._options)


def _reread(config: TlsConfig, before: Pems) -> Pems:
    try:
        return read_pems(config)
    except OSError as error:
        _log.warning("certificates unreadable, previous ones in use", error=error.strerror)
        return before


def _for_server(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.chain)], pems.authority)
