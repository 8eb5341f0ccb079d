"""The models, GPUs and measured coefficients that blis knows by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from blis.errors import BlisError
from blis.spec.located import load_yaml
from blis.spec.shape import ModelShape, shape_from_config
from blis.spec.words import did_you_mean, listed

__all__ = [
    "CoefficientRow",
    "Gpu",
    "ModelShape",
    "coefficient_rows",
    "gpu",
    "gpu_names",
    "model",
    "model_names",
    "physics_coefficients",
]

_DATA = Path(__file__).with_name("data")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU.

    Peak rates are TFLOP/s of dense matrix products (``peak_fp8_tflops`` is None without FP8 units), bandwidth is
    TB/s, memory GiB; ``mfu_prefill`` and ``mfu_decode`` are the shares of the peak that the two phases reach;
    ``link_gbs`` is GB/s that the GPU sends to the others of its instance while it receives as much.
    """

    name: str
    peak_tflops: float
    bandwidth_tbs: float
    mfu_prefill: float
    mfu_decode: float
    memory_gib: float
    link_gbs: float
    peak_fp8_tflops: float | None = None

    def peak_for(self, shape: ModelShape) -> float:
        """Peak TFLOP/s for a model's weights: the FP8 rate for weights of one byte, where the GPU has it."""
        if shape.weight_bytes_per_param == 1.0 and self.peak_fp8_tflops is not None:
            return self.peak_fp8_tflops
        return self.peak_tflops


@dataclass(frozen=True, slots=True)
class CoefficientRow:
    """Alpha/beta coefficients measured for a model (its catalogue name), hardware and tensor parallelism.

    ``kv_blocks`` is the capacity of the server they were measured on, in blocks of 16 tokens.
    """

    model: str
    hardware: str
    tp: int
    alpha: tuple[float, float, float]
    beta: tuple[float, float, float]
    kv_blocks: int


def model(name: str, base_dir: Path | None = None) -> ModelShape:
    """Return the shape of a catalogue model, or of the model whose ``config.json`` is at the path ``name``.

    Names match in any letter case and with an organisation in front. A path ends in ``.json`` or is a directory that
    holds a ``config.json``; a relative one starts at ``base_dir`` (default: the current directory).

    Raises:
        BlisError: unknown name, or a configuration that can't be used.

    >>> model("meta-llama/Llama-3.1-8B-Instruct").name
    'llama-3.1-8b'
    """
    known = _models()
    found = known.get(name.lower()) or known.get(name.lower().rpartition("/")[2])
    if found is not None:
        return found
    path = Path(base_dir or ".") / name
    if name.lower().endswith(".json"):
        return _from_file(path)
    if name and path.is_dir():
        return _from_file(path / "config.json")
    raise BlisError(
        f"unknown model {name!r}{did_you_mean(name, known)}; known: {listed(model_names())}; "
        "or give the path of a Hugging Face config.json"
    )


def gpu(name: str) -> Gpu:
    """Return a GPU by name, in any letter case.

    Raises:
        BlisError: unknown name.
    """
    found = _gpus().get(name.lower())
    if found is None:
        raise BlisError(f"unknown hardware {name!r}{did_you_mean(name, gpu_names())}; known: {listed(gpu_names())}")
    return found


def model_names() -> tuple[str, ...]:
    """The catalogue's models, without aliases."""
    return tuple(dict.fromkeys(shape.name for shape in _models().values()))


def gpu_names() -> tuple[str, ...]:
    """The catalogue's GPUs, without aliases."""
    return tuple(dict.fromkeys(each.name for each in _gpus().values()))


@cache
def coefficient_rows() -> tuple[CoefficientRow, ...]:
    """The measured alpha/beta coefficients."""
    return tuple(
        CoefficientRow(
            model=model(row["model"]).name,
            hardware=gpu(row["hardware"]).name,
            tp=row["tp"],
            alpha=tuple(row["alpha"]),
            beta=tuple(row["beta"]),
            kv_blocks=row["kv_blocks"],
        )
        for row in _data("coefficients.yaml")
    )


@cache
def physics_coefficients() -> Mapping[str, float]:
    """The coefficients of the physics model that come with blis, by name."""
    coefficients: Mapping[str, float] = _data("physics.yaml")["physics"]
    return coefficients


@cache
def _models() -> dict[str, ModelShape]:
    names: dict[str, ModelShape] = {}
    for name, facts in _data("models.yaml").items():
        shape = shape_from_config(facts, name, f"models.yaml: {name}")
        names |= {each.lower(): shape for each in (name, *facts.get("aliases", ()))}
    return names


@cache
def _gpus() -> dict[str, Gpu]:
    names: dict[str, Gpu] = {}
    for name, facts in _data("gpus.yaml").items():
        aliases = facts.pop("aliases", ())
        names |= dict.fromkeys((each.lower() for each in (name, *aliases)), Gpu(name=name, **facts))
    return names


def _data(file: str) -> Any:
    return load_yaml((_DATA / file).read_text(encoding="utf-8"), file)[0]


def _from_file(path: Path) -> ModelShape:
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise BlisError(f"{path}: can't read the model's configuration: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BlisError(f"{path}: not valid JSON: {error}") from None
    if not isinstance(config, Mapping):
        raise BlisError(f"{path}: not a config.json: it must hold one JSON object")
    given = str(config.get("_name_or_path") or "").rstrip("/").rpartition("/")[2]
    name = given or (path.parent.name if path.name == "config.json" else path.stem) or "config"
    return shape_from_config(config, name, str(path))
