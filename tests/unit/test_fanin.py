"""What ``merge`` and ``first`` take; what they do with it is in the fault tests."""

from __future__ import annotations

from typing import Any

import pytest

import streamkit
from streamkit import ConfigError


@pytest.mark.parametrize("function", [streamkit.merge, streamkit.first])
class TestWhatIsNoStream:
    @pytest.mark.parametrize(("given", "kind"), [(["x"], "str"), ("x", "str"), ([None], "NoneType")])
    def test_in_a_list(self, function: Any, given: Any, kind: str) -> None:
        """Anything but a stream is refused, with what there ought to be."""
        with pytest.raises(ConfigError, match=rf"streams, as client\.stream\(\) returns them; item 0 is {kind}"):
            function(given)

    def test_no_list(self, function: Any) -> None:
        """So is what is no list, a stream among it: it could be iterated, but nothing of it is taken."""
        with pytest.raises(ConfigError, match="take a list of streams, not int"):
            function(5)
        with streamkit.stream("demo/storyteller", "Hi") as stream:
            with pytest.raises(ConfigError, match="take a list of streams, not Stream"):
                function(stream)
            assert next(stream)
