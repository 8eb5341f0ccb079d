"""How well the physics model predicts vLLM on H100s, and its predictions for what isn't published here.

Usage: BLIS_DATA=FOLDER python benchmarks/h100/bench.py [--spread FACTOR] [--dry-run] [--update-defaults]

FOLDER holds h100/ with measured.json and predict_inputs.json. Coefficients are fitted to measured.json alone. Prints
the errors of the fit, of leaving out one experiment and one model at a time, and of a formula without a simulator;
writes predictions.json and physics.yaml beside this file, and the tables into docs/explanation/accuracy.md. Takes
some five minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from fitting import SEEDS, Fitter, Predictions, leave_out, loosened, predict
from formula import Formula
from measurements import LATENCIES, QUANTILES, Cell, Experiment, read
from tables import cell_table, coefficient_table, markdown, summary_table, text

from blis.calibration.moments import MomentFit
from blis.spec.catalogue import physics_coefficients

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PREDICTIONS = HERE / "predictions.json"
COEFFICIENTS = HERE / "physics.yaml"
DEFAULTS = ROOT / "blis" / "spec" / "data" / "physics.yaml"
PAGE = ROOT / "docs" / "explanation" / "accuracy.md"


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--spread", type=float, default=1.0, metavar="FACTOR", help="widen the priors (implies --dry-run)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the tables and write nothing")
    parser.add_argument(
        "--update-defaults", action="store_true", help="make the fit the coefficients that come with blis"
    )
    return parser.parse_args()


def main() -> int:
    """Fit, print, write."""
    options = arguments()
    data = Path(os.environ.get("BLIS_DATA", ""))
    if not (data / "h100" / "measured.json").is_file():
        print("set BLIS_DATA to the folder that holds h100/measured.json and h100/predict_inputs.json", file=sys.stderr)
        return 2
    experiments, cells, counting = read(data, "measured.json")
    with ProcessPoolExecutor() as executor:
        fitter, fit = Fitter.prepare(experiments, counting, executor, loosened(options.spread))
        say("Coefficients", text(coefficient_table(fit)))
        ways = evaluate(fitter, fit, experiments, counting)
        tables = {
            "summary": summary_table(experiments, ways),
            "left-out": cell_table(experiments, ways["blis, model left out"]),
            "overloaded": cell_table(
                experiments, _predicted(executor, fit, experiments, set(cells) - set(counting), cells)
            ),
            "coefficients": coefficient_table(fit),
        }
        for name in ("summary", "left-out", "overloaded"):
            say(
                {"left-out": "Leaving out the model", "overloaded": "Overloaded, not fitted"}.get(name, "Errors"),
                text(tables[name]),
            )
        if options.dry_run or options.spread != 1.0:
            return 0
        others, wanted, _ = read(data, "predict_inputs.json")
        predictions = _predicted(executor, fit, others, set(wanted), wanted)
    PREDICTIONS.write_text(json.dumps(scored_form(predictions), indent=1) + "\n")
    COEFFICIENTS.write_text(latency_file(fit, counting))
    if options.update_defaults:
        DEFAULTS.write_text(COEFFICIENTS.read_text())
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), {k: markdown(t) for k, t in tables.items()}))
    print(f"wrote {PREDICTIONS.relative_to(ROOT)}, {COEFFICIENTS.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")
    return 0


def evaluate(
    fitter: Fitter, fit: MomentFit, experiments: Mapping[str, Experiment], counting: Sequence[Cell]
) -> dict[str, Mapping[Cell, Mapping[str, float]]]:
    """Predict the measured cells in every way that is compared."""
    fitted = predict(fitter.executor, [(experiments[name], fit.values) for name in fitter.names], counting)
    return {
        "blis, fitted to all": fitted,
        "blis, experiment left out": leave_out(fitter, lambda experiment: experiment.name),
        "blis, model left out": leave_out(fitter, lambda experiment: experiment.model),
        "formula, fitted to all": formula_left_out(experiments, counting, lambda experiment: ""),
        "formula, model left out": formula_left_out(experiments, counting, lambda experiment: experiment.model),
    }


def formula_left_out(
    experiments: Mapping[str, Experiment], cells: Sequence[Cell], group: Callable[[Experiment], str]
) -> dict[Cell, dict[str, float]]:
    """Estimate each cell by the formula, fitted to the cells of all other groups; the group "" is never left out."""
    result = {}
    for name, stage in cells:
        out = group(experiments[name])
        others = [cell for cell in cells if not out or group(experiments[cell[0]]) != out]
        result[name, stage] = Formula.fitted(experiments, others).estimate(experiments[name], stage)
    return result


def _predicted(
    executor: Executor, fit: MomentFit, experiments: Mapping[str, Experiment], wanted: set[Cell], order: Sequence[Cell]
) -> Predictions:
    cells = [cell for cell in order if cell in wanted]
    names = dict.fromkeys(name for name, _ in cells)
    found = predict(executor, [(experiments[name], fit.values) for name in names], cells)
    return {cell: found[cell] for cell in cells}


def scored_form(predictions: Predictions) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """Return predictions by experiment, stage, latency and statistic, ms."""
    result: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for (name, stage), moments in predictions.items():
        kinds = {kind: {q: round(moments[f"{kind}_{q}"], 3) for q in ("mean", *QUANTILES)} for kind in LATENCIES} | {
            "itl": {"mean": round(moments["itl_mean"], 4)}
        }
        result.setdefault(name, {})[str(stage)] = kinds
    return result


def latency_file(fit: MomentFit, counting: Sequence[Cell]) -> str:
    """Return the fit as a file that a deployment can name as its latency model."""
    values = {name: fit.values.get(name, value) for name, value in physics_coefficients().items()}
    lines = ["# Written by benchmarks/h100/bench.py.", "model: physics", "physics:"]
    lines += [f"  {name}: {value:g}" for name, value in values.items()]
    lines += ["provenance:", "  server: vLLM 0.15.1 on H100 SXM, asynchronous scheduling"]
    lines += [f"  fitted_to: {len(counting)} stages of load on Llama-2-7b tp 1, Llama-2-70b tp 4 and Mixtral-8x7B tp 2"]
    lines += [f"  seeds_per_prediction: {SEEDS}", "  standard_deviations:"]
    lines += [f"    {each.name}: {fit.deviation(each.name):.2g}" for each in fit.parameters]
    return "\n".join(lines) + "\n"


def with_tables(page: str, tables: Mapping[str, str]) -> str:
    """Return a page with the text between its markers ``<!-- name -->`` and ``<!-- /name -->`` replaced."""
    for name, table in tables.items():
        start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = page.partition(start)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise SystemExit(f"accuracy.md has no place for the table {name}")
        page = f"{before}{start}{table}{end}{after}"
    return page


def say(title: str, table: str) -> None:
    """Print a table as soon as it is known."""
    print(f"{title}\n\n{table}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
