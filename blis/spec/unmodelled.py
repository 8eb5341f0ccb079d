"""Features of inference servers that blis doesn't model: refused by name, never ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blis.spec.words import Path

__all__ = ["split_unmodelled"]

_OFF = (None, False, 0, "", "none", "off")

_FEATURES: dict[str, tuple[tuple[str, ...], str]] = {
    "speculative decoding": (
        ("speculative_decoding", "speculative_config", "speculative_model", "num_speculative_tokens", "draft_model"),
        "remove it to model plain decoding",
    ),
    "disaggregated prefill": (
        (
            "disaggregated_prefill", "disaggregated", "disaggregation", "pd_disaggregation", "prefill", "decode",
            "prefill_pool", "decode_pool", "prefill_instances", "decode_instances", "kv_transfer_config", "role",
        ),
        "remove it to model instances that both prefill and decode",
    ),
    "pipeline parallelism": (
        ("pipeline_parallel", "pipeline_parallel_size", "pipeline_parallelism", "pp", "pp_size"),
        "remove it, and use tp for more GPUs per instance",
    ),
    "data parallelism": (
        ("data_parallel", "data_parallel_size", "data_parallelism", "dp", "dp_size"),
        "remove it, and use instances for more replicas",
    ),
    "expert parallelism": (
        ("expert_parallel", "expert_parallel_size", "expert_parallelism", "enable_expert_parallel", "ep", "ep_size"),
        "remove it, and use tp for more GPUs per instance",
    ),
    "context parallelism": (
        ("context_parallel", "context_parallel_size", "decode_context_parallel_size", "cp"),
        "remove it, and use tp for more GPUs per instance",
    ),
    "KV cache offloading": (
        (
            "kv_offload", "kv_offloading", "kv_connector", "cpu_offload_gb", "swap_space", "cpu_kv_blocks",
            "kv_cpu_blocks",
        ),
        "remove it to keep the KV cache in GPU memory",
    ),
    "KV cache quantisation": (("kv_cache_dtype",), "remove it to model a 16-bit KV cache"),
    "quantisation by a key of the deployment": (
        ("quantization", "quantisation"),
        "remove it, and give as model the path of a config.json with a quantization_config",
    ),
    "LoRA": (("lora", "lora_modules", "enable_lora", "max_loras"), "remove it to model the base model alone"),
    "autoscaling": (("autoscaling", "autoscaler", "min_instances", "max_instances"), "remove it, and use instances"),
}  # fmt: skip
_BY_KEY = {key: (feature, advice) for feature, (keys, advice) in _FEATURES.items() for key in keys}


def split_unmodelled(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    """Take the keys of features that aren't modelled out of a deployment and its pools.

    Return the rest, and a finding per key that switches such a feature on; one that says it is off (false, 0, none,
    or 1 for a degree of parallelism) is harmless.
    """
    rest, findings = _split(data, ())
    pools = rest.get("pools")
    if isinstance(pools, list | tuple):
        kept = []
        for index, pool in enumerate(pools):
            if isinstance(pool, Mapping):
                pool, found = _split(pool, ("pools", index))
                findings += found
            kept.append(pool)
        rest["pools"] = kept
    return rest, findings


def _split(data: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[tuple[Path, str]]]:
    rest = {key: value for key, value in data.items() if key not in _BY_KEY}
    findings = []
    for key, value in data.items():
        if key in _BY_KEY and not _is_off(key, value):
            feature, advice = _BY_KEY[key]
            findings.append(((*path, key), f"{feature} is not modelled yet; {advice}"))
    return rest, findings


def _is_off(key: str, value: Any) -> bool:
    if isinstance(value, Mapping | list | tuple):
        return not value
    single = "parallel" in _BY_KEY[key][0] and value == 1 and value is not True
    return value in _OFF or single or (key == "kv_cache_dtype" and value == "auto")
