"""The command line: a command is read, call, print."""

from __future__ import annotations

import os
import signal
import sys
import traceback

import typer

from seqvae.cli import look, training, use
from seqvae.registry import UserError

app = typer.Typer(
    name="seqvae",
    help="Text VAEs whose code is used: train, measure, sample, interpolate and edit sentences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (training, use, look):
    for command in group.COMMANDS:
        app.command(command.__name__.rstrip("_").replace("_", "-"))(command)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; a user's mistake is one line and exit code 2, a fault of ours keeps its traceback."""
    try:
        app(arguments)
    except UserError as error:
        print(f"seqvae: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `seqvae sample ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        number = getattr(error, "signal", None)
        if number is None:
            traceback.print_exc()
            sys.exit(1)
        print(f"seqvae: {error}", file=sys.stderr)
        sys.exit(128 + number)
