"""Fixtures of the tests with clients of the web: where they run, and the page of ``useChat``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.web.browser import Outcome, bundle, needs_browser, needs_clients, run_browser, run_node
from tests.redis_server import redis_server

__all__ = ["redis_server"]  # a fixture


@pytest.fixture(params=[pytest.param(run_node, marks=needs_clients), pytest.param(run_browser, marks=needs_browser)])
def run(request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """Each place where clients run: Node, and a browser."""
    place: Callable[..., Outcome] = request.param
    return place


@pytest.fixture(scope="session")
def chat_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of ``useChat``, in one file."""
    return bundle("chat_page.jsx", tmp_path_factory.mktemp("page"))
