"""HTTP by requests' adapter: pooled connections, responses as pieces of bytes, errors of ours alone."""

from __future__ import annotations

import encodings.punycode  # noqa: F401 - or a reader would import it for a host name that is not ASCII
import http.client
import os
import queue
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
except ImportError:  # without PySocks, requests refuses such a proxy
    SOCKS_POOL_CLASSES = {}
from streamkit.version import __version__
from streamkit.wire.http import HttpRequest, ResponseInfo
from streamkit.wire.secrets import mask, without_userinfo

__all__ = ["Reply", "Transport"]

_READ = 65536  # bytes
_EXCERPT = 16384  # bytes of a body that are looked at for an excerpt
_POOL_SIZE = 256  # idle connections kept a host: as many streams as one process reasonably has open at once
_SOCKS = ("socks5", "socks5h", "socks4", "socks4a")  # kinds of SOCKS proxies; h and a: the proxy looks names up
_USER_AGENT = f"streamkit/{__version__}"
# urllib3 passes through what it cannot decompress: without brotli and zstd installed, br and zstd among it.
_DECODED = {"", "identity", *urllib3.HTTPResponse.CONTENT_DECODERS}
# Charsets in which ASCII is not what it is in UTF-8. Others, such as latin-1, many servers name and send UTF-8.
_OTHER_CHARSET = re.compile(r"(utf|ucs|cp|ibm|iso-10646-ucs)[-_]?(7|2|4|16|32|037|500|1140)([-_]?[bl]e)?|unicode")
# The percent sign before the zone of an IPv6 address (RFC 6874). requests undoes one level of quoting, and would take
# the first letters of a zone for a code; so it gets two.
_ZONE = re.compile(r"(?<=://\[)([^\]/?#]*%25)")
# What requests and urllib look at to find proxies and certificates.
_ENVIRONMENT = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUEST_METHOD"),
)


class _Adapter(HTTPAdapter):
    """requests' adapter over connections that a hook can end, directly or through a proxy."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = POOL_CLASSES

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        scheme = proxy.partition("://")[0].lower()
        socks = scheme.startswith("socks")
        if socks and scheme not in _SOCKS:
            kinds = ", ".join(_SOCKS)
            raise ConfigError(f"the proxy {without_userinfo(proxy)} is of no known kind; SOCKS proxies are {kinds}")
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = SOCKS_POOL_CLASSES if socks else POOL_CLASSES
        return manager

    def pools(self) -> list[urllib3.HTTPConnectionPool]:
        """Return the pools there are, one a host."""
        found = []
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 - no dict, and its keys() is a snapshot
                with suppress(KeyError):
                    found.append(manager.pools[key])
        return found


@lru_cache(maxsize=64)
def _environment(origin: str, direct: bool, *values: str | None) -> tuple[bool | str, dict[str, str]]:
    """Return what requests makes of the environment for an address: CA bundle and proxies.

    Finding out is a tenth of the time to the first chunk, so an answer is kept for as long as the variables that
    it depends on stay as they are: ``values`` tell one state of them from another. What Windows and macOS have set
    besides is asked once.
    """
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return verify, {} if direct else requests.utils.get_environ_proxies(origin)


def _prepared(request: HttpRequest) -> requests.PreparedRequest:
    """Return the request as the adapter takes it, with our headers and no others.

    Not by ``prepare()``, which puts a user and a password of the URL in place of our ``Authorization``.
    """
    prepared = requests.PreparedRequest()
    prepared.prepare_method(request.method)
    prepared.prepare_url(_ZONE.sub(r"\g<1>25", request.url), None)
    prepared.prepare_headers({"User-Agent": _USER_AGENT, **request.headers})
    prepared.prepare_body(request.body, None)
    return prepared


class Transport:
    """Opens responses; its connections are pooled, and kept apart by process.

    There is no ``requests.Session``: it would add cookies and passwords of ``.netrc``.

    Threads: safe to share. A forked child gets an adapter of its own: two processes writing on one inherited
    connection would mix their requests.
    """

    def __init__(self) -> None:
        self._owned = (os.getpid(), _Adapter(pool_maxsize=_POOL_SIZE))  # replaced as one, by a forked child alone

    def _adapter(self) -> _Adapter:
        pid, adapter = self._owned
        if pid != os.getpid():
            adapter = _Adapter(pool_maxsize=_POOL_SIZE)
            self._owned = (os.getpid(), adapter)
        return adapter

    def open(self, request: HttpRequest, hook: WaitHook) -> Reply:
        """Send the request and wait for the head of the response.

        Redirects are not followed, or the key would travel to wherever the server points.

        Raises:
            ConfigError: the address or the proxy of the environment cannot be used.
            ConnectError: no connection came about.
            BrokenStreamError: it failed before the head of the response was there.
            ProtocolError: who answers does not speak HTTP.
            Whatever ``hook`` raises.
        """
        adapter = self._adapter()
        proxies: dict[str, str] = {}
        try:
            prepared = _prepared(request)
            origin = "/".join(request.url.split("/", 3)[:3])
            verify, proxies = _environment(origin, request.direct, *map(os.environ.get, _ENVIRONMENT))
            with hooked(hook):
                response = adapter.send(prepared, stream=True, timeout=None, verify=verify, proxies=proxies)
        except requests.exceptions.InvalidURL as error:
            if not proxies:
                raise ConfigError(mask(f"the request cannot be sent: {error}", request.secrets)) from None
            # Not in the words of requests, which may hold half of the proxy's password.
            raise ConfigError("the request cannot be sent: the proxy of the environment has no valid address") from None
        except requests.exceptions.InvalidSchema as error:
            if (proxy := _proxy_of(request, proxies)).lower().startswith("socks"):
                raise ConfigError(f'the proxy {proxy} needs SOCKS: python -m pip install "requests[socks]"') from None
            raise ConfigError(mask(f"the request cannot be sent: {error}", request.secrets)) from None
        except requests.exceptions.InvalidHeader as error:
            raise ProtocolError(mask(f"the response has an impossible header: {error}", request.secrets)) from None
        except FAILURES as error:
            raise opening_error(error, request, hook, _proxy_of(request, proxies)) from None
        return Reply(response, last_response(), request, hook)

    def close_idle(self) -> None:
        """Close the idle connections; the next request gets a new one."""
        for pool in self._adapter().pools():
            idle = pool.pool  # None once it was closed
            with suppress(queue.Empty):
                while idle is not None:
                    idle.get(block=False).close()

    def close(self) -> None:
        """Close the idle connections. Streams that are open keep theirs until they end."""
        pid, adapter = self._owned
        if pid == os.getpid():
            for pool in adapter.pools():
                pool.close()  # urllib3 itself leaves that to the garbage collector
            adapter.close()


class Reply:
    """A response whose head has arrived, and its body as it comes.

    Owned by one worker thread. Close it on every path.

    Args:
        response: with a body that nobody has read.
        below: the response that urllib3 read it from, ``None`` where there is no such thing.
        request: for its secrets.
        hook: is told of the bytes that arrive.
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
        """Iterate the body, each piece as soon as it is there, until its end.

        ``read1`` is the one call that neither waits for a buffer to fill nor splits what came together.

        Raises:
            TruncatedStreamError: the peer closed before the body was whole by its own framing.
            BrokenStreamError: the connection failed.
            ProtocolError: the compression is broken, or nobody here can decode it, or the characters.
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
        if self.info.status >= 200:  # after anything less, more may come on the connection
            self._raw.release_conn()

    def _check_encoding(self) -> None:
        """Refuse a body that would be read as something that it is not.

        Raises:
            ProtocolError: its compression is unknown here, or its charset does not begin with ASCII.
        """
        for encoding in self.info.headers.get("content-encoding", "").lower().split(","):
            if encoding.strip() not in _DECODED:
                shown = self.excerpt(encoding.strip())
                raise ProtocolError(f"the reply is encoded as {shown!r}, which cannot be decoded here")
        if _OTHER_CHARSET.fullmatch(charset := self.info.charset):
            raise ProtocolError(f"the reply has the charset {charset!r}, where JSON and events are UTF-8")

    def _read1(self) -> Callable[[int], bytes]:
        """Return the function that reads what is there.

        urllib3's decompresses, within bounds. Where there is nothing to decompress, the one below it does
        the same at a third of the cost, which is the larger part of what a single chunk costs.
        """
        if self._below is None or "content-encoding" in self.info.headers:
            return partial(self._raw.read1, decode_content=True)
        return self._below.read1

    def read(self, limit: int) -> bytes:
        """Return the body up to ``limit`` bytes, however much there is, and whatever ends it."""
        body = b""
        try:
            for data in self.pieces():
                body += data
                if len(body) >= limit:
                    break
        except StreamError:
            pass  # an error's body is worth reading as far as it goes
        return body[:limit]

    def read_whole(self, limit: int) -> bytes:
        """Return the body, all of it.

        Raises:
            ProtocolError: it is longer than ``limit`` bytes.
            What ``pieces`` raises.
        """
        body = bytearray()
        for data in self.pieces():
            body += data
            if len(body) > limit:
                raise ProtocolError(f"the reply is larger than {limit} bytes", excerpt=self.excerpt(body))
        return bytes(body)

    def drain(self, limit: int) -> bool:
        """Read on to the end of the body, at most ``limit`` bytes, so that the connection can be used again."""
        try:
            for data in self.pieces():
                limit -= len(data)
                if limit < 0:
                    return False
        except StreamError:
            return False
        return True

    def excerpt(self, data: bytes | bytearray | str) -> str:
        """Return the beginning of what came as text that is safe to show."""
        data = data[:_EXCERPT]
        text = data if isinstance(data, str) else bytes(data).decode("utf-8", "replace")
        return mask(text, self._request.secrets)[:512]  # masked first: half a key is no longer found

    def close(self) -> None:
        """Let the connection go: into the pool if the body was read to its end, closed if not."""
        self._raw.close()
        self._raw.release_conn()


def _proxy_of(request: HttpRequest, proxies: dict[str, str]) -> str:
    """Return the address of the proxy that a request goes through, as it may be shown; "" for none."""
    return without_userinfo(requests.utils.select_proxy(request.url, proxies) or "")
