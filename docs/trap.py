"""The figure of docs/metrics.md: python docs/trap.py docs/trap.png

Simulated frames in BOLD units on fsaverage5, and three predictions of the test part: the mean image of the
training part, the mean image of somebody else, and frames that follow time with r = .4 and are as variable
as what is measured, as a draw is. SSIM and spatial r of raw frames prefer the first.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter1d

from neuroframes.cortex.flat import flat_index
from neuroframes.cortex.space import CorticalSpace
from neuroframes.evaluation.metrics import frame_series, score
from neuroframes.evaluation.similarity import ssim
from neuroframes.recording.simulated_sources import Sources, make_sources

TRAIN, TEST = 300, 150  # frames
R = 0.4
SHOWN = 70  # frame of the test part
COLUMNS = ("measured", "training mean", "another's mean", "follows time")


def main(out: Path) -> None:
    rng = np.random.default_rng(0)
    sources = make_sources(rng, CorticalSpace.fsaverage5(), channels=4)
    somebody = make_sources(rng, sources.space, channels=4)
    index = flat_index(sources.space)
    measured = sources.mean + sources.scale * _signal(rng, sources, TRAIN + TEST)
    mean = measured[:TRAIN].mean(axis=0)
    truth = measured[TRAIN:]
    follower = mean + R * (truth - mean) + np.sqrt(1 - R**2) * sources.scale * _signal(rng, sources, TEST)
    frames = [truth, *(np.broadcast_to(m, truth.shape) for m in (mean, somebody.mean)), follower]
    frames = [part.astype(np.float32) for part in frames]
    scores = [_scores(truth.astype(np.float32), part, mean, sources, index) for part in frames[1:]]
    _draw(out, frames, mean, sources, index, scores)


def _signal(rng: np.random.Generator, sources: Sources, n_frames: int) -> np.ndarray:
    """Smooth activity of all patches and noise of neighbouring vertices, unit variance, (n_frames, V)."""
    latents = gaussian_filter1d(rng.standard_normal((n_frames, sources.patches.shape[1])), 2, axis=0)
    patches = (sources.patches @ (latents / latents.std()).T).T / np.sqrt(2)
    thermal = (sources.smoothing @ rng.standard_normal((sources.space.V, n_frames))).T
    return np.sqrt(0.78) * patches + np.sqrt(0.22) * thermal


def _scores(truth, prediction, mean, sources, index) -> dict[str, float]:
    scored = np.ones(len(truth), bool)
    alive = np.flatnonzero(~sources.dead)
    z_truth, z = ((part - mean)[:, alive] / sources.scale[alive] for part in (truth, prediction))
    fair = score(z_truth, z, scored)["whole"]
    return {
        "SSIM, raw": ssim(truth, prediction, index),
        "spatial r, raw": frame_series(truth, prediction, scored)["spatial_r"].mean(),
        "spatial r, means removed": fair["spatial_r_test_mean"],
        "temporal r": fair["temporal_r"],
    }


def _draw(out, frames, mean, sources, index, scores) -> None:
    figure, axes = plt.subplots(3, 4, figsize=(10, 4.5), height_ratios=[1, 1, 0.8], layout="constrained")
    scale = np.where(sources.scale > 0, sources.scale, np.inf)
    limits = [{"vmin": 6000, "vmax": 13000, "cmap": "gray"}, {"vmin": -3, "vmax": 3, "cmap": "RdBu_r"}]
    for column, (name, part) in enumerate(zip(COLUMNS, frames, strict=True)):
        for axis, values, limit in zip(
            axes[:2, column], (part[SHOWN], (part[SHOWN] - mean) / scale), limits, strict=True
        ):
            axis.imshow(np.where(index < 0, np.nan, values[index]), interpolation="nearest", **limit)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0, column].set_title(name, fontsize=10)
    axes[0, 0].set_ylabel("as acquired", fontsize=9)
    axes[1, 0].set_ylabel("less the training mean", fontsize=9)
    colours = ("0.75", "0.5", "tab:blue")
    for axis, name in zip(axes[2], scores[0], strict=True):
        values = [round(row[name], 3) + 0.0 for row in scores]  # no -0.0, whose label would lie below
        bars = axis.bar(["training\nmean", "another's\nmean", "follows\ntime"], values, color=colours)
        axis.bar_label(bars, [f"{value:.3f}" for value in values], fontsize=8)
        axis.set_title(name, fontsize=9)
        axis.set(ylim=(0, 1.15), yticks=[])
        axis.tick_params(labelsize=8, length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
