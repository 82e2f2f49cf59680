"""A command as a child process, so that what it does can be metered."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 126, 127, 128  # exit codes, as a shell gives them
# True: passed on to the child. False: a terminal sends it to the child itself.
SIGNALS = {"SIGINT": False, "SIGQUIT": False, "SIGTERM": True, "SIGHUP": True}


def run_command(command: Sequence[str]) -> int:
    """Run a command on our own stdin and stdout; its exit code, or 128 + the signal's number."""
    try:
        child = subprocess.Popen(command)
    except FileNotFoundError:
        typer.echo(f"greenkit: there is no command {command[0]!r}", err=True)
        raise typer.Exit(NOT_FOUND) from None
    except OSError as error:
        typer.echo(f"greenkit: {command[0]!r} cannot be run: {error.strerror}", err=True)
        raise typer.Exit(NOT_EXECUTABLE) from None
    with _signals_for(child):
        code = child.wait()
    return code if code >= 0 else BY_SIGNAL - code


@contextmanager
def _signals_for(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Outlive the signals that end the child, so that its energy is still reported."""
    known = {getattr(signal, name): on for name, on in SIGNALS.items() if hasattr(signal, name)}

    def receive(number: int, _frame: object) -> None:
        if known[number]:
            child.send_signal(number)

    before = {number: signal.signal(number, receive) for number in known}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
