"""The golden cases: what was served, how, and what must come out, for any engine that wants to be held to them.

A case is found by :func:`find`, its requests by :attr:`GoldenCase.requests`; an engine turns its outcome into one
:class:`Row` per request and hands them to :func:`differences`, which should find none.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from blis.request import ClientFacts, Request, Segment

__all__ = ["SKIP_REASON", "GoldenCase", "Row", "differences", "find", "root"]

SKIP_REASON = "BLIS_DATA isn't set to the folder that holds golden/: the golden cases can't be read"

DOUBLE_COUNT_US = 3357
"""What the reference of alpha_beta adds to the last step, which it counts twice: its overhead per token."""


@dataclass(frozen=True)
class Row:
    """What an engine found for one request; ``last_step_us`` is the duration of the step that gave its last token."""

    ttft_us: int
    e2e_us: int
    scheduling_delay_us: int
    itl_sum_us: int
    output_tokens: int
    last_step_us: int


@dataclass(frozen=True)
class GoldenCase:
    """One folder of a suite ("engine" or "alpha_beta") under one latency model."""

    suite: str
    name: str
    latency_model: str
    folder: Path

    def __str__(self) -> str:
        return f"{self.suite}-{self.name}-{self.latency_model}"

    @cached_property
    def config(self) -> dict[str, Any]:
        return self.read("config")

    @cached_property
    def results(self) -> dict[str, Any]:
        return self.read("results")

    def read(self, what: str) -> dict[str, Any]:
        suffix = "" if self.suite == "alpha_beta" else f"-{self.latency_model}"
        loaded: dict[str, Any] = json.loads((self.folder / f"{what}{suffix}.json").read_text())
        return loaded

    @cached_property
    def corrected(self) -> dict[int, dict[str, Any]] | None:
        """The right results, where the reference has behaviours of its own; None elsewhere."""
        model = self.latency_model.replace("alpha-beta", "alpha_beta")
        path = self.folder.parents[1] / "expected" / f"{self.name}-{model}.json"
        if not path.exists():
            return None
        return {row["request_id"]: row for row in json.loads(path.read_text())["requests"]}

    @property
    def original(self) -> dict[int, dict[str, Any]]:
        """What the reference itself computed."""
        return {row["request_id"]: row for row in self.results["requests"]}

    @property
    def rejected(self) -> list[int]:
        return sorted(self.results["rejected_request_ids"])

    @cached_property
    def forced(self) -> dict[int, int] | None:
        """The instance of each request in the cases whose routing had random ties; None elsewhere."""
        if not self.name.startswith(("g_", "h2_", "h3_")):
            return None
        return {row["request_id"]: int(row["instance"].removeprefix("instance_")) for row in self.results["requests"]}

    # ---- the deployment, under one set of names ----

    def setting(self, *names: str, default: Any = None) -> Any:
        return next((self.config[name] for name in names if name in self.config), default)

    @property
    def model(self) -> str:
        return str(self.config["model"])

    @property
    def gpu(self) -> str:
        return str(self.setting("gpu", "hardware"))

    @property
    def tp(self) -> int:
        return int(self.config["tp"])

    @property
    def instances(self) -> int:
        return int(self.config["num_instances"])

    @property
    def engine_settings(self) -> dict[str, Any]:
        """Settings of each instance, under the names that instance configurations use."""
        return {
            "total_kv_blocks": self.config["total_kv_blocks"],
            "block_size": self.setting("block_size_in_tokens", "block_size_tokens"),
            "max_num_seqs": self.setting("max_num_seqs", "max_num_running_reqs"),
            "max_num_batched_tokens": self.setting("max_num_batched_tokens", "max_num_scheduled_tokens"),
            "long_prefill_token_threshold": self.config["long_prefill_token_threshold"],
            "max_model_len": self.setting("max_model_len", default=0),
            "scheduler": self.config["scheduler"],
            "priority_policy": self.setting("priority_policy", default="by-class"),
            "preemption": self.setting("preemption_policy", default="fcfs"),
        }

    @property
    def gateway_settings(self) -> dict[str, Any]:
        """Admission and routing: policy, token bucket and latencies."""
        return {
            "admission": "token-bucket" if self.config["admission_policy"] == "token-bucket" else "always",
            "bucket_capacity": self.setting("token_bucket_capacity", default=0),
            "bucket_refill_rate": self.setting("token_bucket_refill_rate", default=0),
            "admission_latency_us": self.setting("admission_latency_us", default=0),
            "routing_latency_us": self.setting("routing_latency_us", default=0),
        }

    @property
    def alpha(self) -> tuple[float, ...] | None:
        return tuple(self.config["alpha_coeffs"]) if "alpha_coeffs" in self.config else None

    @property
    def beta(self) -> tuple[float, ...] | None:
        return tuple(self.config["beta_coeffs"]) if "beta_coeffs" in self.config else None

    # ---- the workload ----

    @property
    def requests(self) -> list[Request]:
        """The requests, new objects each time."""
        with (self.folder / "trace.csv").open(newline="") as file:
            return [self.request(row) for row in csv.DictReader(file)]

    def request(self, row: Mapping[str, str]) -> Request:
        prefix = 0
        if row["prefix_group"]:
            prefix = int(row.get("prefix_length") or self.config["prefix_len_tokens"])
        own = int(row["input_tokens"])
        segments: tuple[Segment, ...] = ((None, own),)
        if prefix:
            segments = ((row["prefix_group"], prefix), *segments)
        return Request(
            client=ClientFacts(
                row["client_id"], row["tenant_id"], row["slo_class"],
                prefix_group=row["prefix_group"], prefix_length=prefix,
            ),
            client_seq=int(row["request_id"]),
            arrival_us=int(row["arrival_time_us"]),
            input_tokens=own,
            prompt_tokens=prefix + own,
            segments=segments,
            output_tokens=int(row["output_tokens"]),
            deadline_us=int(row.get("deadline_us") or 0) or None,
            request_id=int(row["request_id"]),
        )  # fmt: skip


def root() -> Path | None:
    """The golden folder, or None if BLIS_DATA doesn't lead to one."""
    data = os.environ.get("BLIS_DATA")
    folder = Path(data) / "golden" if data else None
    return folder if folder is not None and folder.is_dir() else None


def find() -> list[GoldenCase]:
    """All cases under all their latency models; none without the data."""
    golden = root()
    if golden is None:
        return []
    cases = [
        GoldenCase("engine", path.parent.name, path.stem.removeprefix("config-"), path.parent)
        for path in sorted(golden.glob("engine/*/config-*.json"))
    ]
    cases += [
        GoldenCase("alpha_beta", path.parent.name, "alpha-beta", path.parent)
        for path in sorted(golden.glob("alpha_beta/*/config.json"))
    ]
    return cases


def differences(case: GoldenCase, rows: Mapping[int, Row], *, original: bool = False) -> list[str]:
    """Compare the completed requests with the right results, or with the reference's own where ``original``."""
    corrected = None if original else case.corrected
    wanted = case.original if corrected is None else corrected
    found = []
    if rows.keys() != wanted.keys():
        found.append(f"requests completed: {sorted(rows.keys() ^ wanted.keys())} on one side only")
    twice = case.suite == "alpha_beta" and corrected is None
    for request_id in sorted(rows.keys() & wanted.keys()):
        row, want = rows[request_id], wanted[request_id]
        again = row.last_step_us + DOUBLE_COUNT_US if twice else 0
        mean = (row.itl_sum_us + again) / max(row.output_tokens - 1, 1)
        for field, value in (
            ("ttft_us", row.ttft_us),
            ("e2e_us", row.e2e_us + again),
            ("scheduling_delay_us", row.scheduling_delay_us),
        ):
            if value != want[field]:
                found.append(f"request {request_id}: {field} {value}, not {want[field]}")
        if not math.isclose(mean, want["itl_mean_us"], rel_tol=1e-6, abs_tol=1e-9):
            found.append(f"request {request_id}: itl_mean_us {mean}, not {want['itl_mean_us']}")
    return found
