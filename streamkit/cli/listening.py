"""A socket that listens, for the commands that serve."""

from __future__ import annotations

import os
import socket

from streamkit.errors import ConfigError

__all__ = ["listen", "place_of"]

_ALL = ("0.0.0.0", "::", "")  # noqa: S104  # all of this machine's addresses


def listen(host: str, port: int, *, backlog: int = 128) -> socket.socket:
    """Return a socket that listens; ``::`` takes connections of IPv4 as well.

    Args:
        host: a name or an address.
        port: 0 for a free one.
        backlog: connections that wait to be accepted.

    Raises:
        ConfigError: it cannot.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        both = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=backlog, dualstack_ipv6=both)
    except socket.gaierror as error:
        raise ConfigError(f"cannot listen on {host}: {error.strerror}; check --host") from error
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {why}; give another one with --port, 0 for any"
        ) from error


def place_of(host: str, port: int, *, everywhere: str) -> str:
    """Return host and port as in a URL.

    Args:
        host: that is listened on.
        port: likewise.
        everywhere: the host to show where all of this machine's addresses are listened on.
    """
    shown = everywhere if host in _ALL else host
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
