"""Mutual TLS between processes: one certificate a process, believed if the configured authority signed it.

Owns when the files are read again: by a server at each new connection, by a client within a second of a change. Must
never fall back to a connection without TLS, or to one whose other end proves nothing.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import structlog

from services.runtime.lifecycle import spawn
from services.runtime.settings import TlsConfig

CHECK_SECONDS = 1.0
_log = structlog.get_logger("tls")


class Pems(NamedTuple):
    """What the three files hold."""

    key: bytes
    chain: bytes
    authority: bytes


def read_pems(config: TlsConfig) -> Pems:
    """The files as they are now. Raises OSError, and ValueError if only some are named."""
    names = (config.key_file, config.cert_file, config.ca_file)
    if not all(names):
        raise ValueError("TOPTEN_TLS_CERT_FILE, TOPTEN_TLS_KEY_FILE and TOPTEN_TLS_CA_FILE go together")
    return Pems(*(Path(name).read_bytes() for name in names))


def server_credentials(config: TlsConfig) -> grpc.ServerCredentials:
    """For a server that admits nobody without a certificate; each connection meets the files as they are then.

    Files that can't be read, or a key that is not the certificate's, leave what was there. Raises OSError, ValueError.
    """
    latest = read_pems(config)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal latest
        found = _reread(config, latest)
        if found == latest:
            return None
        latest = found
        return _for_server(found)

    fetch: Any = renewed  # None, which its type does not have, leaves what there is
    return grpc.dynamic_ssl_server_credentials(_for_server(latest), fetch, require_client_authentication=True)


class ReloadingChannel:
    """A channel, as stubs need one, that goes on over a new connection when the files have changed.

    What runs on the old connection stays there; only the connection before that one is closed. Used in one event loop.
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
        """What calls a method over the connection of that moment."""
        return self._method("unary_unary", method, options)

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """As `unary_unary`."""
        return self._method("unary_stream", method, options)

    async def close(self) -> None:
        """Ends all connections."""
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
            found = _reread(self._config, self._pems)
            if found != self._pems:
                self._pems = found
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
        _log.warning("certificates can't be read; the old ones are used", error=error.strerror)
        return before


def _for_server(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.chain)], pems.authority)
