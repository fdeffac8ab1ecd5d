"""The group of commands; each error becomes one line and one exit code."""

from __future__ import annotations

import sys

import click
from click.shell_completion import CompletionItem

from streamkit.cli.failures import advised, tell
from streamkit.cli.output import Unwritable, discard
from streamkit.concurrency.late_import import late_import
from streamkit.errors import StreamkitError
from streamkit.version import __version__

__all__ = ["root", "run"]

_INTERRUPTED = 130  # as shells count it: 128 and the number of SIGINT
# The commands and what they do. A command is imported when it runs: all of them take three times as long as any one
# of them, and some need libraries that others do without.
_COMMANDS = {
    "batch": "Ask the same of each row of a file.",
    "chat": "Ask a model, once or in a dialogue.",
    "conversations": "List, show and delete what was said.",
    "demo": "Watch a story arrive; needs no key.",
    "doctor": "Say which providers answer, or how a stream arrives.",
    "ledger": "Prove the sums of the gateway, and export its charges.",
    "models": "List the models, with prices and capabilities.",
    "pack": "Check files of prompts, and show what is in them.",
    "record": "Write real traffic into a file for tests.",
    "serve": "Serve models to a team, with tokens and budgets.",
    "team": "Make and change teams, which share a balance.",
    "token": "Make, show, change and end tokens of the gateway.",
    "usage": "Show what was spent.",
    "web": "Talk to a model on a page in the browser.",
}
_MODULES = {"team": "teams", "token": "tokens"}  # of the commands whose module has another name
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _Root(click.Group):
    """A group that imports a command when it runs, and that Ctrl-C ends quietly.

    click would write an empty line to stderr, also if it is a file.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(late_import(f"streamkit.cli.{_MODULES.get(cmd_name, cmd_name)}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [CompletionItem(name, help=text) for name, text in _COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

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
  streamkit serve                                serve models to a team, with budgets
  streamkit token create ann --topup 5           give somebody a token of the gateway
  git diff | streamkit chat "Review this:"       ask about what is piped in
  streamkit batch in.csv -o out.csv -t "Translate: {{text}}"   ask about each row
  streamkit models --provider openai             see what there is to choose from
  streamkit doctor                               see who answers, and why not

\b
Keys come from the environment, such as OPENAI_API_KEY; OPENAI_BASE_URL goes to
another server. The models demo/storyteller and demo/assistant are always
there and need no key.

\b
Exit codes: 0, 1 for an error, 2 for bad usage, 130 after Ctrl-C; a dialogue, web,
serve and record --upstream, which Ctrl-C ends, exit with 0.
""",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def root(context: click.Context) -> None:
    """Stream replies of language models to the terminal or into a pipe."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


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
