"""Ridge regression of every vertex on head motion alone: what artefacts of movement can explain.

Features are 24, after Friston et al. (1996, doi:10.1002/mrm.1910350312): the six parameters p, their
differences d(t) = p(t) - p(t - TR), and the squares of both, at 0 to 20 s before each frame. EEG in the
scanner picks up the head's movement too; a method that is no better than this one may tell no more than that.
"""

import numpy as np
from numpy.typing import NDArray

from neuroframes.baselines.ridge_fir import RidgeFIR
from neuroframes.errors import InputError
from neuroframes.recording.band_power import BandPower, lagged
from neuroframes.recording.segments import Segment


class MotionRidge(RidgeFIR):
    """`RidgeFIR` on motion parameters in place of band power."""

    name = "motion alone"
    needs_eeg = False

    def features(self, segment: Segment) -> NDArray[np.float64]:
        """Lagged motion parameters, shape (K, p), lag slowest."""
        if segment.motion is None:
            raise InputError(
                f"{segment.run}: regression on motion needs its six parameters; the confounds have none"
            )
        # Squares depend on where 0 is; it is put at the segment's mean position.
        moved = segment.motion - segment.motion.mean(axis=0)
        both = np.hstack([moved, np.diff(moved, axis=0, prepend=moved[:1])])
        parameters = BandPower(np.hstack([both, both**2]).astype(np.float32), segment.times)
        return lagged(parameters, segment.times, self.lags_).astype(np.float64)
