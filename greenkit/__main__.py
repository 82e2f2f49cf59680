"""``python -m greenkit`` is the command line."""

from greenkit.cli import app

app(prog_name="greenkit")
