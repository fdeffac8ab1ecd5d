"""Connections through a SOCKS proxy that call a ``WaitHook`` around every wait: ``SOCKS_POOL_CLASSES``.

PySocks speaks the protocol; importing this module needs it. urllib3 lets PySocks connect to the proxy too, without the
guard and with a timeout that restarts with each byte. Here PySocks gets a connected socket.
"""

from __future__ import annotations

import socket
from typing import Any

import socks
import urllib3
from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

from streamkit.transport.connection import Hooked, ProxyRefused, pool_classes
from streamkit.transport.lookups import look_up
from streamkit.transport.wait_hook import current_hook

__all__ = ["SOCKS_POOL_CLASSES"]

_PORT = 1080  # the proxy's port if its address has none
# The beginnings of PySocks' messages for refusals that a retry does not change: forbidden by the proxy's rules, command
# or address type not supported, user not verified (SOCKS 4), and a server that is not a SOCKS proxy.
# Source: RFC 1928, section 6, and the documents "SOCKS" and "SOCKS 4A" by Ying-Da Lee.
_FINAL = (
    "0x02",
    "0x07",
    "0x08",
    "0x5c",
    "0x5d",
    "SOCKS5 proxy server sent invalid",
    "SOCKS4 proxy server sent invalid",
)


class _Negotiator(socks.socksocket):  # type: ignore[misc]
    """PySocks' negotiation with the proxy, on a connected socket; it calls the hook around each read."""

    def recv_into(self, *args: Any) -> int:
        """Read once, bounded by the hook: bytes that arrive one by one do not restart the limit."""
        hook = current_hook()
        while True:
            super().settimeout(hook.limit())
            try:
                received: int = super().recv_into(*args)
            except TimeoutError:
                hook.wait_timed_out()
            else:
                return received


class _Socks(Hooked):
    """The parts that plain and TLS connections through a SOCKS proxy share."""

    _socks_options: dict[str, Any]

    def _new_conn(self) -> socket.socket:
        """Connect to the proxy, and let the proxy connect to the host."""
        options = self._socks_options
        host = self.host if options["rdns"] else self._address_of_host()
        sock = self._connected(options["proxy_host"].strip("[]"), int(options["proxy_port"] or _PORT))
        # The guard holds a duplicate of the descriptor, which is not affected by detaching this one.
        negotiator = _Negotiator(sock.family, sock.type, sock.proto, fileno=sock.detach())
        try:
            self._negotiate(negotiator, host)
            sock = socket.socket(negotiator.family, negotiator.type, negotiator.proto, fileno=negotiator.detach())
        except (OSError, UnicodeError) as error:
            raise urllib3.exceptions.NewConnectionError(self, str(error)) from error  # type: ignore[arg-type]
        finally:
            negotiator.close()
        sock.settimeout(current_hook().limit())
        return sock

    def _address_of_host(self) -> str:
        """Look up the host's address, for a proxy that does not do so itself.

        Call it before connecting to the proxy: the lookup registers with the guard in place of a socket.
        """
        four = self._socks_options["socks_version"] == socks.PROXY_TYPE_SOCKS4
        hook = current_hook()
        try:
            hook.limit()
            addresses = look_up(self.host, self.port, socket.AF_INET if four else socket.AF_UNSPEC, hook)
            return str(addresses[0][4][0])
        except (OSError, UnicodeError) as error:
            failure = OSError(f"the name {self.host} could not be looked up: {error}")
        raise urllib3.exceptions.NewConnectionError(self, str(failure)) from failure  # type: ignore[arg-type]

    def _negotiate(self, negotiator: _Negotiator, host: str) -> None:
        options = self._socks_options
        user, password = options["username"], options["password"]
        negotiator.set_proxy(options["socks_version"], rdns=options["rdns"], username=user, password=password)
        negotiator.settimeout(current_hook().limit())
        four = options["socks_version"] == socks.PROXY_TYPE_SOCKS4
        try:
            (negotiator._negotiate_SOCKS4 if four else negotiator._negotiate_SOCKS5)(host, self.port)
        except socks.ProxyError as error:
            retryable = not isinstance(error, socks.SOCKS5AuthError) and not str(error).startswith(_FINAL)
            raise ProxyRefused(str(error), retryable=retryable) from error


class _PlainConnection(_Socks, SOCKSConnection):  # type: ignore[misc]
    pass


class _TLSConnection(_Socks, SOCKSHTTPSConnection):  # type: ignore[misc]
    pass


SOCKS_POOL_CLASSES = pool_classes(_PlainConnection, _TLSConnection)
