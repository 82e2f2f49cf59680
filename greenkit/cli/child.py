"""A command as a child process, so that what it does can be metered."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import psutil

NOT_EXECUTABLE, NOT_FOUND, BY_SIGNAL = 126, 127, 128  # exit codes, as a shell gives them
# True: passed on to the child. False: a terminal sends it to the child itself.
SIGNALS = {"SIGINT": False, "SIGQUIT": False, "SIGTERM": True, "SIGHUP": True}


PR_SET_CHILD_SUBREAPER = 36


def run_command(command: Sequence[str]) -> tuple[int, list[str]]:
    """Run a command on our own stdin and stdout.

    Returns its exit code, or 128 + the signal's number, and the names of the processes that it
    leaves running (on Linux; elsewhere nobody can tell whose they were).
    """
    import psutil

    before = set(psutil.Process().children(recursive=True))
    with _parent_of_orphans():
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
        left = list(_running(before))
    return (code if code >= 0 else BY_SIGNAL - code), left


@contextmanager
def _parent_of_orphans() -> Iterator[None]:
    """On Linux, a process whose parent ends becomes a child of ours, and not of init."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        if prctl is not None:
            prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _running(before: set[psutil.Process]) -> Iterator[str]:
    """The names of our descendants that are alive and were not there before."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if process not in before and process.status() != psutil.STATUS_ZOMBIE:
                yield process.name()


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
