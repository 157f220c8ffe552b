"""Methods that every table carries beside ours: one file each, one interface (`Baseline`)."""

# The networks (CnnTc, CnnTag, E2FNet, E2FGan, NeuroBolt) are imported from their modules: they load PyTorch.
from neuroframes.baselines.banded_ridge import BandedRidge
from neuroframes.baselines.cubic_spline import CubicSpline
from neuroframes.baselines.drift import Drift
from neuroframes.baselines.hold_last import HoldLast
from neuroframes.baselines.interface import Baseline
from neuroframes.baselines.kriging import Kriging
from neuroframes.baselines.kriging_eeg import KrigingEeg
from neuroframes.baselines.linear import Linear
from neuroframes.baselines.lomb_scargle import LombScargle
from neuroframes.baselines.mean_frame import MeanFrame
from neuroframes.baselines.nearest import Nearest
from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.baselines.run_mean import RunMean

__all__ = [
    "BandedRidge",
    "Baseline",
    "CubicSpline",
    "Drift",
    "HoldLast",
    "Kriging",
    "KrigingEeg",
    "Linear",
    "LombScargle",
    "MeanFrame",
    "Nearest",
    "RidgeFIR",
    "RunMean",
]
