"""Where the command line keeps conversations: a file of SQLite in the user's data folder."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamkit.cli.failures import advised, tell
from streamkit.concurrency.late_import import late_import
from streamkit.conversation.stores.store import Entry, Store
from streamkit.errors import ConfigError, StoreError, StreamkitError
from streamkit.tools.claims import Claim, Claims, ClaimState, MemoryClaims

if TYPE_CHECKING:
    from streamkit.conversation.turns import ConversationState
    from streamkit.values.chunks import ToolResult

__all__ = ["VARIABLE", "LateStore", "entries", "open_store", "store_file"]

#: The environment variable that names another folder.
VARIABLE = "STREAMKIT_DATA"

_FILE = "conversations.db"
_SECONDS = 2.0  # to wait for another process that writes; a save takes milliseconds
_NEEDS_EXTRA = 'keeping conversations needs {}: python -m pip install "streamkit[cli]"'


def store_file() -> Path:
    """Return where the conversations are kept, whether there are any or not.

    Raises:
        ConfigError: platformdirs is not installed.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if given:
        return Path(given).expanduser().absolute() / _FILE
    try:
        folder: Path = late_import("platformdirs").user_data_path("streamkit", appauthor=False)
    except ModuleNotFoundError:
        raise ConfigError(_NEEDS_EXTRA.format("platformdirs")) from None
    return folder / _FILE


def open_store(name: str = _FILE) -> Store:
    """Return the store, in a folder and a file that only the user can read.

    Args:
        name: of the file.

    Raises:
        ConfigError: a library is not installed.
        StoreError: the folder cannot be made.
    """
    path = store_file().with_name(name)
    try:
        late_import("sqlalchemy")
    except ModuleNotFoundError:
        raise ConfigError(_NEEDS_EXTRA.format("SQLAlchemy")) from None
    try:
        _make_private(path)
    except OSError as error:
        raise StoreError(f"no conversation can be kept in {path.parent}: {error.strerror or error}") from None
    store: Store = late_import("streamkit.conversation.stores.sql_store").SQLStore(path, timeout=_SECONDS)
    return store


def entries() -> Sequence[Entry]:
    """Return what is kept, the last changed first; no file is made for that.

    Raises:
        ConfigError: a library is not installed.
        StoreError: it cannot be read.
    """
    return open_store().list() if store_file().exists() else []


def _make_private(path: Path) -> None:
    """Make the folder of a file for its user alone, and take away what others may do with what is there.

    A folder that somebody named is left as it is: it may be there for others as well.
    """
    folder = path.parent
    if not folder.parent.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        if not os.environ.get(VARIABLE, "").strip():
            _close_to_others(folder)
    if path.exists():
        _close_to_others(path)


def _close_to_others(path: Path) -> None:
    if os.name == "nt":
        return
    found = path.stat()
    if found.st_uid == os.getuid() and found.st_mode & 0o077:
        path.chmod(stat.S_IMODE(found.st_mode) & 0o700)


class LateStore(Store):
    """The store of one conversation: opened while somebody types, and never a reason for the dialogue to end.

    What cannot be saved is told once, and saved with the next turn that can be.

    Owner of the fields: ``_opening`` is set before its thread starts, which alone sets ``_store`` and ``_error``; the
    others belong to the thread of the dialogue.

    Args:
        opens: opens the store.
    """

    def __init__(self, opens: Callable[[], Store] = open_store) -> None:
        self._opens = opens
        self._opening: threading.Thread | None = None
        self._store: Store | None = None
        self._error: StreamkitError | None = None
        self._unsaved: tuple[int, int] | None = None  # the version in the store, and the first turn it has otherwise
        self._told = False
        self._claims: Claims = MemoryClaims()

    @property
    def keeps(self) -> bool:
        """Whether all was saved so far; it does not wait."""
        return self._error is None and self._unsaved is None

    def begin(self) -> None:
        """Begin to open it, in a thread of its own."""
        if self._opening is None:
            self._opening = threading.Thread(target=self._open, name="streamkit-store")
            self._opening.start()

    def _open(self) -> None:
        try:
            self._store = self._opens()
        except StreamkitError as error:
            self._error = error

    def opened(self) -> Store:
        """Return the store itself.

        Raises:
            ConfigError: a library is not installed.
            StoreError: it cannot be opened.
        """
        self.begin()
        assert self._opening is not None
        self._opening.join()
        if self._error is not None:
            raise self._error
        assert self._store is not None
        return self._store

    def load(self, id: str) -> ConversationState | None:
        """See ``Store``."""
        state = self.opened().load(id)
        self._unsaved = None  # what could not be saved is gone with the load
        return state

    def save(self, state: ConversationState, *, expected: int, first_changed: int = 0) -> int:
        """See ``Store``. Where it cannot be saved, that is told, and a version returned as if it were."""
        version, first = (expected, first_changed) if self._unsaved is None else self._unsaved
        first = min(first, first_changed)
        try:
            saved = self.opened().save(state, expected=version, first_changed=first)
        except (StoreError, ConfigError) as error:
            self._unsaved = version, first
            if not self._told:
                self._told = True
                tell(f"this conversation is not kept: {advised(error)}")
            return expected + 1
        self._unsaved = None
        return saved

    def list(self, *, owner: str | None = None) -> Sequence[Entry]:
        """See ``Store``."""
        return self.opened().list(owner=owner)

    def delete(self, id: str) -> bool:
        """See ``Store``."""
        return self.opened().delete(id)

    def claims_of(self, id: str) -> Claims:
        """See ``Store``; what is not kept has its claims in memory."""
        return self.opened().claims_of(id) if self.keeps else self._claims

    def hold(self, id: str) -> bool:
        """See ``Claims``."""
        return self._claims.hold(id)

    def release(self, id: str) -> None:
        """See ``Claims``."""
        self._claims.release(id)

    def read(self, id: str) -> Mapping[str, Claim]:
        """See ``Claims``."""
        return self._claims.read(id)

    def move(
        self, id: str, call_id: str, expected: ClaimState, state: ClaimState, result: ToolResult | None = None
    ) -> bool:
        """See ``Claims``."""
        return self._claims.move(id, call_id, expected, state, result)

    def forget(self, id: str) -> None:
        """See ``Claims``."""
        self._claims.forget(id)

    def __repr__(self) -> str:
        return f"<LateStore, keeps: {self.keeps}>"
