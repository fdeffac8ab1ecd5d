"""A request that is sent again with its key gets the same reply, and is charged once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("sqlalchemy")

from streamkit.errors import RequestError
from streamkit.gateway.core import tables
from streamkit.gateway.core.database import GatewayDatabase
from streamkit.gateway.core.holders import Holder, Payer
from streamkit.gateway.core.ledger import Ledger
from streamkit.gateway.core.records import About, Settlement
from streamkit.gateway.core.replies import Kept, Replies, digest_of
from tests.unit.gateway_support import Clock, anywhere, clock, database, make_postgres, rows
from tests.unit.support import SOON

__all__ = ["anywhere", "clock", "database", "make_postgres"]  # fixtures

DIGEST = digest_of("/v1/chat/completions", b"{}")
HEADERS = {"content-type": "application/json", "x-request-id": "r1"}
PAYER = Payer("token:t", (Holder("token:t"),))
ABOUT = About("t", "", "demo/storyteller", "/v1/chat/completions")


@pytest.fixture
def replies(database: GatewayDatabase, clock: Clock) -> Replies:
    return Replies(database, clock=clock, most=1000)


@pytest.fixture
def ledger(database: GatewayDatabase, clock: Clock) -> Ledger:
    ledger = Ledger(database, clock=clock, lease_clock=clock)
    ledger.top_up("token:t", 10**9, id="first", by="ann")
    return ledger


def refused(replies: Replies, status: int, code: str, key: str = "k", digest: str = DIGEST) -> RequestError:
    with pytest.raises(RequestError) as caught:
        replies.begin("t", key, digest, "again")
    assert (status, code) == (caught.value.status, caught.value.code)
    return caught.value


def test_the_same_reply(anywhere: Callable[[], GatewayDatabase]) -> None:
    """Status, headers and body come back as they were, in another process too, for each token by itself."""
    replies, other = Replies(anywhere()), Replies(anywhere())
    assert replies.begin("t", "k", DIGEST, "r1") is None
    body = bytes(range(256))
    assert replies.finish("t", "k", "r1", 200, HEADERS, body)
    assert (
        Kept("r1", 200, HEADERS, body) == other.begin("t", "k", DIGEST, "r2") == replies.begin("t", "k", DIGEST, "r3")
    )
    assert other.begin("u", "k", DIGEST, "r4") is None
    assert other.begin("t", "K", DIGEST, "r5") is None
    assert "body" not in repr(Kept("r1", 200, HEADERS, b"a secret"))


def test_another_request_with_the_same_key(replies: Replies) -> None:
    """A key that was used for another request is refused, before and after the first one has its reply."""
    replies.begin("t", "k", DIGEST, "r1")
    other = digest_of("/v1/chat/completions", b"{} ")
    refused(replies, 422, "idempotency_key_reused", digest=other)
    replies.finish("t", "k", "r1", 200, HEADERS, b"{}")
    refused(replies, 422, "idempotency_key_reused", digest=other)
    assert digest_of("/v1/messages", b"{}") != DIGEST
    assert digest_of("/v1", b"/x\n") != digest_of("/v1/x", b"")


def test_while_the_first_one_runs(replies: Replies, ledger: Ledger, clock: Clock) -> None:
    """A repeat waits for the first request, from its beginning on until its reply is kept, however long that is."""
    replies.begin("t", "k", DIGEST, "r1")
    error = refused(replies, 409, "idempotency_key_in_use")
    assert "1" == error.headers["retry-after"]
    ledger.reserve(PAYER, "r1", 1000, about=ABOUT)
    clock.now += 3600
    refused(replies, 409, "idempotency_key_in_use")
    ledger.settle("r1", 10, outcome=Settlement())
    refused(replies, 409, "idempotency_key_in_use")  # its reply may be on its way into the table
    replies.finish("t", "k", "r1", 200, HEADERS, b"{}")
    assert replies.begin("t", "k", DIGEST, "r2") is not None


def test_a_request_that_was_refused(replies: Replies, ledger: Ledger) -> None:
    """What was charged nothing can be sent again with its key."""
    replies.begin("t", "k", DIGEST, "r1")
    replies.forget("t", "k", "r1")
    assert replies.begin("t", "k", DIGEST, "r2") is None
    ledger.reserve(PAYER, "r2", 1000, about=ABOUT)
    ledger.release("r2", outcome=Settlement(status=502))
    replies.forget("t", "k", "r2")
    assert replies.begin("t", "k", DIGEST, "r3") is None
    replies.forget("t", "k", "r2")  # late, and none of its business any more
    refused(replies, 409, "idempotency_key_in_use")


def test_a_reply_that_broke_off(replies: Replies, ledger: Ledger) -> None:
    """A reply that was charged and has no end is not charged again: the repeat is told so."""
    replies.begin("t", "k", DIGEST, "r1")
    ledger.reserve(PAYER, "r1", 1000, about=ABOUT)
    ledger.settle("r1", 7, outcome=Settlement(status=499))
    replies.forget("t", "k", "r1")
    error = refused(replies, 409, "idempotent_reply_lost")
    assert {"request_id": "r1"} == error.details
    assert "request r1" in error.message
    assert "false" == error.headers["x-should-retry"]
    refused(replies, 409, "idempotent_reply_lost")


def test_a_reply_that_is_too_large(replies: Replies, database: GatewayDatabase) -> None:
    """A reply over the bound is not kept, and a repeat is told that it was charged."""
    replies.begin("t", "k", DIGEST, "r1")
    assert not replies.finish("t", "k", "r1", 200, HEADERS, b"x" * 1001)
    assert "too large" in refused(replies, 409, "idempotent_reply_lost").message
    replies.begin("t", "fits", DIGEST, "r2")
    assert replies.finish("t", "fits", "r2", 200, HEADERS, b"x" * 1000)
    assert [None, b"x" * 1000] == [
        row["body"] for row in sorted(rows(database, tables.replies), key=lambda row: row["request_id"])
    ]


def test_a_process_that_died(replies: Replies, ledger: Ledger, clock: Clock) -> None:
    """After a crash a repeat is done if nothing was charged, and told so if something was."""
    for key, known in (("nothing", None), ("something", 5)):
        replies.begin("t", key, DIGEST, key)
        ledger.reserve(PAYER, key, 1000, about=ABOUT)
        if known:
            ledger.keep({key: known})
    clock.now += 60
    refused(replies, 409, "idempotency_key_in_use", "nothing")  # nobody has found out yet that it died
    assert 2 == len(ledger.recover())
    assert replies.begin("t", "nothing", DIGEST, "r2") is None
    refused(replies, 409, "idempotent_reply_lost", "something")


def test_a_process_that_died_before_it_reserved(replies: Replies, clock: Clock) -> None:
    """A request that never came to its reservation does not hold its key for long."""
    replies.begin("t", "k", DIGEST, "r1")
    clock.now += 59
    refused(replies, 409, "idempotency_key_in_use")
    clock.now += 1
    assert replies.begin("t", "k", DIGEST, "r2") is None
    assert not replies.finish("t", "k", "r1", 200, HEADERS, b"late")


def test_a_process_that_died_after_its_charge(replies: Replies, ledger: Ledger, clock: Clock) -> None:
    """A reply that was settled, and whose process died before it was kept, is not charged again."""
    replies.begin("t", "k", DIGEST, "r1")
    ledger.reserve(PAYER, "r1", 1000, about=ABOUT)
    ledger.settle("r1", 7, outcome=Settlement())
    clock.now += 30
    refused(replies, 409, "idempotent_reply_lost")


def test_a_day_later(replies: Replies, clock: Clock, database: GatewayDatabase) -> None:
    """A key is forgotten after 24 hours, also for another request, and its reply is deleted."""
    replies.begin("t", "k", DIGEST, "r1")
    replies.finish("t", "k", "r1", 200, HEADERS, b"{}")
    replies.begin("t", "old", DIGEST, "r2")
    clock.now += 24 * 3600 - 1
    assert replies.begin("t", "k", DIGEST, "r3") is not None
    clock.now += 1
    assert replies.begin("t", "k", "f" * 64, "r4") is None
    clock.now += 300
    replies.begin("t", "new", DIGEST, "r5")
    assert ["r4", "r5"] == sorted(row["request_id"] for row in rows(database, tables.replies))


@pytest.mark.parametrize("key", ["", " ", "a\n", "x" * 256, "\0", "ä", " a", "\ud800", None, 5])
def test_what_is_no_key(replies: Replies, key: Any, database: GatewayDatabase) -> None:
    """A key that no header can have, or that is endless, is a bad request."""
    with pytest.raises(RequestError) as caught:
        replies.begin("t", key, DIGEST, "r1")
    assert 400 == caught.value.status
    assert [] == rows(database, tables.replies)
    assert replies.begin("t", "x" * 255, DIGEST, "r2") is None


def test_a_commit_whose_answer_was_lost(replies: Replies) -> None:
    """A request that began, and was not told so, does not wait for itself."""
    assert replies.begin("t", "k", DIGEST, "r1") is None
    assert replies.begin("t", "k", DIGEST, "r1") is None


def test_many_at_once(anywhere: Callable[[], GatewayDatabase]) -> None:
    """Of many that send the same key at the same moment one is let through; later all get its reply."""
    all_replies = [Replies(anywhere()) for _ in range(4)] * 2
    for round_ in range(5):
        key, gate, done = f"k{round_}", threading.Barrier(8), list[str]()
        errors, told = list[str](), list[Kept]()

        def ask(
            replies: Replies,
            id: str,
            key: str = key,
            gate: threading.Barrier = gate,
            done: list[str] = done,
            told: list[Kept] = told,
            errors: list[str] = errors,
        ) -> None:
            gate.wait(SOON)
            try:
                kept = replies.begin("t", key, DIGEST, id)
            except RequestError as error:
                errors.append(error.code)
            else:
                if kept is not None:
                    told.append(kept)
                else:
                    done.append(id)
                    replies.finish("t", key, id, 200, {}, id.encode())

        threads = [threading.Thread(target=ask, args=(each, f"r{at}")) for at, each in enumerate(all_replies)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
        first = Kept(done[0], 200, {}, done[0].encode())
        assert 1 == len(done)
        assert 7 == len(errors) + len(told)
        assert set(errors) <= {"idempotency_key_in_use"}
        assert [first] * len(told) == told
        assert [first] * 8 == [each.begin("t", key, DIGEST, "later") for each in all_replies]
