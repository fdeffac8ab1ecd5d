"""Which parts of an address are hidden."""

from __future__ import annotations

import pytest

from streamkit.cli.addresses import secrets_in, shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/v1", "https://host/v1"),
        ("https://host/v1?key=secret&a=&flag#secret", "https://host/v1?key=***&a=***&***"),
        ("https://me:secret@host/@scope?k=a=b", "https://***@host/@scope?k=***"),
    ],
)
def test_a_url(url: str, expected: str) -> None:
    """Name, password, the values of the query and the fragment are hidden; the path is not."""
    assert expected == shown(url)


def test_what_is_secret() -> None:
    """A password and a value are secret as they stand and as they are meant."""
    assert {"pass%20word", "pass word", "a%2Fb", "a/b"} <= set(secrets_in("http://me:pass%20word@host/?key=a%2Fb"))
