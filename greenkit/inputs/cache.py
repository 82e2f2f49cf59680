"""The cache folder: entries are written whole or not at all, by one process, and checked on use.

An entry is a folder of files with a PROVENANCE.json that holds their hashes and where they came
from. It is built in a scratch folder beside it and moved into place in one step, under a lock that
the system releases when its holder dies.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from greenkit.inputs.assets import AssetError

RECORD = "PROVENANCE.json"
LOCK_PATIENCE_S = 1800.0
DISK_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}


def cache_folder() -> Path:
    """The folder that holds all inputs: GREENKIT_CACHE, or the platform's own cache folder."""
    if moved := os.environ.get("GREENKIT_CACHE"):
        return Path(moved).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "greenkit"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/greenkit"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "greenkit"


def offline() -> bool:
    """Whether GREENKIT_OFFLINE forbids every use of the network."""
    return os.environ.get("GREENKIT_OFFLINE", "").strip().lower() not in {"", "0", "false", "no"}


def say(message: str) -> None:
    """Tell the person at the terminal what is being prepared; results never go this way."""
    print(message, file=sys.stderr, flush=True)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """The provenance record of an entry; empty if there is none that can be read."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def flaw(folder: Path, stamp: str) -> str | None:
    """What is wrong with an entry, in words, or None if it can be used as it is.

    A file whose size and time of change are those recorded at its last check is not hashed
    again; any other file is, so that a truncated or edited one is always noticed.
    """
    record = read_record(folder)
    if not record.get("files"):
        return "is not in the cache"
    if record.get("stamp") != stamp:
        return "is in the cache in another version"
    moved = False
    for name, known in record["files"].items():
        try:
            status = (folder / name).stat()
        except OSError:
            return f"lacks its file {name}"
        if (status.st_size, status.st_mtime_ns) == (known["bytes"], known["mtime_ns"]):
            continue
        if (found := sha256_of(folder / name)) != known["sha256"]:
            return f"was changed: {name} has sha256 {found}, expected {known['sha256']}"
        known["mtime_ns"] = status.st_mtime_ns
        moved = True
    if moved:
        with suppress(OSError):  # a read-only cache is hashed at each use instead
            _write_whole(folder / RECORD, json.dumps(record, indent=1))
    return None


def stored(
    entry: str, stamp: str, needs_bytes: int, build: Callable[[Path], Mapping[str, Any]]
) -> Path:
    """The folder of an entry such as "assets/wikipedia", built first if it is not there.

    `build` writes the files into the empty folder that it is given and returns facts for the
    record. `stamp` names the version wanted; `needs_bytes` is the room that building takes.
    Raises AssetError if the folder cannot be written, the disk is full or `build` fails.
    """
    folder = cache_folder() / entry
    if flaw(folder, stamp) is None:
        return folder
    with _explained(entry), _locked(entry):
        if (reason := flaw(folder, stamp)) is None:
            return folder
        if folder.exists():
            say(f"{entry} {reason}: preparing it again")
        with _scratch(entry) as scratch:
            _require_room(entry, needs_bytes)
            fresh = scratch / "fresh"
            fresh.mkdir()
            facts = build(fresh)
            _seal(fresh, stamp, facts)
            folder.parent.mkdir(parents=True, exist_ok=True)
            if folder.exists():
                folder.replace(scratch / "old")
            fresh.replace(folder)
    return folder


def _seal(folder: Path, stamp: str, facts: Mapping[str, Any]) -> None:
    """Flush an entry's files to the disk and write the record of them."""
    files = {}
    readable = folder.stat().st_mode & 0o666  # safetensors writes for its owner alone
    for path in sorted(folder.iterdir()):
        path.chmod(readable)
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        status = path.stat()
        files[path.name] = {
            "sha256": sha256_of(path),
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
        }
    written = datetime.now(UTC).isoformat(timespec="seconds")
    record = {**facts, "stamp": stamp, "written": written, "files": files}
    _write_whole(folder / RECORD, json.dumps(record, indent=1))


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _require_room(entry: str, needs_bytes: int) -> None:
    free = shutil.disk_usage(cache_folder()).free
    if free < needs_bytes:
        raise AssetError(
            f"{entry} needs {needs_bytes / 1e6:.0f} MB and the disk that holds {cache_folder()} "
            f"has {free / 1e6:.0f} MB free: free some, or set GREENKIT_CACHE to another folder."
        )


@contextmanager
def _locked(entry: str) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = cache_folder() / "locks" / f"{entry.replace('/', '-')}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        say(f"another process is preparing {entry}: waiting for it")
        try:
            lock.acquire(timeout=LOCK_PATIENCE_S)
        except Timeout:
            raise AssetError(
                f"Another process has been preparing {entry} for {LOCK_PATIENCE_S / 60:.0f} "
                f"minutes: end it (it holds {path}) and try again."
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _scratch(entry: str) -> Iterator[Path]:
    """A scratch folder on the cache's disk; what a killed process left there goes first."""
    room = cache_folder() / "scratch" / entry.replace("/", "-")
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True, exist_ok=True)
    try:
        yield Path(tempfile.mkdtemp(dir=room))
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _explained(entry: str) -> Iterator[None]:
    """Turn what the system says about a disk or a folder into what a person can do about it."""
    try:
        yield
    except OSError as error:
        folder = cache_folder()
        if error.errno in DISK_FULL:
            raise AssetError(
                f"The disk that holds {folder} is full: nothing of {entry} was kept; free some "
                "room, or set GREENKIT_CACHE to a folder on another disk."
            ) from None
        if error.errno is None:  # not the system's word but a library's
            raise
        raise AssetError(
            f"{entry} cannot be written to the cache folder {folder} ({error.strerror or error}): "
            "make it writable, or set GREENKIT_CACHE to a folder that is."
        ) from None
