"""Make a tiny Llama of random weights with a tokenizer of its own: real work for a real server, text without meaning.

    python make_model.py FOLDER

needs the packages tokenizers and gguf. Writes what vLLM and transformers read (configuration and tokenizer, no weights:
vLLM makes dummy ones) and model.gguf for llama.cpp, which has weights. The same in every run.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

VOCABULARY = 4096
HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 256, 704, 4, 4, 2
CONTEXT = 8192
SPECIALS = ("<|end|>", "<|turn|>", "<|over|>")
"""End of a text, and what begins and ends a turn of a chat, with the ids 0, 1 and 2."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|turn|>' + message['role'] + '\n' + message['content'] + '<|over|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)
_CONSONANTS = "b c d f g h k l m n p r s t v w z br st th".split()
_VOWELS = "a e i o u ai ee ou".split()


def main() -> None:
    """Write all files."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train()
    tokenizer.save(str(folder / "tokenizer.json"))
    texts = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": SPECIALS[0],
        "pad_token": SPECIALS[0],
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
    }
    model = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    for name, values in (("tokenizer_config", texts), ("config", model)):
        (folder / f"{name}.json").write_text(json.dumps(values, indent=1))
    write_gguf(json.loads(tokenizer.to_str()), folder / "model.gguf")


def train() -> Any:
    """Return a byte-level tokenizer, trained on sentences of made-up words."""
    import numpy as np
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    generator = np.random.default_rng(1)
    syllables = np.array([consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS])
    words = np.array(["".join(generator.choice(syllables, size)) for size in generator.integers(1, 4, 8000)])
    sentences = [" ".join(line) + "." for line in generator.choice(words, (20000, 10))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    assert tokenizer.get_vocab_size() == VOCABULARY
    return tokenizer


def write_gguf(tokenizer: dict[str, Any], path: Path) -> None:
    """Write the model with random weights as llama.cpp reads it; ``tokenizer`` is the content of its JSON file."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    add_tokenizer(writer, tokenizer)
    add_weights(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: Any, tokenizer: dict[str, Any]) -> None:
    """Add tokens and merges."""
    import gguf

    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    special, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([special if token in SPECIALS else normal for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_weights(writer: Any) -> None:
    """Add random matrices."""
    import numpy as np

    generator = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        values = generator.standard_normal((rows, columns), np.float32) * 0.02
        writer.add_tensor(f"{name}.weight", values.astype(np.float16))

    def ones(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(HIDDEN, np.float32))

    narrow = HIDDEN // HEADS * KV_HEADS
    matrix("token_embd", VOCABULARY, HIDDEN)
    matrix("output", VOCABULARY, HIDDEN)
    ones("output_norm")
    for layer in range(LAYERS):
        ones(f"blk.{layer}.attn_norm")
        ones(f"blk.{layer}.ffn_norm")
        for name, rows, columns in (
            ("attn_q", HIDDEN, HIDDEN),
            ("attn_k", narrow, HIDDEN),
            ("attn_v", narrow, HIDDEN),
            ("attn_output", HIDDEN, HIDDEN),
            ("ffn_gate", INNER, HIDDEN),
            ("ffn_up", INNER, HIDDEN),
            ("ffn_down", HIDDEN, INNER),
        ):
            matrix(f"blk.{layer}.{name}", rows, columns)


if __name__ == "__main__":
    main()
