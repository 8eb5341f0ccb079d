"""A plain simulator of a vLLM-like cluster, sequence by sequence and step by step: what the fast engine is held to.

It is written from the engine rules alone, shares no code with the engine under test, and prefers the obvious over the
quick. Blocks are objects, the free list is a list in order, every token's content is spelled out, and every sequence
is visited in every step.
"""

from __future__ import annotations

from oracle.cluster import run
from oracle.config import Config, Gpu, Shape
from oracle.engine import Instance, Sequence, Switches
from oracle.kv import Block, Cache, Names
from oracle.latency import AlphaBeta, FromSums, Roofline, TrainedPhysics, Work, sums
from oracle.results import InstanceResult, RequestResult, Result, StepRecord

__all__ = [
    "AlphaBeta",
    "Block",
    "Cache",
    "Config",
    "FromSums",
    "Gpu",
    "Instance",
    "InstanceResult",
    "Names",
    "RequestResult",
    "Result",
    "Roofline",
    "Sequence",
    "Shape",
    "StepRecord",
    "Switches",
    "TrainedPhysics",
    "Work",
    "run",
    "sums",
]
