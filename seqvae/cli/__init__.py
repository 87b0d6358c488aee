"""The command line: a command is read, call, print."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings

import typer

from seqvae.cli import (
    bench,
    edit,
    export,
    fit_prior,
    generate,
    inspect,
    lesson,
    plot,
    probe,
    quality,
    rate,
    score,
    train,
)
from seqvae.cli.bounds import checks_numbers
from seqvae.cli.printing import escape_controls, write_what_can_be_written
from seqvae.errors import UserError
from seqvae.utils.signals import Interrupted

app = typer.Typer(
    name="seqvae",
    help="Text VAEs whose code is used: train, measure, sample, interpolate and edit sentences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    train,
    generate,
    export,
    edit,
    score,
    quality,
    rate,
    probe,
    fit_prior,
    plot,
    inspect,
    lesson,
    bench,
):
    for command in group.COMMANDS:
        app.command(command.__name__.rstrip("_").replace("_", "-"))(checks_numbers(command))


def main(arguments: list[str] | None = None) -> None:
    """Run a command; a user's mistake is one line and exit code 2, a fault of ours keeps its traceback."""
    # before torch is loaded: threads that spin while they wait are slowed a hundredfold by other work beside
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    write_what_can_be_written()
    warnings.formatwarning = _format_warning
    try:
        code = app(arguments, standalone_mode=False)
    except SystemExit as end:  # with which typer answers a reader that left: `seqvae sample ... | head`
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        code = 0
    except (KeyboardInterrupt, typer.Abort):
        code = 128 + signal.SIGINT
    except Exception as error:
        code = _report_error(error)
    sys.exit(code or 0)


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """One line for what users did; a place in the code for all other warnings."""
    if issubclass(category, FutureWarning) and "is deprecated: use" in str(message):
        return f"seqvae: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _report_error(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, UserError):
        print(f"seqvae: {escape_controls(str(error))}", file=sys.stderr)
        return 2
    if isinstance(error, Interrupted):
        print(f"seqvae: {error}", file=sys.stderr)
        return 128 + error.signal
    if _is_out_of_memory(error):
        print(f"seqvae: out of memory ({_first_line(error)}): ask for less at once", file=sys.stderr)
        return 2
    usage = getattr(error, "format_message", None)  # typer's own: an unknown option, a missing argument
    if usage is None:
        traceback.print_exception(error)
        return 1
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "seqvae"
    if message := usage():
        print(f"seqvae: {message} (`{command} --help` tells more)", file=sys.stderr)
    return 2


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory was refused; torch says so in words where no class of errors says it."""
    words = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "Storage size calculation overflowed",
    )
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
