"""Sign requests for AWS with botocore.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html, read 2026-11-21.
"""

from __future__ import annotations

import hashlib
import os
import sys
from typing import Any

import attrs

from streamkit.concurrency.late_import import late_import
from streamkit.errors import ConfigError
from streamkit.providers.request.credentials import not_set_up
from streamkit.wire.http import HttpRequest
from streamkit.wire.secrets import Masked

__all__ = ["Signing", "botocore_of"]

_NEEDS_EXTRA = 'Amazon Bedrock needs botocore: python -m pip install "streamkit[bedrock]"'
# Where AWS's files are: the environment variable, and the path without it.
_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"), ("AWS_CONFIG_FILE", "~/.aws/config"))
_NO_CREDENTIALS = (
    "needs AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_BEARER_TOKEN_BEDROCK, or "
    "pass access_key= and secret_key="
)


def botocore_of(provider: str) -> Any:
    """Return botocore.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        for module in ("auth", "awsrequest", "credentials", "eventstream", "exceptions", "session"):
            late_import(f"botocore.{module}")
    except ImportError:
        raise ConfigError(f"{provider}: {_NEEDS_EXTRA}") from None
    return sys.modules["botocore"]


@attrs.frozen
class Signing:
    """How the requests of one provider are signed.

    Attributes:
        provider: its name, for errors.
        region: the AWS region that the signature is for.
        access_key, secret_key, session_token: credentials; ``None`` to have botocore find some.
        profile: of AWS's configuration files.
    """

    provider: str
    region: str
    access_key: Masked | None = None
    secret_key: Masked | None = None
    session_token: Masked | None = None
    profile: str | None = None

    def sign(self, request: HttpRequest) -> HttpRequest:
        """Return the request with a signature, which AWS takes for five minutes.

        Raises:
            ConfigError: there are no credentials, or AWS gives none.
        """
        botocore = botocore_of(self.provider)
        credentials = self._credentials(botocore)
        sent = botocore.awsrequest.AWSRequest(request.method, request.url, data=request.body)
        if request.body:
            sent.headers["Content-Type"] = "application/json"
        _signer(botocore)(credentials, "bedrock", self.region).add_auth(sent)
        signature = {name: Masked(value) for name, value in sent.headers.items()}
        secrets = tuple(Masked(value) for value in (credentials.secret_key, credentials.token) if value)
        return attrs.evolve(request, headers={**request.headers, **signature}, secrets=request.secrets + secrets)

    def _credentials(self, botocore: Any) -> Any:
        """Return credentials that do not change while a request is signed."""
        if self.access_key and self.secret_key:
            return botocore.credentials.Credentials(self.access_key, self.secret_key, self.session_token)
        try:
            found = _session(botocore, self.profile).get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise ConfigError(f"{self.provider} got no AWS credentials: {error}") from error
        if frozen is None:
            raise not_set_up(f"{self.provider} {_NO_CREDENTIALS}")
        # In an object of which nothing shows; the one that was found prints its fields.
        return botocore.credentials.Credentials(frozen.access_key, frozen.secret_key, frozen.token)


_last: tuple[tuple[object, ...], Any] | None = None


def _session(botocore: Any, profile: str | None) -> Any:
    """Return botocore's session, which keeps the credentials that it found and renews them.

    The last one is kept for as long as AWS's environment variables and files stay as they are: finding
    credentials may take botocore to the network. Not beyond a fork, as a session holds locks.
    """
    global _last
    key = (os.getpid(), profile, *map(_stamp, _FILES), _environment())
    last = _last
    if last is not None and last[0] == key:
        return last[1]
    session = botocore.session.Session(profile=profile)
    _last = (key, session)  # one step, as other threads may do the same
    return session


def _environment() -> str:
    """Return what changes with AWS's environment variables, and shows none of their values."""
    environment = sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))
    return hashlib.sha256(repr(environment).encode("utf-8", "surrogatepass")).hexdigest()


def _stamp(file: tuple[str, str]) -> tuple[int, ...] | None:
    """Return a value that changes when a file is rewritten, ``None`` if there is no file.

    Botocore renews credentials from the network, but not those from a file, and tools write credentials there that
    last an hour.
    """
    variable, usual = file
    try:
        status = os.stat(os.path.expanduser(os.path.expandvars(os.environ.get(variable) or usual)))
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino)


def _signer(botocore: Any) -> Any:
    class Signer(botocore.auth.SigV4Auth):  # type: ignore[misc]
        def canonical_request(self, request: Any) -> str:
            return _Unprinted(super().canonical_request(request))

    return Signer


class _Unprinted(str):
    """Text that botocore hashes and also writes into its log, with the session's token in it."""

    __slots__ = ()

    def __str__(self) -> str:
        return "***"

    __repr__ = __str__
