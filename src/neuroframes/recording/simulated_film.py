"""The film of a simulated recording, as a video: each scene shows how strongly it drives the cortex.

    kind      triangle, square or circle, of equal area: the tercile of sight's level, -.43 and .43
    picture   ground 100 + 30 sight; the shape is 40 + 15 sight brighter, and goes round all the time
    sound     a tone of 440 Hz and amplitude .1 exp(.5 sound)

Levels are cut at -2.5 and 2.5. Pictures are grey, from 0 to 255.
"""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIDES = {"triangle": 3, "square": 4, "circle": 60}  # of a polygon
TERCILES = (-0.4307, 0.4307)  # of a standard normal distribution
MOST = 2.5  # of a level, as it is shown
WIDTH, HEIGHT, RADIUS = 96, 72, 16.0  # pixels; the circle's
LAP = 4.3  # seconds, of the shape's way round
PICTURES, SAMPLES = 5, 16_000  # a second
TONE = 440.0  # Hz


def kind_of(sight: float) -> str:
    """The shape that a scene of this level shows."""
    return [*SIDES][int(np.searchsorted(TERCILES, sight))]


def picture(sight: float, time: float) -> NDArray[np.uint8]:
    """What a scene of this level shows at a time (s), shape (HEIGHT, WIDTH)."""
    sides, level, angle = SIDES[kind_of(sight)], np.clip(sight, -MOST, MOST), 2 * np.pi * time / LAP
    across = (np.arange(WIDTH) - WIDTH / 2 - 22 * np.cos(angle)) / RADIUS
    down = (np.arange(HEIGHT) - HEIGHT / 2 - 10 * np.sin(angle)) / RADIUS
    normals = np.pi / 2 + 2 * np.pi * np.arange(sides) / sides
    reach = np.multiply.outer(np.sin(normals), down)[:, :, None]
    reach = (reach + np.multiply.outer(np.cos(normals), across)[:, None]).max(axis=0)
    # A regular polygon whose edges have this distance from its centre has the circle's area.
    inside = reach < np.sqrt(np.pi / sides / np.tan(np.pi / sides))
    return np.round(100 + 30 * level + (40 + 15 * level) * inside).astype(np.uint8)


def tone(sound: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float32]:
    """The tone at times (s), shape (N,), -1 to 1, for the levels at these."""
    loudness = 0.1 * np.exp(0.5 * np.clip(sound, -MOST, MOST))
    return (loudness * np.sin(2 * np.pi * TONE * times)).astype(np.float32)


def write_film(path: Path, scenes: NDArray[np.float64], seconds: float) -> None:
    """Write an MP4 of so many seconds (MPEG-4, AAC), the same bytes for the same scenes.

    Parameters
    ----------
    path : Path
    scenes : array, shape (n, 3)
        Onset (s, from the film's start; the first one before that) and levels of sight and sound.
    seconds : float
    """
    import av

    exact: dict[str, Any] = {"flags": "+bitexact", "threads": "1"}  # without the encoder's version
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", container_options={"fflags": "+bitexact"}) as file:
        video = file.add_stream("mpeg4", PICTURES, exact)
        video.width, video.height, video.pix_fmt, video.bit_rate = WIDTH, HEIGHT, "yuv420p", 48_000
        audio = file.add_stream("aac", SAMPLES, exact, layout="mono", bit_rate=24_000)
        step = SAMPLES // PICTURES
        for number in range(int(np.ceil(seconds * PICTURES - 1e-6))):
            samples = number * step + np.arange(step)
            times = samples / SAMPLES
            scene = scenes[np.searchsorted(scenes[:, 0], times, side="right") - 1]
            shown = av.VideoFrame.from_ndarray(picture(scene[0, 1], times[0]), format="gray")
            shown.pts, shown.time_base = number, Fraction(1, PICTURES)
            played = av.AudioFrame.from_ndarray(tone(scene[:, 2], times)[None], "fltp", "mono")
            played.pts, played.time_base, played.sample_rate = number * step, Fraction(1, SAMPLES), SAMPLES
            file.mux([*video.encode(shown), *audio.encode(played)])
        file.mux([*video.encode(), *audio.encode()])
