"""Providers are found by name: built-in ones, services of the table, and those of other packages."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import streamkit
from streamkit import Client, ConfigError, providers
from streamkit.providers import Provider, registry
from streamkit.providers.openai_chat.services import SERVICES
from streamkit.testing import Server, text_reply

ACME = """
import os
from streamkit.providers import OpenAI, Provider

class Acme(OpenAI):
    def __init__(self):
        super().__init__(base_url=os.environ["ACME_URL"], name="acme")

def made():
    return Acme()

def keyless():
    from streamkit import ConfigError
    raise ConfigError("acme needs a licence: set the environment variable ACME_LICENCE")

def failing():
    raise ZeroDivisionError("no luck")

def leaving():
    raise SystemExit("no licence")

class Halt(BaseException):
    pass

def halting():
    raise Halt("no luck")

class Empty(Provider):
    pass

class Silent(Provider):
    name = "acme"

nothing = 5
"""

# Modules that cannot be imported, by their names.
BROKEN = {
    "acme_leaving": "import sys; sys.exit('no licence')",
    "acme_closing": "raise GeneratorExit('no luck')",
    "acme_halting": "class Halt(BaseException): pass\nraise Halt('no luck')",
    "acme_interrupted": "raise KeyboardInterrupt",
}


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that puts a distribution on the path, as pip would."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in {"acme_streamkit": ACME, **BROKEN}.items():
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    def installed(entry_points: str, name: str = "acme") -> None:
        folder = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry_points}\n")
        importlib.invalidate_caches()

    return installed


class TestNames:
    def test_all_of_them(self) -> None:
        """The library's own and the services of the table have each their name, and no two the same."""
        assert [] == sorted(set(registry.BUILT_IN) & set(SERVICES))
        assert {*registry.BUILT_IN, *SERVICES} <= set(registry.names())
        assert sorted(registry.names()) == registry.names()

    @pytest.mark.parametrize("name", sorted({*registry.BUILT_IN, *SERVICES} - {"bedrock"}))
    def test_each_makes_its_provider(self, name: str) -> None:
        """Each name makes a provider that goes by it, without a key in the environment."""
        make = registry.factory(name)
        assert make is not None
        provider = make()
        assert isinstance(provider, Provider)
        assert name == provider.name

    def test_bedrock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Bedrock is made where its region is known."""
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        make = registry.factory("bedrock")
        assert make is not None
        assert "bedrock" == make().name

    def test_the_classes_are_exported(self) -> None:
        """Each of the library's own is to be had as `providers.Name`, and what is not says so."""
        for place in registry.BUILT_IN.values():
            module, _, kind = place.partition(":")
            found = getattr(providers, kind)
            assert found.__module__.startswith(f"streamkit.providers.{module}")
            assert kind in providers.__all__
        assert set(providers.__all__) <= set(dir(providers))
        with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
            providers.Nothing  # noqa: B018

    def test_unknown(self) -> None:
        """A name that nobody registered makes nothing."""
        assert (None, None) == (registry.factory("nobody"), registry.factory("demo"))

    def test_nothing_is_imported_before(self) -> None:
        """`import streamkit` loads no wire format; a provider loads what it needs and no other."""
        probe = (
            "import sys, streamkit; ours = lambda: {m for m in sys.modules if m.startswith('streamkit.providers.')};"
            "first = ours(); streamkit.providers.OpenAI('k'); print(*first); print(*ours())"
        )
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        command = [sys.executable, "-c", probe]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
        folders = {place.split(":")[0].split(".")[0] for place in registry.BUILT_IN.values()}
        first, later = ({name.split(".")[2] for name in line.split()} for line in run.stdout.splitlines())
        assert (set(), {"openai_chat"}) == (first & folders, later & folders)


class TestPackages:
    @pytest.mark.parametrize("value", ["acme_streamkit:Acme", "acme_streamkit:made"])
    def test_a_package_registers_a_provider(
        self, value: str, install: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A class or a function that an entry point names makes the provider, and it streams like any other."""
        install(f"acme = {value}")
        with Server(text_reply("Hello world"), text_reply("Again")) as server, Client() as client:
            monkeypatch.setenv("ACME_URL", server.url)
            assert "Hello world" == client.complete("acme/vendor/model-1", "Hi").text
            assert "Again" == client.complete("acme/vendor/model-1", "Hi").text
            assert ["vendor/model-1"] * 2 == [request.json()["model"] for request in server.requests]
        assert "acme" in registry.names()

    def test_in_a_process_of_its_own(self, install: Callable[..., None], tmp_path: Path) -> None:
        """It works for who only has the package installed: by the module's own function, without any import of it."""
        install("acme = acme_streamkit:Acme")
        program = "import streamkit; print(streamkit.complete('acme/m', 'Hi').text)"
        with Server(text_reply("Hello world")) as server:
            environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ACME_URL": server.url}
            command = [sys.executable, "-c", program]
            run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert ("Hello world\n", "", 0) == (run.stdout, run.stderr, run.returncode)

    def test_it_is_not_imported_for_others(self, install: Callable[..., None]) -> None:
        """A package's code is loaded when its name is used, not for another's nor for a list of all names."""
        install("acme = acme_streamkit:Acme")
        registry.names()
        registry.factory("openai")
        with pytest.raises(ConfigError, match=r"this client knows .*acme, .*openai"):
            Client().stream("nobody/m", "Hi")
        assert "acme_streamkit" not in sys.modules

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("no_such_module:Acme", "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
            ("acme_streamkit:Nothing", "cannot be loaded: AttributeError"),
            ("!!!", "cannot be loaded: AttributeError"),
            ("acme_streamkit:failing", "cannot be made: ZeroDivisionError: no luck"),
            ("acme_streamkit:nothing", "is no provider but a int"),
            ("builtins:dict", "is no provider but a dict"),
            ("acme_leaving:Acme", "cannot be loaded: SystemExit: no licence"),
            ("acme_closing:Acme", "cannot be loaded: GeneratorExit: no luck"),
            ("acme_halting:Acme", "cannot be loaded: Halt: no luck"),
            ("acme_streamkit:leaving", "cannot be made: SystemExit: no licence"),
            ("acme_streamkit:halting", "cannot be made: Halt: no luck"),
            ("acme_streamkit:Empty", "has no name: the attribute name of acme_streamkit.Empty is None"),
        ],
    )
    def test_a_broken_one(self, value: str, words: str, install: Callable[..., None]) -> None:
        """A provider that cannot be loaded or created is a `ConfigError` that names it and its package, on use."""
        install(f"acme = {value}")
        assert "acme" in registry.names()
        with pytest.raises(ConfigError, match=rf"the provider 'acme' of the package acme {words}"):
            Client().stream("acme/m", "Hi")
        with pytest.raises(ConfigError, match=rf"the provider 'acme' of the package acme {words}"):
            Client().models.list("acme")

    def test_one_that_interrupts(self, install: Callable[..., None]) -> None:
        """Ctrl-C while a package is loaded is the user's."""
        install("acme = acme_interrupted:Acme")
        with pytest.raises(KeyboardInterrupt):
            Client().stream("acme/m", "Hi")

    def test_one_that_returns_nothing(self, install: Callable[..., None]) -> None:
        """A provider whose methods are still to be written is named."""
        install("acme = acme_streamkit:Silent")
        with pytest.raises(
            ConfigError, match=r"^acme_streamkit\.Silent\.request\(\) returned NoneType, not an HttpRequest$"
        ):
            Client().stream("acme/m", "Hi")

    def test_its_own_complaint(self, install: Callable[..., None]) -> None:
        """A `ConfigError` of the package goes to the user as it is."""
        install("acme = acme_streamkit:keyless")
        with pytest.raises(ConfigError, match=r"^acme needs a licence: set the environment variable ACME_LICENCE$"):
            Client().stream("acme/m", "Hi")

    def test_two_packages_of_one_name(self, install: Callable[..., None]) -> None:
        """Two packages that register the same name are an error."""
        install("acme = acme_streamkit:Acme", "acme")
        install("acme = acme_streamkit:made", "acme-fork")
        with pytest.raises(ConfigError, match=r"several packages register a provider 'acme': .*acme, .*acme-fork"):
            Client().stream("acme/m", "Hi")

    def test_the_librarys_names_are_its_own(self, install: Callable[..., None]) -> None:
        """A package cannot put itself in the place of a provider of the library, and so get at its key."""
        install("openai = acme_streamkit:Acme\ngroq = acme_streamkit:Acme\ndemo = acme_streamkit:Acme")
        for name in ("openai", "groq"):
            make = registry.factory(name)
            assert make is not None
            assert type(make()).__module__.startswith("streamkit.")
        assert registry.factory("demo") is None
        assert streamkit.complete("demo/storyteller", "Hi", extra_body={"tokens_per_second": 0}).text

    def test_a_package_that_cannot_be_read(self, install: Callable[..., None]) -> None:
        """A file that is broken hides its own providers and nobody else's."""
        install("acme = acme_streamkit:Acme", "acme")
        install("this is not an entry point", "broken")
        assert "acme" in registry.names()
        assert registry.factory("acme") is not None
