"""What every verb takes for a model: a result as well as what was loaded; and what none takes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from greenkit.compressing import (
    Plan,
    block_influence,
    blocks,
    distill,
    load_compressed,
    masks_of,
    matrices,
    prune,
    quantize,
    remove_blocks,
    remove_heads,
    remove_width,
    serve,
    size_of,
    student,
    to_2_4,
    to_low_bit,
)
from greenkit.compressing.calibration import default_calibration
from greenkit.inputs import LoadedModel, QualityTest, perplexity
from greenkit.inputs.generate import generate
from greenkit.metering import EnergyMeter

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VERBS: dict[str, Callable[..., Any]] = {
    "prune": lambda model, ids: prune(model, calibration=ids),
    "prune by magnitude": lambda model, ids: prune(model, "magnitude"),
    "quantize": lambda model, ids: quantize(model),
    "gptq": lambda model, ids: quantize(model, method="gptq", calibration=ids),
    "awq": lambda model, ids: quantize(model, method="awq", calibration=ids),
    "remove_blocks": lambda model, ids: remove_blocks(model, [1]),
    "remove_blocks by loss": lambda model, ids: remove_blocks(model, 1, by="loss", calibration=ids),
    "remove_heads": lambda model, ids: remove_heads(model, 0.5, calibration=ids),
    "remove_width": lambda model, ids: remove_width(model, 0.25, by="weights"),
    "block_influence": lambda model, ids: block_influence(model, ids),
    "student": lambda model, ids: student(model, blocks=2, calibration=ids),
    "to_low_bit": lambda model, ids: to_low_bit(model, kind="int8-weight"),
    "size_of": lambda model, ids: size_of(model),
    "matrices": lambda model, ids: matrices(model),
}
CHANGING = [verb for verb in VERBS if verb not in ("size_of", "matrices")]


class Words:
    """A tokenizer of letters: as much of one as loading, reading and writing need."""

    chat_template = None
    eos_token_id = 0

    def __call__(self, text: str, **_: Any) -> Any:
        ids = [1 + ord(letter) % 90 for letter in text]
        plain = "return_tensors" not in _
        return {"input_ids": ids if plain else torch.tensor([ids])}

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(map(str, ids.tolist()))


def loaded(model: Any) -> LoadedModel:
    place = torch.device("cpu")
    return LoadedModel(model, Words(), "tiny", True, "made here", place, torch.float32)


@pytest.fixture
def wide(make: Callable[..., Any]) -> Any:
    """A Llama whose matrices int8 kernels take."""
    return make("llama", hidden_size=64, intermediate_size=96, num_attention_heads=4)


@pytest.mark.parametrize("verb", VERBS)
def test_a_result_is_a_model(wide: Any, ids: Any, verb: str) -> None:
    result = prune(wide, "magnitude")
    of_module = VERBS[verb](result.model, ids)
    of_result = VERBS[verb](result, ids)
    if verb in CHANGING and hasattr(of_result, "model"):
        theirs, mine = of_module.model.state_dict(), of_result.model.state_dict()
        tensors = [name for name, one in theirs.items() if isinstance(one, torch.Tensor)]
        assert all(torch.equal(theirs[name], mine[name]) for name in tensors)
    else:
        assert of_result == of_module


def test_a_distilled_student_is_a_model(wide: Any, ids: Any) -> None:
    small = remove_blocks(wide, [1])
    taught = distill(wide, small, windows=ids, steps=2, batch=2)
    again = distill(taught, taught, windows=ids, steps=1, batch=2)
    rounded = quantize(prune(again, "magnitude"))
    methods = [step.method for step in rounded.history]
    assert methods == ["remove_blocks", "distill", "distill", "magnitude"]
    assert rounded.before == size_of(wide)
    assert size_of(taught) == size_of(taught.model)


def test_the_history_is_kept_printed_and_saved(wide: Any, ids: Any, tmp_path: Path) -> None:
    result = quantize(prune(remove_blocks(wide, [0]), "magnitude", 0.25), bits=4)
    assert [(step.method, step.settings.get("sparsity")) for step in result.history] == [
        ("remove_blocks", None),
        ("magnitude", 0.25),
    ]
    steps = "remove_blocks (blocks=2), then magnitude (sparsity=0.25), then quantize: 2"
    assert str(result).startswith(steps)
    assert result.before == size_of(wide)
    assert load_compressed(result.save(tmp_path), device="cpu") == result


def test_a_plain_result_has_no_history(wide: Any) -> None:
    result = prune(wide, "magnitude")
    assert result.history == ()
    assert str(result).startswith("magnitude: 50% zeros, 32.00 bits a weight")


def test_the_provenance_tells_all_steps(wide: Any) -> None:
    found = to_low_bit(quantize(prune(loaded(wide), "magnitude")), kind="int8-weight").loaded
    assert found is not None
    assert found.provenance.startswith("made here; compressed by magnitude (sparsity=0.5); ")
    assert "; compressed by quantize (method=rtn" in found.provenance
    assert found.provenance.endswith("; executed as int8-weight")


def test_results_write(wide: Any, ids: Any) -> None:
    dense = loaded(wide)
    pruned = prune(dense, "magnitude", 0.0)
    taught = distill(dense, pruned, windows=ids, steps=1, batch=2)
    expected = generate(dense, "Hello", new_tokens=3, exact=True)
    assert generate(pruned, "Hello", new_tokens=3, exact=True) == expected
    fast = to_low_bit(dense, kind="int8-weight")
    for result in (taught, fast):
        assert generate(result, "Hello", new_tokens=3, exact=True).new_tokens == 3


def test_a_result_of_a_bare_module_says_that_it_cannot_write(wide: Any) -> None:
    with pytest.raises(ValueError, match=r"bare torch module, which has no tokenizer"):
        generate(prune(wide, "magnitude"), "Hello")


@pytest.mark.parametrize("wrong", ["a name", None])
def test_what_has_no_tokenizer_does_not_write(wide: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="got a LlamaForCausalLM"):
        generate(wide, "Hello")
    with pytest.raises(ValueError, match="This takes a model with its tokenizer"):
        generate(wrong, "Hello")


def test_perplexity_names_the_module_that_it_takes(wide: Any) -> None:
    for holder in (loaded(wide), prune(wide, "magnitude")):
        with pytest.raises(ValueError, match=r"give \.model and \.tokenizer"):
            perplexity(holder, Words(), "some words " * 40)  # type: ignore[arg-type]


def test_results_are_judged_and_judge(wide: Any) -> None:
    pruned = prune(loaded(wide), "magnitude", 0.3)
    judge = QualityTest(pruned, "some words " * 40, windows=3, window_tokens=32)
    assert judge.of(pruned).ratio.value == 1.0
    assert judge.of(remove_blocks(pruned, [0])).ratio.value != 1.0
    with pytest.raises(ValueError, match="A model is what load_model gives"):
        judge.of("a name")
    with pytest.raises(ValueError, match=r"with its tokenizer, .* got a Llama"):
        QualityTest(wide, "some words " * 40)  # type: ignore[arg-type]


def test_a_result_is_calibrated_by_its_tokenizer(
    wide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenkit.compressing.calibration.load_text", lambda _: "words " * 2000)
    dense = loaded(wide)
    assert (
        default_calibration(prune(dense, "magnitude")).sha256 == default_calibration(dense).sha256
    )


def test_training_that_fills_zeros_says_so(wide: Any, ids: Any) -> None:
    pruned = prune(wide, "magnitude")
    filled = distill(wide, pruned, windows=ids, steps=1)
    assert filled.student.settings["zeros"]["before"] == pytest.approx(0.5)
    assert "zeros: 50% before, 0% after" in str(filled)
    assert "zeros: 50% before, 0% after" in str(filled.student)
    kept = distill(wide, pruned, windows=ids, steps=1, masks=masks_of(pruned), inplace=True)
    assert "before" not in str(kept)


def test_results_are_served(wide: Any, ids: Any) -> None:
    pruned = prune(wide, "magnitude")
    with EnergyMeter() as meter:
        found = serve({"it": pruned}, ids[:1], meter=meter, new_tokens=1, rounds=2)
    assert found.bytes == {"it": pruned.bytes}


@pytest.mark.parametrize("wrong", ["smollm2-135m", None, Words(), 3])
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_model_is_refused_in_one_sentence(ids: Any, verb: str, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"A model is what load_model gives, .*: got "):
        VERBS[verb](wrong, ids)


def test_no_model_is_served_or_taught(wide: Any, ids: Any) -> None:
    with EnergyMeter() as meter, pytest.raises(ValueError, match="got 'name'"):
        serve({"it": "name"}, ids[:1], meter=meter)  # type: ignore[dict-item]
    with EnergyMeter() as meter, pytest.raises(ValueError, match=r"by name, .* got a list"):
        serve([wide], ids[:1], meter=meter)  # type: ignore[arg-type]
    with EnergyMeter() as meter, pytest.raises(ValueError, match="page is a tensor of token ids"):
        serve({"it": wide}, "a page", meter=meter)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'name'"):
        distill(wide, "name", windows=ids, steps=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'name'"):
        distill("name", wide, windows=ids, steps=1)  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", CHANGING)
def test_a_weight_that_is_not_finite_is_named_by_every_verb(wide: Any, ids: Any, verb: str) -> None:
    with torch.no_grad():
        wide.model.layers[1].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or infinity"):
        VERBS[verb](wide, ids)


@pytest.mark.parametrize("place", ["teacher", "student"])
def test_training_refuses_weights_that_are_not_finite(wide: Any, ids: Any, place: str) -> None:
    broken = copy.deepcopy(wide)
    with torch.no_grad():
        broken.lm_head.weight[3, 0] = float("inf")
    models = {"teacher": wide, "student": wide, place: broken}
    with pytest.raises(ValueError, match=r"embed_tokens\.weight holds NaN or infinity"):
        distill(**models, windows=ids, steps=1)


def served(model: Any, ids: Any) -> None:
    with EnergyMeter() as meter:
        serve({"it": model}, ids[:1], meter=meter)


@pytest.mark.parametrize("verb", [*CHANGING, "serve", "distill"])
def test_weights_that_are_not_in_memory_are_refused(wide: Any, ids: Any, verb: str) -> None:
    block = blocks(wide)[1]
    block.mlp.up_proj.weight = torch.nn.Parameter(block.mlp.up_proj.weight.to("meta"))
    others = {
        "serve": served,
        "distill": lambda model, ids: distill(model, copy.deepcopy(model), windows=ids, steps=1),
    }
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight is not in memory"):
        {**VERBS, **others}[verb](wide, ids)


def test_2_4_takes_results_and_refuses_offloaded_weights(wide: Any, ids: Any) -> None:
    with pytest.raises(ValueError, match="NVIDIA GPUs only"):
        to_2_4(distill(wide, prune(wide, pattern="2:4", calibration=ids), windows=ids, steps=1))
    with pytest.raises(ValueError, match="got None"):
        to_2_4(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("through", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_results_and_plans_can_be_copied_and_pickled(
    wide: Any, ids: Any, through: Callable[[Any], Any], state: Any, same: Any
) -> None:
    rounded = quantize(loaded(wide), bits=4, activations="token")
    taught = distill(wide, remove_blocks(loaded(wide), [1]), windows=ids, steps=1)
    plan = Plan(steps=3, seconds=9.0)
    assert through(plan) == plan
    assert through(taught.charges) == taught.charges
    for result in (rounded, taught):
        again = through(result)
        assert again == result
        assert same(state(again.model), state(result.model))
        assert again.loaded.model is again.model
    assert through(rounded).packed.keys() == rounded.packed.keys()


def test_rounding_of_inputs_goes_with_its_step(wide: Any, ids: Any, tmp_path: Path) -> None:
    rounded = quantize(wide, activations="token")
    with pytest.raises(ValueError, match="quantize last, or again"):
        prune(rounded, "magnitude").save(tmp_path)
    again = quantize(rounded, bits=4)
    assert not any(module._forward_pre_hooks for module in again.model.modules())


def mixture() -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 97}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4}
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = transformers.MixtralConfig(**sizes, **heads, **ends, max_position_embeddings=64)
    return transformers.MixtralForCausalLM(config).eval()


def test_a_report_counts_weights_that_no_method_reaches(wide: Any, tmp_path: Path) -> None:
    class Gated(torch.nn.Module):
        def __init__(self, mlp: Any) -> None:
            super().__init__()
            self.mlp = mlp
            self.gates = torch.nn.Parameter(torch.ones(3, 64, 64))

        def forward(self, inputs: Any) -> Any:
            return self.mlp(inputs)

    blocks(wide)[0].mlp = Gated(blocks(wide)[0].mlp)
    result = prune(wide, "magnitude", 0.5)
    weights = [p for p in blocks(result.model).parameters() if p.ndim > 1]
    zeros = sum(int((p == 0).sum()) for p in weights) / sum(p.numel() for p in weights)
    assert result.sparsity == pytest.approx(zeros)
    assert result.unreached == pytest.approx(3 * 64 * 64 / sum(p.numel() for p in weights))
    assert f"{result.unreached:.0%} of the weights not reached" in str(result)


def test_bits_count_weights_that_are_not_reached() -> None:
    try:
        result = quantize(mixture(), bits=4)
    except ValueError as error:  # the better answer: nothing is done by half
        assert "expert" in str(error)  # noqa: PT017
        return
    share = result.unreached
    assert share > 0.5
    assert result.bits == pytest.approx(32 * share + (1 - share) * (4 + 32 / 64), rel=0.05)


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "sparsity as text": (lambda m: prune(m, sparsity="50%"), "sparsity must be .* got '50%'"),
    "sparsity true": (lambda m: prune(m, sparsity=True), "sparsity must be .* got True"),
    "sparsity nan": (lambda m: prune(m, sparsity=float("nan")), "sparsity must be .* got nan"),
    "pattern as a number": (lambda m: prune(m, pattern=24), "pattern names .* got 24"),
    "method as a list": (lambda m: prune(m, ["wanda"]), r"no pruning method \['wanda'\]"),
    "in place by a word": (lambda m: prune(m, "magnitude", inplace="no"), "inplace is True or"),
    "bits as text": (lambda m: quantize(m, bits="4"), "bits must be .* got '4'"),
    "bits as a fraction": (lambda m: quantize(m, bits=4.0), "bits must be .* got 4.0"),
    "bits true": (lambda m: quantize(m, bits=True), "bits must be .* got True"),
    "groups as text": (
        lambda m: quantize(m, granularity="group", group_size="32"),
        "group_size must be a whole number, got '32'",
    ),
    "symmetric by a word": (lambda m: quantize(m, symmetric="no"), "symmetric is True or False"),
    "granularity as a list": (lambda m: quantize(m, granularity=["group"]), "no granularity"),
    "activations true": (lambda m: quantize(m, activations=True), "per 'tensor' or 'token'"),
    "keep with numbers": (lambda m: quantize(m, keep=[1]), "keep is a sequence of names"),
    "keep as a number": (lambda m: quantize(m, keep=1), "keep is a sequence of names"),
    "blocks true": (lambda m: remove_blocks(m, True), "must be a whole number, got True"),
    "blocks as text": (lambda m: remove_blocks(m, "1"), "must be a whole number, got '1'"),
    "blocks as a fraction": (lambda m: remove_blocks(m, 1.0), "must be a whole number, got 1.0"),
    "block by name": (lambda m: remove_blocks(m, ["1"]), "must be a whole number, got '1'"),
    "chosen by luck": (lambda m: remove_blocks(m, 1, by="luck"), "influence, loss; got 'luck'"),
    "named and chosen": (lambda m: remove_blocks(m, [1], by="loss"), "give their number"),
    "heads as text": (lambda m: remove_heads(m, "25%"), "fraction must be .* got '25%'"),
    "width true": (lambda m: remove_width(m, True), "fraction must be .* got True"),
    "kind as a list": (lambda m: to_low_bit(m, kind=["int8"]), r"no kind \['int8'\]"),
    "low groups as text": (
        lambda m: to_low_bit(m, kind="int4-weight", group_size="64"),
        "group_size must be a whole number, got '64'",
    ),
    "student of text": (lambda m: student(m, blocks="2"), "blocks must be a whole number"),
    "steps as text": (lambda m: distill(None, m, steps="9", loss="cross_entropy"), "steps must be"),
    "rate as text": (
        lambda m: distill(None, m, learning_rate="1e-3", loss="cross_entropy"),
        "learning_rate must be above 0, got '1e-3'",
    ),
    "batch true": (lambda m: distill(None, m, batch=True, loss="cross_entropy"), "batch must be"),
    "temperature as text": (lambda m: distill(m, m, temperature="hot"), "temperature must be"),
}


@pytest.mark.parametrize("case", WRONG)
def test_arguments_of_another_kind_are_refused_before_any_work(
    wide: Any, case: str, state: Any, same: Any
) -> None:
    go, message = WRONG[case]
    before = state(wide)
    with pytest.raises(ValueError, match=message):
        go(wide)
    assert same(before, state(wide))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": 3}, "loss is one of"),
        ({"loss": {"soft": "much"}}, "soft must be a weight above 0, got 'much'"),
        ({"checkpoint": 7}, "path of a file: got 7"),
        ({"meter": 5}, "open EnergyMeter"),
        ({"masks": "these"}, "masks_of"),
        ({"inplace": 1}, "inplace is True or False"),
        ({"checkpoint_every": "often"}, "checkpoint_every must be a whole number"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"warmup": "1"}, "warmup must be a whole number"),
        ({"seconds": True}, "seconds must be above 0, got True"),
    ],
)
def test_distilling_refuses_arguments_of_another_kind(
    wide: Any, ids: Any, settings: dict[str, Any], message: str, state: Any, same: Any
) -> None:
    before = state(wide)
    with pytest.raises(ValueError, match=message):
        distill(wide, wide, windows=ids, **{"steps": 1, **settings})
    assert same(before, state(wide))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": "5"}, "seconds must be"),
        ({"new_tokens": 1.5}, "new_tokens must be a whole number"),
        ({"rounds": "2"}, "rounds must be a whole number"),
        ({"batch": True}, "batch must be a whole number"),
    ],
)
def test_serving_refuses_arguments_of_another_kind(
    wide: Any, ids: Any, settings: dict[str, Any], message: str
) -> None:
    with EnergyMeter() as meter, pytest.raises(ValueError, match=message):
        serve({"it": wide}, ids[:1], meter=meter, **settings)
