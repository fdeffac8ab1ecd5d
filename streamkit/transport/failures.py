"""Translate the exceptions of requests, urllib3, http.client and the system into this library's errors."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from typing import TypeVar

import requests
import urllib3

from streamkit.errors import BrokenStreamError, ConnectError, ProtocolError, StreamError, TruncatedStreamError
from streamkit.transport.connection import ProxyRefused
from streamkit.transport.head import HeadTooLarge
from streamkit.transport.wait_hook import WaitHook
from streamkit.wire.http import HttpRequest
from streamkit.wire.messages import with_remedy
from streamkit.wire.secrets import mask

__all__ = ["FAILURES", "body_error", "forget_origin", "opening_error"]

#: The base classes of these exceptions.
FAILURES = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
_MOST_FOREIGN = 200  # characters shown of an answer that is not HTTP
_PROXY_SETTINGS = "check the proxy in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; NO_PROXY names hosts to reach without it"
# The schemes of SOCKS proxies for which this machine looks names up, and those for which the proxy does.
_LOCAL_LOOKUP = {"socks5": "socks5h", "socks4": "socks4a"}
# OpenSSL's reasons for a peer that does not speak TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL")
# Source: X509_V_ERR_* in OpenSSL's x509_vfy.h.
_ABOUT_CERTIFICATE = {
    9: "check the clock of this machine",  # not yet valid
    10: "check the clock of this machine; if it is right, the server's certificate has expired",
    62: "check the host in the provider's base URL",  # another host's certificate
    64: "check the host in the provider's base URL",  # another address's
}


def opening_error(error: BaseException, request: HttpRequest, hook: WaitHook, proxy: str) -> StreamError:
    """Return the error for a request that got no response.

    Args:
        error: the exception to translate.
        request: the request; its secrets are masked.
        hook: the request's hook, which knows whether a connection was made.
        proxy: the address of the request's proxy without user and password; "" for none.
    """
    reason = mask(_root(error), request.secrets)
    host = urllib3.util.parse_url(request.url).netloc or request.url
    if proxy:
        host = f"{host} through the proxy {proxy}"
    if bundle := _missing_bundle(error):
        failure = ConnectError(f"no secure connection to {host}: {mask(bundle, request.secrets)}")
        return with_remedy(failure, "set REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE to a file that exists, or unset it")
    if isinstance(error, requests.exceptions.SSLError):
        passing = not _caused_by(error, ssl.SSLCertVerificationError) and bool(_caused_by(error, ssl.SSLEOFError))
        failure = ConnectError(f"no secure connection to {host}: {reason}", retryable=passing)
        return with_remedy(failure, _about_tls(error))
    if bound := _caused_by(error, HeadTooLarge):
        return ProtocolError(f"the response of {host} has {bound}")
    if foreign := _foreign(error):
        odd = ProtocolError(f"{host} does not speak HTTP: {mask(foreign, request.secrets)[:_MOST_FOREIGN]!r}")
        return with_remedy(odd, "check scheme and port of the provider's base URL")
    if (unreached := _unreached(error, host, reason, hook)) is None:
        return BrokenStreamError(f"{host} closed the connection before it answered: {reason}", retryable=True)
    return with_remedy(unreached, _about_lookup(error, reason, proxy) or (_PROXY_SETTINGS if proxy else ""))


def _unreached(error: BaseException, host: str, reason: str, hook: WaitHook) -> ConnectError | None:
    """Return the error of a connection that could not be made, ``None`` if it was made."""
    if refusal := _caused_by(error, ProxyRefused):
        return ConnectError(f"no connection to {host}: {reason}", retryable=refusal.retryable)
    if _caused_by(error, urllib3.exceptions.NameResolutionError):
        # Through a proxy it is the proxy's own name: the proxy looks up the other one.
        name = host.partition(" through ")[2] or host
        return ConnectError(f"the name of {name} could not be looked up: {reason}", retryable=True)
    if _caused_by(error, urllib3.exceptions.NewConnectionError, urllib3.exceptions.ProxyError):
        return ConnectError(f"no connection to {host}: {reason}", retryable=True)
    if not hook.connected:
        return ConnectError(f"the connection to {host} could not be set up: {reason}", retryable=True)
    return None


def _about_lookup(error: BaseException, reason: str, proxy: str) -> str:
    """Return what to do about a name that could not be looked up here, "" for another failure or a proxy's name."""
    scheme = proxy.partition("://")[0]
    if scheme in _LOCAL_LOOKUP and "could not be looked up" in reason:
        return f"{_LOCAL_LOOKUP[scheme]}:// in place of {scheme}:// lets the proxy look names up"
    if not proxy and _caused_by(error, urllib3.exceptions.NameResolutionError):
        return "check the host in the provider's base URL, and the network"
    return ""


def _missing_bundle(error: BaseException) -> str:
    """Return the text of requests' error for a file of certificates that does not exist, "" for other errors."""
    text = str(error)
    return text if text.startswith("Could not find a suitable TLS CA certificate bundle") else ""


def _about_tls(error: BaseException) -> str:
    """Return what to do about a TLS handshake that failed."""
    invalid = _caused_by(error, ssl.SSLCertVerificationError)
    if invalid is not None:
        other = _ABOUT_CERTIFICATE.get(invalid.verify_code)
        return other or "if a proxy of your network decrypts TLS, set REQUESTS_CA_BUNDLE to the file of its certificate"
    failed = _caused_by(error, ssl.SSLError)
    if failed is not None and failed.reason in _NO_TLS:
        return "no TLS is spoken there: check scheme and port of the provider's base URL"
    return "check the network and the proxy settings"


def forget_origin(error: BaseException) -> None:
    """Remove an error's traceback, cause and context.

    As long as a user keeps the error, these would keep the request, the response and the connection alive; and their
    texts contain unmasked data from the server. The error's own message says what they say.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _foreign(error: BaseException) -> str:
    """Return the text that shows that the server does not speak HTTP, "" if the error may have another cause."""
    for item in _chain(error):
        if isinstance(item, (http.client.LineTooLong, http.client.UnknownProtocol)):
            return str(item)
        if isinstance(item, http.client.BadStatusLine) and not isinstance(item, http.client.RemoteDisconnected):
            line = str(item)  # half a status line, or an empty one, is no more than a connection that is torn
            if line.endswith("\n") or line[:5] != "HTTP/"[: len(line)]:
                return line.strip()
    return ""


def body_error(error: BaseException) -> StreamError:
    """Return the error for a body that could not be read to its end."""
    if _caused_by(error, urllib3.exceptions.DecodeError):
        return ProtocolError("the body cannot be decompressed as its Content-Encoding says")
    if _caused_by(error, http.client.IncompleteRead, urllib3.exceptions.IncompleteRead):
        return TruncatedStreamError("the connection was closed before the reply was over", retryable=True)
    return BrokenStreamError(f"the connection failed in the middle of the reply: {_root(error)}", retryable=True)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Iterate an error and its origins: cause, context, urllib3's ``reason``, and errors among the arguments."""
    pending, seen = [error], set()
    while pending:
        current = pending.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        related = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        pending.extend(item for item in related if isinstance(item, BaseException))


_Error = TypeVar("_Error", bound=BaseException)


def _caused_by(error: BaseException, *classes: type[_Error]) -> _Error | None:
    """Return the first error of these classes among this one and its origins."""
    return next((item for item in _chain(error) if isinstance(item, classes)), None)


def _root(error: BaseException) -> str:
    """Return the text of the innermost error, which names the fault without the wrapping of libraries."""
    innermost = list(_chain(error))[-1]
    return str(innermost).strip() or type(innermost).__name__
