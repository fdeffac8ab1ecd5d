"""The command ``streamkit``, also as ``python -m streamkit``.

click and rich come with an extra. They are imported only here, when the command runs, and never by
``import streamkit``.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]

_EXTRA = ("click", "rich")


def main() -> None:
    """Run the command line, and exit with its code: 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C."""
    try:
        from streamkit.cli.root import run

        code = run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('streamkit: the command line needs two more packages: pip install "streamkit[cli]"\n')
        code = 1
    except KeyboardInterrupt:  # before the commands could listen to it
        code = 130
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Another Ctrl-C, while the interpreter shuts down, ends it at once and without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    main()
