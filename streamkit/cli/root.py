"""The group of commands; each error becomes one line and one exit code."""

from __future__ import annotations

import sys

import click

from streamkit.cli.batch import batch
from streamkit.cli.chat import chat
from streamkit.cli.conversations import conversations
from streamkit.cli.demo import demo
from streamkit.cli.doctor import doctor
from streamkit.cli.failures import advised, tell
from streamkit.cli.models import models
from streamkit.cli.output import Unwritable, discard
from streamkit.cli.pack import pack
from streamkit.cli.record import record
from streamkit.cli.web import web
from streamkit.errors import StreamkitError
from streamkit.version import __version__

__all__ = ["root", "run"]

_INTERRUPTED = 130  # as shells count it: 128 and the number of SIGINT
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Root(click.Group):
    """A group that Ctrl-C ends quietly; click would write an empty line to stderr, also if it is a file."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # other than during an answer, or twice during one that cannot be written
            discard(sys.stdout)
            if sys.stderr is not None and sys.stderr.isatty():
                click.echo(err=True)  # after the ^C that the terminal has shown
            return _INTERRUPTED


@click.group(
    cls=_Root,
    invoke_without_command=True,
    context_settings=_SETTINGS,
    epilog="""\b
Examples:
  streamkit demo                                 see tokens come; needs no key
  streamkit chat -m openai/gpt-4o-mini "Hello"   ask once
  streamkit chat -m openai/gpt-4o-mini           talk; /exit ends it
  streamkit chat -c                              go on with the last conversation
  streamkit web                                  talk on a page in the browser
  git diff | streamkit chat "Review this:"       ask about what is piped in
  streamkit batch in.csv -o out.csv -t "Translate: {{text}}"   ask about each row
  streamkit models --provider openai             see what there is to choose from
  streamkit doctor                               see who answers, and why not

\b
Keys come from the environment, such as OPENAI_API_KEY; OPENAI_BASE_URL goes to
another server. The models demo/storyteller and demo/assistant are always
there and need no key.

\b
Exit codes: 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C; a dialogue, web
and record --upstream, which Ctrl-C ends, exit with 0.
""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Stream replies of language models to the terminal or into a pipe."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


root.add_command(demo)
root.add_command(chat)
root.add_command(batch)
root.add_command(conversations)
root.add_command(models)
root.add_command(doctor)
root.add_command(record)
root.add_command(pack)
root.add_command(web)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; ``None`` for those of the process.
    """
    try:
        # Not in click's standalone mode, which shows errors as several lines, or as a traceback.
        code = root.main(arguments, prog_name="streamkit", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "streamkit"
        tell(f"{error.format_message().rstrip('.')}; see {path} --help")
        return 2
    except click.Abort:  # Ctrl-C before a command had begun
        return _INTERRUPTED
    except StreamkitError as error:
        tell(advised(error))
        return 1
    except Unwritable as error:
        if not error.reader_left:
            tell(f"the answer could not be written: {error}")
        return 0 if error.reader_left else 1
    except OSError as error:  # for example, the help cannot be written, or no socket is left
        discard(sys.stdout)
        tell(error.strerror or str(error))
        return 1
    return code if isinstance(code, int) else 0
