"""The command ``streamkit``, also ``python -m streamkit``.

The command line needs click and rich, from the extra ``cli``. ``import streamkit`` never imports them; this module does
when the command runs.
"""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]

_EXTRA = ("click", "rich")


def main() -> None:
    """Run the command line and exit with its code: 0, 1 after an error, 2 after wrong usage, 130 after Ctrl-C."""
    try:
        from streamkit.cli.root import run

        code = run()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write('streamkit: the command line needs click and rich: python -m pip install "streamkit[cli]"\n')
        code = 1
    except KeyboardInterrupt:  # before the commands install their own handling
        code = 130
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Let another Ctrl-C, during the interpreter's shutdown, end the process at once, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    main()
