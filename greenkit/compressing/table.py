"""Which verb works on which architecture: `python -m greenkit.compressing.table` prints all."""

from __future__ import annotations

from collections.abc import Sequence

from greenkit.compressing.architectures import names, small
from greenkit.compressing.verbs import abilities


def rows(architectures: Sequence[str] | None = None) -> list[tuple[str, str, str]]:
    """(architecture, verb, "yes" or the reason), by default of all that can be built small."""
    found = []
    for name in names() if architectures is None else architectures:
        try:
            model = small(name)
        except ValueError:
            continue
        found += [(name, verb, reason or "yes") for verb, reason in abilities(model).items()]
    return found


if __name__ == "__main__":
    for row in rows():
        print("\t".join(row))
