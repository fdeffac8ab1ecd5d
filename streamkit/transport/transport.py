"""HTTP by requests' adapter: pooled connections, response bodies in pieces, and only errors of this library."""

from __future__ import annotations

import encodings.punycode  # noqa: F401 - otherwise a reader imports it for a host name that is not ASCII
import http.client
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter

from streamkit.errors import (
    ConfigError,
    ProtocolError,
    StreamError,
    TruncatedStreamError,
)
from streamkit.transport.connection import POOL_CLASSES
from streamkit.transport.failures import FAILURES, body_error, opening_error
from streamkit.transport.wait_hook import WaitHook, hooked, last_response

try:
    from streamkit.transport.socks_connection import SOCKS_POOL_CLASSES
except ImportError:  # without PySocks, requests rejects SOCKS proxies
    SOCKS_POOL_CLASSES = {}
from streamkit.version import __version__
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.secrets import mask, without_userinfo

__all__ = ["Reply", "Transport"]

_READ = 65536  # bytes
_EXCERPT = 16384  # bytes of a body that are searched for secrets, for an excerpt
_POOL_SIZE = 256  # idle connections kept per host: the number of streams that a large process has open at once
_SOCKS = ("socks5", "socks5h", "socks4", "socks4a")  # with h and a, the proxy looks names up
_USER_AGENT = f"streamkit/{__version__}"
# urllib3 passes on, undecoded, what it cannot decompress: br and zstd if their packages are not installed.
_DECODED = {"", "identity", *urllib3.HTTPResponse.CONTENT_DECODERS}
# Charsets that encode ASCII otherwise than UTF-8. Others, such as latin-1, many servers name although they send UTF-8.
_OTHER_CHARSET = re.compile(r"(utf|ucs|cp|ibm|iso-10646-ucs)[-_]?(7|2|4|16|32|037|500|1140)([-_]?[bl]e)?|unicode")
# The percent sign before the zone of an IPv6 address (RFC 6874). requests removes one level of quoting and would decode
# the zone's first letters, so the sign is quoted twice.
_ZONE = re.compile(r"(?<=://\[)([^\]/?#]*%25)")
# The variables from which requests and urllib read proxies and certificates.
_ENVIRONMENT = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUEST_METHOD"),
)


class _Adapter(HTTPAdapter):
    """requests' adapter with connections that call a ``WaitHook``, direct or through a proxy.

    Owner of the fields: urllib3's pool managers have locks of their own. requests replaces entries of ``proxy_manager``
    without a lock; two threads may both make a manager for a new proxy, and the second one is kept.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        scheme = proxy.partition("://")[0].lower()
        socks = scheme.startswith("socks")
        if socks and scheme not in _SOCKS:
            kinds = ", ".join(_SOCKS)
            raise ConfigError(f"the proxy {without_userinfo(proxy)} has an unknown scheme; SOCKS proxies have {kinds}")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = SOCKS_POOL_CLASSES if socks else POOL_CLASSES
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        return _pool_key(_origin(str(request.url)), verify)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Give a pool its CA bundle, once; requests would look for the file for each request."""
        if not conn.has_certificates:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
            conn.has_certificates = True

    def pools(self) -> list[urllib3.HTTPConnectionPool]:
        """Return the existing pools, one per host."""
        found = []
        for manager in (self.poolmanager, *self.proxy_manager.copy().values()):  # another thread may add one meanwhile
            for key in manager.pools.keys():  # noqa: SIM118 - not a dict; keys() returns a snapshot
                with suppress(KeyError):
                    found.append(manager.pools[key])
        return found


def _origin(url: str) -> str:
    """Return the scheme, host and port of a URL."""
    return "/".join(url.split("/", 3)[:3])


@lru_cache(maxsize=64)
def _pool_key(origin: str, verify: bool | str) -> Any:
    """Return the host and the TLS settings by which a pool manager finds a pool.

    requests looks for the CA bundle, if the environment names one, so the result is cached.
    """
    request = requests.PreparedRequest()
    request.url = origin
    return HTTPAdapter().build_connection_pool_key_attributes(request, verify)


@lru_cache(maxsize=64)
def _environment(origin: str, direct: bool, *values: str | None) -> tuple[bool | str, dict[str, str]]:
    """Return the CA bundle and the proxies that requests takes from the environment for an address.

    Reading them takes a tenth of the time to the first chunk, so the result is cached by the values of the variables.
    The proxy settings of Windows and macOS are read once.

    Args:
        origin: scheme, host and port.
        direct: whether to use no proxy.
        values: the values of ``_ENVIRONMENT``, for the cache alone.
    """
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return verify, {} if direct else requests.utils.get_environ_proxies(origin)


def _prepared(request: HttpRequest) -> requests.PreparedRequest:
    """Return the request for the adapter, with exactly our headers.

    ``prepare()`` would replace our ``Authorization`` by the user and password of the URL.
    """
    prepared = requests.PreparedRequest()
    prepared.prepare_method(request.method)
    prepared.prepare_url(_ZONE.sub(r"\g<1>25", request.url), None)
    prepared.prepare_headers({"User-Agent": _USER_AGENT, **request.headers})
    prepared.prepare_body(request.body, None)
    return prepared


class Transport:
    """Sends requests over pooled connections.

    It uses no ``requests.Session``, which would add cookies and passwords of ``.netrc``.

    Owner of the fields: ``_owned`` is replaced by a single assignment, and only in a forked child. If two threads of
    the child do so at once, one adapter is kept, and the garbage collector closes the other's connections.

    Threads: safe to share. A forked child gets an adapter of its own, because two processes that write to one
    inherited connection would mix their requests.
    """

    def __init__(self) -> None:
        self._owned = (os.getpid(), _Adapter(pool_maxsize=_POOL_SIZE))  # process id and its adapter

    def _adapter(self) -> _Adapter:
        pid, adapter = self._owned
        if pid != os.getpid():
            adapter = _Adapter(pool_maxsize=_POOL_SIZE)
            self._owned = (os.getpid(), adapter)
        return adapter

    def open(self, request: HttpRequest, hook: WaitHook) -> Reply:
        """Send the request and wait for the head of the response.

        Redirects are not followed, because the key must not be sent to another host.

        Raises:
            ConfigError: the address, or the environment's proxy, cannot be used.
            ConnectError: no connection could be made.
            BrokenStreamError: the connection failed before the head of the response had arrived.
            ProtocolError: the server does not speak HTTP.
            Whatever ``hook`` raises.

        Threads: any. Blocks; ``hook`` bounds each wait, and shutting down its guard ends it.
        """
        adapter = self._adapter()
        proxies: dict[str, str] = {}
        try:
            prepared = _prepared(request)
            verify, proxies = _environment(_origin(request.url), request.direct, *map(os.environ.get, _ENVIRONMENT))
            with hooked(hook):
                response = adapter.send(prepared, stream=True, timeout=None, verify=verify, proxies=proxies)
        except requests.exceptions.InvalidURL as error:
            if not proxies:
                raise ConfigError(mask(f"the request cannot be sent: {error}", request.secrets)) from None
            # The message of requests may contain a part of the proxy's password.
            raise ConfigError("the request cannot be sent: the proxy in the environment has no valid address") from None
        except requests.exceptions.InvalidSchema as error:
            if (proxy := _proxy_of(request, proxies)).lower().startswith("socks"):
                raise ConfigError(f'the proxy {proxy} needs PySocks: python -m pip install "requests[socks]"') from None
            raise ConfigError(mask(f"the request cannot be sent: {error}", request.secrets)) from None
        except requests.exceptions.InvalidHeader as error:
            raise ProtocolError(mask(f"the response has an invalid header: {error}", request.secrets)) from None
        except FAILURES as error:
            raise opening_error(error, request, hook, _proxy_of(request, proxies)) from None
        return Reply(response, last_response(), request, hook)

    def close_idle(self) -> None:
        """Close the idle connections; the next request opens a new one.

        Threads: any.
        """
        for pool in self._adapter().pools():
            idle: Any = pool.pool  # IdleConnections, or None after the pool was closed
            if idle is not None:
                idle.close_all()

    def close(self) -> None:
        """Close the idle connections. Open streams keep theirs until they end.

        Threads: any.
        """
        pid, adapter = self._owned
        if pid == os.getpid():
            for pool in adapter.pools():
                pool.close()  # urllib3 leaves that to the garbage collector
            adapter.close()


class Reply:
    """A response whose head has arrived, and its body as it arrives. The caller has to close it.

    Owner of the fields: one thread, the one that opened it, uses all of them.

    Args:
        response: with a body that was not read yet.
        below: the ``http.client`` response below urllib3's, ``None`` for a mocked one.
        request: the request; its secrets are masked in excerpts.
        hook: its ``count`` is called with the number of bytes that arrive.

    Attributes:
        info: the response's head.
    """

    def __init__(
        self,
        response: requests.Response,
        below: http.client.HTTPResponse | None,
        request: HttpRequest,
        hook: WaitHook,
    ) -> None:
        self._raw: urllib3.HTTPResponse = response.raw
        self._below = below
        self._request = request
        self._hook = hook
        headers = {name.lower(): value for name, value in response.headers.items()}
        self.info = ResponseInfo(response.status_code, headers)

    def pieces(self) -> Iterator[bytes]:
        """Iterate the body in pieces, each as soon as it arrives.

        Only ``read1`` neither waits until a buffer is full nor splits the bytes that arrived together.

        Raises:
            TruncatedStreamError: the server closed the connection before the end of the body, by HTTP's framing.
            BrokenStreamError: the connection failed.
            ProtocolError: the body cannot be decompressed, or its compression or charset is not supported.
            Whatever the hook raises.
        """
        self._check_encoding()
        read1 = self._read1()
        while True:
            try:
                data = read1(_READ)
            except FAILURES as error:
                raise body_error(error) from None
            if not data:
                break
            self._hook.count(len(data))
            yield data
        if self._below is not None and self._below.length:
            raise TruncatedStreamError("the connection was closed before the reply was over", retryable=True)
        if self._below is not None:
            self._below.close()
        if self.info.status >= 200:  # after a lower status more bytes may follow on the connection
            self._raw.release_conn()

    def _check_encoding(self) -> None:
        """Reject a body whose compression or charset is not supported.

        Raises:
            ProtocolError: the compression is unknown, or the charset is not a superset of ASCII.
        """
        for encoding in self.info.headers.get("content-encoding", "").lower().split(","):
            if encoding.strip() not in _DECODED:
                shown = self.excerpt(encoding.strip())
                raise ProtocolError(f"the reply is encoded as {shown!r}, which cannot be decoded here")
        if _OTHER_CHARSET.fullmatch(charset := self.info.charset):
            raise ProtocolError(f"the reply has the charset {charset!r}, where JSON and events are UTF-8")

    def _read1(self) -> Callable[[int], bytes]:
        """Return the function that reads the bytes that have arrived.

        urllib3's ``read1`` decompresses, within bounds. For an uncompressed body use the one of ``http.client`` below
        it, at a third of the cost: reading is the larger part of the cost of a single chunk.
        """
        if self._below is None or "content-encoding" in self.info.headers:
            return partial(self._raw.read1, decode_content=True)
        return self._below.read1

    def read_whole(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            ProtocolError: the body is longer than ``limit`` bytes.
            Whatever ``pieces`` raises.
        """
        body = bytearray()
        for data in self.pieces():
            body += data
            if len(body) > limit:
                raise ProtocolError(f"the reply is larger than {limit} bytes", excerpt=self.excerpt(body))
        return bytes(body)

    def drain(self, limit: int) -> None:
        """Read the rest of the body, at most ``limit`` bytes, so that the connection can be reused."""
        try:
            for data in self.pieces():
                limit -= len(data)
                if limit < 0:
                    return
        except StreamError:
            pass  # the connection is closed instead

    def excerpt(self, data: bytes | bytearray | str) -> str:
        """Return the first 512 characters of received data, with secrets masked."""
        data = data[:_EXCERPT]
        text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
        return mask(text, self._request.secrets)[:512]  # masked before the cut: a part of a key would not be found

    def close(self) -> None:
        """Return the connection to the pool if the body was read to its end; close it otherwise."""
        self._raw.close()
        self._raw.release_conn()


def _proxy_of(request: HttpRequest, proxies: dict[str, str]) -> str:
    """Return the address of the request's proxy without user and password; "" for none."""
    return without_userinfo(requests.utils.select_proxy(request.url, proxies) or "")
