"""The shape of a transformer model, read from the facts of a Hugging Face ``config.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blis.errors import BlisError
from blis.spec.words import listed, shown

__all__ = ["ModelShape", "shape_from_config"]

_ACTIVATION_BYTES = 2
_TIED_BY_DEFAULT = ("gemma",)
_NEEDED = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What capacity and step times depend on, of a decoder-only transformer with gated feed-forward layers.

    ``hidden`` h, ``layers`` L, ``heads`` A, ``kv_heads`` G, ``head_dim`` e (h / A unless the model says otherwise),
    ``ffn`` f: feed-forward width, of one expert in a mixture of experts; ``vocab`` tokens; ``max_model_len`` tokens of
    context; ``tied_embeddings`` whether input and output share one matrix; ``experts`` E in every layer (0: dense)
    and ``active_experts`` x per token; ``weight_bytes_per_param`` of the layers' matrices. The KV cache,
    activations, embeddings and norms take 2 bytes per number.
    """

    name: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    max_model_len: int
    tied_embeddings: bool = False
    experts: int = 0
    active_experts: int = 0
    weight_bytes_per_param: float = 2.0

    @property
    def activation_bytes(self) -> int:
        """Bytes of one number in an activation or in the KV cache."""
        return _ACTIVATION_BYTES

    @property
    def query_width(self) -> int:
        """Numbers in one token's queries: A*e, which is h in most models."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Numbers in one token's keys of one layer: k = G*e; its values take as many again."""
        return self.kv_heads * self.head_dim

    @property
    def attention_params(self) -> int:
        """Parameters of one layer's query, key, value and output matrices: h(2h + 2k) where A*e = h."""
        return self.hidden * (2 * self.query_width + 2 * self.kv_width)

    @property
    def expert_params(self) -> int:
        """Parameters of one layer's feed-forward network (of one expert): three h by f matrices."""
        return 3 * self.hidden * self.ffn


def shape_from_config(config: Mapping[str, Any], name: str, where: str) -> ModelShape:
    """Build a shape from the facts of a ``config.json``; a multimodal one's ``text_config`` is used.

    ``where`` starts each error text: the file, or the catalogue entry.

    Raises:
        BlisError: naming the missing or wrong key, or the feature that isn't modelled.
    """
    facts = _Facts(_language_part(config), where)
    facts.require(_NEEDED)
    _refuse(facts)
    heads = facts.whole("num_attention_heads")
    kv_heads = facts.whole("num_key_value_heads", default=heads)
    hidden = facts.whole("hidden_size")
    if heads % kv_heads:
        raise facts.wrong("num_key_value_heads", kv_heads, f"it must divide num_attention_heads, which is {heads}")
    if facts.get("head_dim") is None and hidden % heads:
        raise facts.wrong(
            "hidden_size", hidden, f"without head_dim it must be a multiple of num_attention_heads, {heads}"
        )
    experts = facts.whole("num_local_experts", "num_experts", "n_routed_experts", default=0)
    active = facts.whole("num_experts_per_tok") if experts else 0
    if active > experts:
        raise facts.wrong("num_experts_per_tok", active, f"there are {experts} experts")
    return ModelShape(
        name=name,
        hidden=hidden,
        layers=facts.whole("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=facts.whole("head_dim", default=hidden // heads),
        ffn=facts.whole("moe_intermediate_size", "intermediate_size") if experts else facts.whole("intermediate_size"),
        vocab=facts.whole("vocab_size"),
        max_model_len=facts.whole("max_position_embeddings"),
        tied_embeddings=_tied(facts),
        experts=experts,
        active_experts=active,
        weight_bytes_per_param=_weight_bytes(facts),
    )


class _Facts:
    """Typed access to a config's keys; every complaint names file and key."""

    def __init__(self, facts: Mapping[str, Any], where: str) -> None:
        self._facts = facts
        self._where = where

    def get(self, key: str) -> Any:
        return self._facts.get(key)

    def require(self, keys: Sequence[str]) -> None:
        """Raise unless all of ``keys`` are given."""
        missing = [key for key in keys if self._facts.get(key) is None]
        if missing:
            raise self.missing(missing)

    def whole(self, *keys: str, default: int | None = None) -> int:
        """The first of ``keys`` that is given and not null, a whole number >= 1."""
        for key in keys:
            value = self._facts.get(key)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise self.wrong(key, value, "a whole number >= 1 is needed")
            return value
        if default is None:
            raise self.missing(keys)
        return default

    def missing(self, keys: Sequence[str]) -> BlisError:
        return BlisError(
            f"{self._where}: missing {listed(keys)}, which the config.json of a decoder-only transformer has; add what "
            "is missing, or use a model of another architecture"
        )

    def wrong(self, key: str, value: object, need: str) -> BlisError:
        return BlisError(f"{self._where}: {key} is {shown(value)}; {need}")

    def refusal(self, key: str, what: str) -> BlisError:
        return BlisError(f"{self._where}: {key} is {shown(self.get(key))}: {what} not modelled yet; use another model")


def _language_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    nested = config.get("text_config")
    if not isinstance(nested, Mapping) or "hidden_size" in config:
        return config
    shared = ("quantization_config", "tie_word_embeddings")
    return {key: config[key] for key in shared if key in config} | dict(nested)


def _refuse(facts: _Facts) -> None:
    if facts.get("is_encoder_decoder"):
        raise facts.refusal("is_encoder_decoder", "encoder-decoder models are")
    if facts.get("kv_lora_rank"):
        raise facts.refusal("kv_lora_rank", "multi-head latent attention is")
    for key in ("shared_expert_intermediate_size", "n_shared_experts"):
        if facts.get(key):
            raise facts.refusal(key, "shared experts are")
    for key, harmless in (("interleave_moe_layer_step", 1), ("decoder_sparse_step", 1), ("first_k_dense_replace", 0)):
        if facts.get(key) not in (None, harmless):
            raise facts.refusal(key, "a mixture of experts in some of the layers only is")
    window, longest = facts.get("sliding_window"), facts.whole("max_position_embeddings")
    windowed = window is not None and facts.get("use_sliding_window") is not False
    if windowed and not (isinstance(window, int) and window >= longest):
        raise facts.refusal("sliding_window", "sliding-window attention is")


def _tied(facts: _Facts) -> bool:
    tied = facts.get("tie_word_embeddings")
    if tied is None:
        return str(facts.get("model_type")).startswith(_TIED_BY_DEFAULT)
    if not isinstance(tied, bool):
        raise facts.wrong("tie_word_embeddings", tied, "true or false is needed")
    return tied


def _weight_bytes(facts: _Facts) -> float:
    quantization = facts.get("quantization_config")
    if quantization is None:
        return float(_ACTIVATION_BYTES)
    if isinstance(quantization, Mapping):
        bits = quantization.get("bits")
        if isinstance(bits, int) and not isinstance(bits, bool) and bits in (2, 3, 4, 8):
            return bits / 8
        if quantization.get("quant_method") == "fp8":
            return 1.0
    raise facts.wrong("quantization_config", quantization, "blis reads quant_method fp8, or bits of 2, 3, 4 or 8")
