"""Read and validate base URLs."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from streamkit.errors import ConfigError
from streamkit.providers.request.credentials import hidden
from streamkit.wire.secrets import Masked, WrongType, without_userinfo

__all__ = ["address_of", "base_url_of", "is_openai", "shown_url"]


# What stands in the place of a port and is none: of a password without its @, or of a key.
_NO_PORT = re.compile(r"^(\s*(?:[a-zA-Z][\w+.-]*://)?(?:\[[^\]/]*\]|[^/:\[]*)):(?!//|\d{0,5}(?:/|$))[^/]*")


def address_of(base_url: Masked | None, variable: str, default: str) -> str:
    """Return the base URL that was passed, or else the environment's, or the default; see ``base_url_of``."""
    if not base_url and (given := hidden(os.environ.get(variable))):
        return base_url_of(given, variable)
    return base_url_of(base_url or default)


def base_url_of(url: str, source: str = "base_url") -> str:
    """Return a base URL without its last slash and without blanks around it.

    Args:
        url: ``Masked`` where somebody passed it, or it would show among the locals of a traceback: by mistake there
            may be a password or a key in it.
        source: the argument or the variable that it comes from, for errors.

    Raises:
        ConfigError: it is not an absolute http or https URL, or has more than scheme, host and path.
    """
    url = hidden(url) or Masked()
    if isinstance(url, WrongType) or not re.match(r"\s*https?://[^/\s]+", url) or not _has_valid_port(url):
        raise ConfigError(f"{source} is an absolute http or https URL such as https://host/v1, not {_shown(url)}")
    url = Masked(url.strip())
    if "@" in urlsplit(url).netloc:
        raise ConfigError(
            f"{source} takes no user name and password, as in {shown_url(url)}: the key goes in api_key= or in a "
            "variable of its own"
        )
    if "?" in url or "#" in url:
        raise ConfigError(f"{source} takes no query and no fragment, as in {shown_url(url)}: paths are added to it")
    if not re.fullmatch(r"[^\s\x00-\x1f\x7f]+", url):
        raise ConfigError(f"{source} holds a blank or a control character: {shown_url(url)}")
    return url.rstrip("/")


def shown_url(url: str) -> str:
    """Return what an error may show of a URL: the parts that may hold a secret are left out."""
    text = re.sub(r"[?#].*", "***", without_userinfo(url), flags=re.DOTALL)
    return repr(str(_NO_PORT.sub(r"\1:***", text)))


def _shown(url: Masked) -> str:
    """Return what an error may show of what is no URL; without a scheme it may be a key in the wrong place."""
    if isinstance(url, WrongType):
        return str(url)
    return shown_url(url) if "://" in url else "text without a scheme"


def is_openai(base_url: str) -> bool:
    """Return whether a base URL is OpenAI's own, of whichever region."""
    return f".{urlsplit(base_url).hostname}".endswith(".api.openai.com")


def _has_valid_port(url: str) -> bool:
    try:
        urlsplit(url.strip()).port  # noqa: B018 - looking at it is what checks it
    except ValueError:
        return False
    return True
