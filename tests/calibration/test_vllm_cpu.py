"""Fits of a real vLLM, from the traces in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from blis.calibration.fit import fit
from blis.calibration.pace import pace
from blis.calibration.validate import error_figures, predictions
from blis.spec.deployment import deployment_from_dict
from blis.trace import Trace
from blis.trace.reuse import answers_come_back

FOLDER = Path(__file__).resolve().parents[2] / "traces" / "vllm-cpu"
SERVER = deployment_from_dict({"max_num_seqs": 16, "max_num_batched_tokens": 512})


def read(name: str) -> Trace:
    return Trace.read(FOLDER / name)


def test_two_blocks_predict_a_third() -> None:
    # A light load and a heavy one predict the one between them, as well as the machine's moods allow.
    model = fit([read("load40-3"), read("load100-3")], SERVER)
    assert model.on_time == pytest.approx(1.0, abs=0.01)
    assert model.async_scheduling is False
    assert 2000 < model.overhead.us < 8000
    third = read("load70-2")
    (errors,) = (error_figures(one) for one in predictions(model, {"third": third}).values())
    for metric in ("ttft_us", "e2e_us", "itl_us"):
        assert abs(errors[metric]["mean"]) < 0.2
    assert errors["e2e_us"]["pearson_r"] > 0.85
    assert 0.8 < pace(model, [third]) < 1.2


@pytest.mark.parametrize("name", ["load70-1", "sessions-1", "prefixes-2"])
def test_the_steps_seen_are_those_the_server_counted(name: str) -> None:
    trace = read(name)
    assert trace.metrics is not None
    counted = trace.metrics.values["steps_total"]
    assert fit([trace], SERVER).steps == counted[-1] - counted[0]


def test_chats_of_a_random_model_do_not_find_their_answers_in_the_cache() -> None:
    assert not answers_come_back(read("sessions-1"))
    assert answers_come_back(read("prefixes-1"))
