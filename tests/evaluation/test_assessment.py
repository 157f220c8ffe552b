"""What is said of a model on a fold, beside what its parts' own tests assert."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neuroframes.cortex.regions import networks
from neuroframes.decoding.decoder import Decoder
from neuroframes.evaluation.assessment import Assessment, Fold, assess
from neuroframes.evaluation.decoding import Decoders
from neuroframes.registry import fit


def test_scores_of_what_people_compute_from_frames_have_their_ceilings(patch):
    part, test = patch
    fold = Fold(part, [test], ("gap-2",), parcels=np.arange(50) // 5)
    shown = np.zeros((40, 2))
    shown[5:35:4, 0] = shown[7:38:6, 1] = 1
    none, names = np.zeros((50, 7, 2), np.float32), ("kind=circle", "luminance")
    decoder = Decoder(none, np.eye(2), np.zeros(2), names, 2.0, np.zeros((7, 2)))
    decoders = Decoders({"whole": (np.arange(50), decoder)})
    model = fit("linear", part, {}, state=Path("unused"))
    told = replace(fold, test=[replace(test, shown=shown)], decoders=decoders)
    about, _ = assess(model, told, similarity=False)
    scores = about["scores"]["gap-2"]["whole"]
    assert scores["decoded r"] == 0  # of weights that are 0
    for name in ("fc_similarity", "event_r, kind=circle"):
        assert 0.2 < scores[name] <= 1 and abs(scores[f"{name}, ceiling"]) <= 1
    assert {"network_r", "rsa_stretches"} < {*scores} and "event_r, luminance" not in scores
    about, _ = assess(model, fold, similarity=False)
    assert not any(name.startswith("event") for name in about["scores"]["gap-2"]["whole"])
    frames, scored = (
        np.concatenate(getattr(Assessment(model, fold).outcome("gap-2"), of)) for of in ("frames", "scored")
    )
    network = networks(part.origin.space)
    r = [
        np.corrcoef(*(x[scored][:, network == n].mean(axis=1) for x in (test.frames, frames)))[0, 1]
        for n in np.unique(network[network >= 0])
    ]
    assert scores["network_r"] == pytest.approx(np.mean(r), abs=1e-5)
