"""The command line: each command reads its options, calls a function and prints the result."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings

import typer

from seqvae.cli import (
    arithmetic,
    augment,
    bench,
    compare,
    doctor,
    edit,
    evaluate,
    explore,
    export,
    fit_prior,
    generate,
    infill,
    inspect,
    lesson,
    neighbors,
    plot,
    prepare,
    probe,
    quality,
    rate,
    score,
    train,
)
from seqvae.cli.bounds import checks_numbers
from seqvae.cli.printing import escape_controls, write_what_can_be_written
from seqvae.cli.run_options import with_run_options
from seqvae.cli.terminal import progress_on_terminal
from seqvae.errors import UserError
from seqvae.utils.atomic_files import NO_ROOM
from seqvae.utils.malloc import missing_memory
from seqvae.utils.signals import Interrupted

LESS = (
    "ask for less at once (--samples, --examples, -n), where the command has it use --precision bf16, or "
    "compute with --device cpu"
)
app = typer.Typer(
    name="seqvae",
    help="Text VAEs whose code is used: train, measure, sample, interpolate and edit sentences.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    train,
    evaluate,
    compare,
    prepare,
    generate,
    export,
    edit,
    infill,
    neighbors,
    arithmetic,
    augment,
    score,
    quality,
    doctor,
    rate,
    probe,
    fit_prior,
    plot,
    explore,
    inspect,
    lesson,
    bench,
):
    for command in group.COMMANDS:
        made = with_run_options(checks_numbers(command))
        app.command(command.__name__.rstrip("_").replace("_", "-"))(made)


SPINS = 1000  # about 20 microseconds: by how much the slowest thread of an operation lags behind


def set_wait_policy() -> None:
    """Let threads that wait for each other spin shortly and then sleep, unless the user chose.

    To be called before torch loads. Threads that spin on are up to a fourth faster on a quiet machine, and
    several times slower beside other work, which they keep from its cores (`seqvae bench --threads`). Only
    GNU's OpenMP reads the second name.
    """
    names = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": str(SPINS)}
    if not names.keys() & os.environ.keys():
        os.environ.update(names)


def main(arguments: list[str] | None = None) -> None:
    """Run a command; a user's mistake prints one line and exits with 2, a bug keeps its traceback."""
    set_wait_policy()
    write_what_can_be_written()
    warnings.formatwarning = _format_warning
    try:
        with progress_on_terminal():
            code = app(arguments, standalone_mode=False)
    except SystemExit as end:  # typer raises it on a closed pipe: `seqvae sample ... | head`
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
    """One line for a deprecated name that the user wrote; file and line for all other warnings."""
    if issubclass(category, FutureWarning) and "is deprecated: use" in str(message):
        return f"seqvae: {message}\n"
    return f"{filename}:{lineno}: {category.__name__}: {message}\n"


def _report_error(error: Exception) -> int:
    """Print what went wrong and return the exit code."""
    if isinstance(error, UserError):
        print(f"seqvae: {escape_controls(str(error))}", file=sys.stderr)
        return 2
    if isinstance(error, Interrupted):
        print(f"seqvae: {error}", file=sys.stderr)
        return 128 + error.signal
    if isinstance(error, OSError) and error.errno in NO_ROOM:  # stdout is a file on a full disk
        where = f" for {error.filename}" if error.filename else ""
        print(f"seqvae: no space left{where}: make room, or write elsewhere", file=sys.stderr)
        return 2
    if missing := missing_memory(error):
        print(f"seqvae: {missing}: {LESS}", file=sys.stderr)
        return 2
    usage = getattr(error, "format_message", None)  # typer's own: an unknown option, a missing argument
    if usage is None:
        traceback.print_exception(error)
        return 1
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "seqvae"
    if message := usage():
        print(f"seqvae: {message} (`{command} --help` says more)", file=sys.stderr)
    return 2
