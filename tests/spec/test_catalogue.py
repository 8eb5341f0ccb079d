"""Names, aliases and a user's own config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blis.errors import BlisError
from blis.spec.catalogue import CoefficientRow, Gpu, ModelShape, coefficient_rows, gpu, gpu_names, model, model_names

LLAMA_CONFIG = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": True,
    "head_dim": 64,
    "rope_scaling": {"factor": 32.0},
}


def write(folder: Path, config: Any) -> str:
    path = folder / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return str(path)


def read(folder: Path, **changes: Any) -> ModelShape:
    config = {key: value for key, value in (LLAMA_CONFIG | changes).items() if value != "absent"}
    return model(write(folder, config))


def test_the_models_are_those_promised() -> None:
    assert model_names() == (
        "llama-2-7b", "llama-2-70b", "llama-3.1-8b", "llama-3.1-70b", "qwen2.5-7b", "qwen3-14b", "mistral-nemo",
        "mixtral-8x7b", "codellama-34b",
    )  # fmt: skip
    assert gpu_names() == ("H100", "A100-80", "L40S")


def test_llama_3_1_8b() -> None:
    assert model("llama-3.1-8b") == ModelShape(
        name="llama-3.1-8b", hidden=4096, layers=32, heads=32, kv_heads=8, head_dim=128, ffn=14336, vocab=128256,
        max_model_len=131072,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("meta-llama/llama-3.1-8b-instruct", "llama-3.1-8b"),
        ("Meta-Llama-3.1-8B", "llama-3.1-8b"),
        ("meta-llama/Llama-2-7b-hf", "llama-2-7b"),
        ("meta-llama/Llama-2-70b-hf", "llama-2-70b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.1-70b"),
        ("mistralai/Mixtral-8x7B-v0.1", "mixtral-8x7b"),
        ("mistralai/Mistral-Nemo-Instruct-2407", "mistral-nemo"),
        ("codellama/CodeLlama-34b-Instruct-hf", "codellama-34b"),
        ("Qwen/Qwen3-14B", "qwen3-14b"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b"),
    ],
)
def test_aliases(written: str, name: str) -> None:
    assert model(written).name == name


def test_heads_that_do_not_add_up_to_the_width() -> None:
    nemo = model("mistral-nemo")
    assert (nemo.hidden, nemo.heads, nemo.head_dim, nemo.query_width, nemo.kv_width) == (5120, 32, 128, 4096, 1024)
    assert nemo.attention_params == 5120 * (2 * 4096 + 2 * 1024)


def test_gpus() -> None:
    assert gpu("h100") == Gpu("H100", 989.5, 3.35, 0.45, 0.30, 80, 450, 1979)
    assert gpu("A100") == Gpu("A100-80", 312, 2.039, 0.38, 0.18, 80, 300)
    assert gpu("l40s") == Gpu("L40S", 362.05, 0.864, 0.32, 0.08, 48, 32, 1466)


def test_coefficient_rows() -> None:
    rows = coefficient_rows()
    assert [(row.model, row.hardware, row.tp, row.kv_blocks) for row in rows] == [
        ("llama-3.1-8b", "H100", 1, 29205),
        ("llama-3.1-8b", "H100", 2, 132139),
        ("llama-3.1-70b", "H100", 4, 128273),
        ("qwen2.5-7b", "H100", 1, 67659),
    ]
    assert rows[3] == CoefficientRow(
        "qwen2.5-7b",
        "H100",
        1,
        (5223.7601312008765, 2.4114266267351026, 5368.0632635001375),
        (1602.214225165806, 19.870256563814962, 452.93689651035174),
        67659,
    )


def test_unknown_names_suggest_and_list() -> None:
    with pytest.raises(
        BlisError, match=r"unknown model 'lama-3.1-8b' \(did you mean 'llama-3.1-8b'\?\); known: llama-2"
    ):
        model("lama-3.1-8b")
    with pytest.raises(BlisError, match=r"path of a Hugging Face config\.json"):
        model("")
    with pytest.raises(
        BlisError, match=r"unknown hardware 'H10' \(did you mean 'H100'\?\); known: H100, A100-80, L40S"
    ):
        gpu("H10")


def test_a_config_json(tmp_path: Path) -> None:
    folder = tmp_path / "llama-3.2-1b"
    folder.mkdir()
    shape = read(folder)
    assert shape == ModelShape(
        name="llama-3.2-1b", hidden=2048, layers=16, heads=32, kv_heads=8, head_dim=64, ffn=8192, vocab=128256,
        max_model_len=131072, tied_embeddings=True,
    )  # fmt: skip
    assert model(str(folder)) == shape
    assert model("llama-3.2-1b/config.json", tmp_path) == shape
    assert model("./llama-3.2-1b", tmp_path) == shape


def test_a_config_json_names_its_model_if_it_can(tmp_path: Path) -> None:
    assert read(tmp_path, _name_or_path="org/my-model").name == "my-model"
    (tmp_path / "tiny.json").write_text(json.dumps(LLAMA_CONFIG))
    assert model(str(tmp_path / "tiny.json")).name == "tiny"


def test_a_nested_language_model(tmp_path: Path) -> None:
    config = {"model_type": "mistral3", "vision_config": {"hidden_size": 1024}, "text_config": LLAMA_CONFIG}
    assert model(write(tmp_path, config)).hidden == 2048
    fp8 = config | {"quantization_config": {"quant_method": "fp8"}}
    assert model(write(tmp_path, fp8)).weight_bytes_per_param == 1.0


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    shape = read(tmp_path, num_experts=128, num_experts_per_tok=8, moe_intermediate_size=768, decoder_sparse_step=1)
    assert (shape.experts, shape.active_experts, shape.ffn) == (128, 8, 768)
    assert read(tmp_path, num_local_experts=8, num_experts_per_tok=2).ffn == 8192


def test_defaults_of_what_a_config_leaves_out(tmp_path: Path) -> None:
    shape = read(tmp_path, num_key_value_heads="absent", head_dim=None, tie_word_embeddings="absent")
    assert (shape.kv_heads, shape.head_dim, shape.tied_embeddings) == (32, 64, False)
    assert read(tmp_path, tie_word_embeddings="absent", model_type="gemma3_text").tied_embeddings


@pytest.mark.parametrize(
    ("quantization", "size"), [({"quant_method": "fp8"}, 1.0), ({"bits": 4}, 0.5), ({"bits": 8}, 1.0), (None, 2.0)]
)
def test_quantised_weights(tmp_path: Path, quantization: Any, size: float) -> None:
    assert read(tmp_path, quantization_config=quantization).weight_bytes_per_param == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": "absent"}, "missing num_hidden_layers, which the config.json"),
        ({"vocab_size": "absent", "intermediate_size": None}, "missing intermediate_size, vocab_size, which"),
        ({"hidden_size": "4096"}, "hidden_size is '4096'; a whole number >= 1 is needed"),
        ({"hidden_size": 0}, "hidden_size is 0; a whole number >= 1 is needed"),
        ({"num_hidden_layers": True}, "num_hidden_layers is true; a whole number >= 1 is needed"),
        ({"num_key_value_heads": 5}, "num_key_value_heads is 5; it must divide num_attention_heads, which is 32"),
        ({"hidden_size": 2050, "head_dim": None}, "hidden_size is 2050; without head_dim it must be a multiple"),
        ({"num_local_experts": 8}, "missing num_experts_per_tok"),
        ({"num_local_experts": 8, "num_experts_per_tok": 9}, "num_experts_per_tok is 9; there are 8 experts"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'; true or false is needed"),
        ({"quantization_config": {"quant_method": "aqlm"}}, "quantization_config is .*bits of 2, 3, 4 or 8"),
        ({"kv_lora_rank": 512}, "kv_lora_rank is 512: multi-head latent attention is not modelled yet"),
        ({"sliding_window": 4096}, "sliding_window is 4096: sliding-window attention is not modelled yet"),
        ({"n_shared_experts": 1}, "n_shared_experts is 1: shared experts are not modelled yet"),
        ({"interleave_moe_layer_step": 2}, "interleave_moe_layer_step is 2: a mixture of experts in some"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder is true: encoder-decoder models are not modelled yet"),
    ],
)
def test_configs_that_can_not_be_used(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BlisError, match=f"config.json: {message}"):
        read(tmp_path, **changes)


def test_windows_that_change_nothing_are_fine(tmp_path: Path) -> None:
    assert read(tmp_path, sliding_window=4096, use_sliding_window=False) == read(tmp_path, sliding_window=131072)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "not valid JSON"), ("[1]", "it must hold one JSON object"), ("[" * 100_000, "not valid JSON")],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BlisError, match=message):
        model(write(tmp_path, text))


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BlisError, match=r"missing\.json: can't read the model's configuration: No such file"):
        model("missing.json", tmp_path)
    with pytest.raises(BlisError, match=r"config\.json: can't read the model's configuration"):
        model(str(tmp_path))
