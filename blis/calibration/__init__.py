"""How well a simulation predicts a real run: requests matched, latencies compared, with their uncertainty."""

from __future__ import annotations

from blis.calibration.calibration import calibrate
from blis.calibration.figures import Bias, Comparison, Estimate, Figure, Ks, Qq, Rating
from blis.calibration.results import Calibration

__all__ = ["Bias", "Calibration", "Comparison", "Estimate", "Figure", "Ks", "Qq", "Rating", "calibrate"]
