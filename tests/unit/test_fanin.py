"""Which arguments ``merge`` and ``first`` take; the fault tests test what they do."""

from __future__ import annotations

from typing import Any

import pytest

import streamkit
from streamkit import ConfigError


@pytest.mark.parametrize("function", [streamkit.merge, streamkit.first])
class TestWhatIsNoStream:
    @pytest.mark.parametrize(("given", "kind"), [(["x"], "str"), ("x", "str"), ([None], "NoneType")])
    def test_in_a_list(self, function: Any, given: Any, kind: str) -> None:
        """An item that is not a stream is rejected; the message names the expected type."""
        with pytest.raises(ConfigError, match=rf"streams, as client\.stream\(\) returns them; item 0 is {kind}"):
            function(given)

    def test_no_list(self, function: Any) -> None:
        """An argument that is not a list is rejected; a single stream too, and no chunk is taken from it."""
        with pytest.raises(ConfigError, match="take a list of streams, not int"):
            function(5)
        with streamkit.stream("demo/storyteller", "Hi") as stream:
            with pytest.raises(ConfigError, match="take a list of streams, not Stream"):
                function(stream)
            assert next(stream)
