"""The README's figure, from what `make demo` leaves: python docs/figure.py demo docs/figure.png

Eight measured frames of the test run are hidden and filled. Above: one of them on the cortex, as it was
measured, as it was filled, and as linear interpolation fills it; these are pages of `neuroframes view` in
Chromium. Below: the vertex with the median error. Needs chromium on the path.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from neuroframes import complete, read_bold, view
from neuroframes.recording.bold import write_bold

RUN = "sub-01_task-movie_run-4"
HIDDEN = slice(100, 108)
SHOWN = 103
WINDOW = slice(70, 139)
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Of a page 1200 x 800: the panel "left, lateral" without its caption.
PANEL = (slice(62, 328), slice(30, 414))


def main(demo: Path, out: Path) -> None:
    functional = demo / "recording/derivatives/fmriprep/sub-01/func"
    measured = functional / f"{RUN}_space-fsLR_den-32k_bold.dtseries.nii"
    with tempfile.TemporaryDirectory() as folder:
        completed = Path(folder) / "desc-completed_bold.dtseries.nii"
        paths = complete(
            measured,
            out=completed,
            model=demo / "model",
            eeg=demo / f"recording/sub-01/eeg/{RUN}_eeg.vhdr",
            confounds=functional / f"{RUN}_desc-confounds_timeseries.tsv",
            frames=f"{HIDDEN.start}:{HIDDEN.stop - 1}",
        )
        truth, filled, deviation = (read_bold(path) for path in (measured, *paths))
        straight = Path(folder) / "desc-linear_bold.dtseries.nii"
        write_bold(straight, _linear(truth.data), truth.space, tr=truth.tr)
        cortex = [_panel(Path(folder), image, len(truth.data)) for image in (measured, completed, straight)]
    _draw(out, cortex, truth.tr, truth.data, filled.data, deviation.data)


def _linear(data: np.ndarray) -> np.ndarray:
    """The run with its hidden frames on a straight line."""
    filled = np.array(data, order="F")
    before, after = HIDDEN.start - 1, HIDDEN.stop
    weight = (np.arange(HIDDEN.start, HIDDEN.stop) - before)[:, None] / np.float32(after - before)
    filled[HIDDEN] = (1 - weight) * data[before] + weight * data[after]
    return filled


def _panel(folder: Path, image: Path, n_frames: int) -> np.ndarray:
    """The left hemisphere of one frame's page, (height, width, 4)."""
    page = view(image, folder / f"{image.name}.html", max_frames=n_frames)
    shot = folder / "shot.png"
    command = [shutil.which("chromium") or "chromium", "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--hide-scrollbars", "--no-first-run", f"--user-data-dir={folder / 'profile'}", *WEBGL]
    command += ["--window-size=1200,800", "--virtual-time-budget=60000", f"--screenshot={shot}"]
    subprocess.run([*command, f"{page.as_uri()}#frame={SHOWN}"], check=True, capture_output=True, timeout=180)
    return plt.imread(shot)[PANEL]


def _draw(
    out: Path,
    cortex: list[np.ndarray],
    tr: float,
    truth: np.ndarray,
    filled: np.ndarray,
    deviation: np.ndarray,
) -> None:
    error = np.abs(filled[HIDDEN] - truth[HIDDEN]).mean(axis=0) / truth.std(axis=0)
    vertex = int(np.argsort(error)[truth.shape[1] // 2])
    x, y, std = truth[:, vertex], filled[:, vertex], deviation[:, vertex]
    figure = plt.figure(figsize=(9.6, 5.2), dpi=130)
    grid = figure.add_gridspec(
        2, 3, height_ratios=(1.25, 1), hspace=0.12, wspace=0.02, left=0.085, right=0.985, top=0.94, bottom=0.1
    )
    titles = ("a hidden frame, as it was measured", "filled by neuroframes", "filled by linear interpolation")
    for column, (title, image) in enumerate(zip(titles, cortex, strict=True)):
        axes = figure.add_subplot(grid[0, column])
        axes.imshow(image)
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    axes = figure.add_subplot(grid[1, :])
    frames, hidden = np.arange(WINDOW.start, WINDOW.stop), np.arange(HIDDEN.start, HIDDEN.stop)
    around = np.arange(HIDDEN.start - 1, HIDDEN.stop + 1)
    others = np.setdiff1d(frames, hidden)
    axes.axvspan(tr * (around[0] + 0.5), tr * (around[-1] - 0.5), color="0.93", lw=0)
    axes.plot(tr * others, x[others], ".", color="#2b6f77", ms=6, label="measured and given")
    axes.plot(tr * hidden, x[hidden], "o", mfc="none", color="#2b6f77", ms=5, label="measured but hidden")
    edges = around[[0, -1]]
    axes.plot(tr * edges, x[edges], "--", color="0.5", lw=1.2, label="linear interpolation")
    axes.plot(tr * around, y[around], color="#d9822b", lw=2, label="filled, with its 90 % interval")
    low, high = y[around] - 1.645 * std[around], y[around] + 1.645 * std[around]
    axes.fill_between(tr * around, low, high, color="#d9822b", alpha=0.25, lw=0)
    axes.axvline(tr * SHOWN, color="0.4", lw=0.8, ls=":")
    axes.set(xlim=(tr * frames[0], tr * frames[-1]), xlabel="seconds", ylabel="BOLD at one vertex")
    axes.legend(fontsize=8, ncols=2, frameon=False, loc="upper left")
    axes.set_ylim(axes.get_ylim()[0], axes.get_ylim()[1] + 0.28 * np.ptp(axes.get_ylim()))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, facecolor="white")
    # 256 colours are enough, and a third of the size.
    Image.open(out).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
