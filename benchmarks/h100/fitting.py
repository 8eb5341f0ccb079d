"""One set of coefficients for all models, fitted to measured moments, with and without what is to be predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from measurements import Cell, Experiment
from serving import serve

from blis.calibration.moments import Coefficients, MomentFit, Parameter, derivatives, fit_moments
from blis.calibration.physics import PHYSICS

__all__ = ["SEEDS", "Fitter", "Predictions", "leave_out", "loosened", "predict"]

SEEDS = 5
"""Simulations that a prediction is the average of."""
_FIT_SEEDS = 2
_ROUNDS = 3
_DIGITS = 4
_SLOPE_SHARE = 0.5
"""Derivatives need less precision than the moments themselves: half of the requests will do."""

_TOLERANCE = {
    "e2e_mean": 0.03, "e2e_p50": 0.03, "e2e_p90": 0.03, "ttft_mean": 0.06, "ttft_p50": 0.06, "ttft_p90": 0.06,
    "itl_mean": 0.03, "gap_p90": 0.05, "gap_p98": 0.05, "gap_p99.8": 0.30,
}  # fmt: skip
"""Moments that are fitted, and the relative errors expected of them. The long gaps are those of steps with prefill:
with cached prompts from the 90th percentile on, with the first hundred prompts at the end. The 99th percentiles of
latencies are left out: they are made by what stalled when the server started."""

Predictions = dict[Cell, dict[str, float]]


@dataclass(frozen=True)
class Fitter:
    """Fits to any choice of ``experiments``; ``slopes`` are the derivatives of each one's moments."""

    experiments: Mapping[str, Experiment]
    cells: Sequence[Cell]
    parameters: tuple[Parameter, ...]
    executor: Executor
    slopes: Mapping[str, npt.NDArray[np.float64]]

    @classmethod
    def prepare(
        cls,
        experiments: Mapping[str, Experiment],
        cells: Sequence[Cell],
        executor: Executor,
        parameters: tuple[Parameter, ...] = PHYSICS,
    ) -> tuple[Fitter, MomentFit]:
        """Fit to all cells; the derivatives at the solution serve the fits to some of them."""
        fitter = cls(experiments, cells, parameters, executor, {})
        fitter = fitter._sloped({p.name: p.prior for p in parameters})
        rough = fitter.fit(fitter.names, start=None)
        fitter = fitter._sloped(rough.values)
        return fitter, fitter.fit(fitter.names, start=rough.values)

    @property
    def names(self) -> list[str]:
        """The experiments that have cells to be fitted."""
        return list(dict.fromkeys(name for name, _ in self.cells))

    def fit(self, names: Sequence[str], *, start: Coefficients | None = None) -> MomentFit:
        """Fit to the cells of some experiments, from the priors on unless ``start`` says otherwise."""
        measured = [self.experiments[x].stages[s].measured for x, s in self._cells(names)]
        fit = fit_moments(
            self._simulate(names, _FIT_SEEDS, 1.0),
            np.array([found[name] for found in measured if found is not None for name in _TOLERANCE]),
            np.array(list(_TOLERANCE.values()) * len(measured)),
            self.parameters,
            start=start,
            slopes=np.vstack([self.slopes[name] for name in names]),
            rounds=_ROUNDS,
        )
        return replace(fit, values={key: float(f"{value:.{_DIGITS}g}") for key, value in fit.values.items()})

    def _cells(self, names: Iterable[str]) -> list[Cell]:
        return [cell for name in names for cell in self.cells if cell[0] == name]

    def _sloped(self, at: Coefficients) -> Fitter:
        slopes = derivatives(self._simulate(self.names, 1, _SLOPE_SHARE), at, self.parameters)
        parts = np.split(slopes, np.cumsum([len(self._cells([n])) * len(_TOLERANCE) for n in self.names])[:-1])
        return replace(self, slopes=dict(zip(self.names, parts, strict=True)))

    def _simulate(
        self, names: Sequence[str], seeds: int, share: float
    ) -> Callable[[Sequence[Coefficients]], npt.NDArray[np.float64]]:
        """Return the simulation of the cells of some experiments, for any number of sets of coefficients."""

        def simulate(sets: Sequence[Coefficients]) -> npt.NDArray[np.float64]:
            asked = [(self.experiments[name], each) for each in sets for name in names]
            found = _served(self.executor, asked, self.cells, seeds, share)
            rows = [[cell[moment] for cell in cells.values() for moment in _TOLERANCE] for cells in found]
            flat = [value for row in rows for value in row]
            return np.array(flat).reshape(len(sets), -1)

        return simulate


def loosened(factor: float) -> tuple[Parameter, ...]:
    """Return the priors with ``factor`` times their spreads."""
    return tuple(replace(parameter, spread=parameter.spread * factor) for parameter in PHYSICS)


def predict(executor: Executor, asked: Sequence[tuple[Experiment, Coefficients]], cells: Sequence[Cell]) -> Predictions:
    """Predict the ``cells`` of each experiment with the coefficients beside it: averages over seeds."""
    result: Predictions = {}
    for found in _served(executor, asked, cells, SEEDS, 1.0):
        result |= found
    return result


def leave_out(fitter: Fitter, group: Callable[[Experiment], str]) -> Predictions:
    """Predict each group of experiments from a fit to all others."""
    asked = []
    for left_out in dict.fromkeys(group(fitter.experiments[name]) for name in fitter.names):
        inside = [name for name in fitter.names if group(fitter.experiments[name]) == left_out]
        fit = fitter.fit([name for name in fitter.names if name not in inside])
        asked += [(fitter.experiments[name], fit.values) for name in inside]
    return predict(fitter.executor, asked, fitter.cells)


def _served(
    executor: Executor,
    asked: Sequence[tuple[Experiment, Coefficients]],
    cells: Sequence[Cell],
    seeds: int,
    share: float,
) -> list[Predictions]:
    """Simulate each experiment up to its last cell; moments are averages over seeds."""
    wanted = [[stage for name, stage in cells if name == experiment.name] for experiment, _ in asked]
    jobs = [
        (experiment, values, seed, max(stages) + 1, share)
        for (experiment, values), stages in zip(asked, wanted, strict=True)
        for seed in range(seeds)
    ]
    served = list(executor.map(serve, *zip(*jobs, strict=True)))
    result = []
    for index, ((experiment, _), stages) in enumerate(zip(asked, wanted, strict=True)):
        runs = served[index * seeds : (index + 1) * seeds]
        result.append(
            {
                (experiment.name, stage): {
                    key: float(np.mean([run[stage][key] for run in runs])) for key in runs[0][stage]
                }
                for stage in stages
            }
        )
    return result
