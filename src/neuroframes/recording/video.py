"""What a film shows and plays: low-level features of each of its pictures.

With luma Y = .2126 R + .7152 G + .0722 B of R, G, B from 0 to 1 (Rec. 709):

    luminance        mean of Y over the picture
    contrast         its standard deviation over the picture
    motion energy    mean of (Y - Y of the picture before)^2; 0 at the first picture, large at a cut
    sound power      log of the sound's RMS while the picture is shown, of full scale, at least log 1e-5

A picture is shown until the next one; the last one as long as is typical. Large pictures are averaged down
first, so that features mean the same at any resolution. "Picture" is the film's, "frame" the scanner's.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neuroframes.errors import InputError, check_there, counted, need_av

if TYPE_CHECKING:
    from av.container import InputContainer

Times = NDArray[np.float64]
logger = logging.getLogger(__name__)

REC_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
WIDEST = 320  # pixels of a picture whose features are computed
SILENCE = 1e-5  # of full scale: -100 dB
ROUNDING = 1e-6  # seconds
MICROSECONDS = 1_000_000  # a second, in FFmpeg's clock
CONVERT = "copy it again, or convert it, as by ffmpeg -i FILM NEW.mp4"


@dataclass(frozen=True)
class Course:
    """Features of a film along its time.

    Attributes
    ----------
    times : array, shape (N,), seconds from the film's start, when each picture appears
    values : array, shape (N, F)
    names : tuple of str, F of them
    """

    times: Times
    values: NDArray[np.float64]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.times) < 2:
            raise InputError("the film has no course in time, it is too short; pass a longer one")

    @property
    def edges(self) -> Times:
        """When pictures appear and when the last one ends, shape (N + 1,), seconds."""
        return np.append(self.times, self.times[-1] + np.median(np.diff(self.times)))


def film_features(path: str | Path) -> Course:
    """Luminance, contrast, motion energy and, where the film has sound, its power.

    One picture is in memory at a time.

    Raises
    ------
    InputError
        If the file is missing or damaged, has no moving picture, or the package av isn't installed.
    """
    path, times, values = Path(path), list[float](), list[list[float]]()
    before = None
    for time, picture in pictures(path, WIDEST):
        luma = picture @ REC_709 / 255
        moved = 0.0 if before is None else np.square(luma - before).mean()
        times.append(time)
        values.append([luma.mean(), luma.std(), moved])
        before = luma
    course = Course(np.array(times), np.array(values, float), ("luminance", "contrast", "motion energy"))
    power = _sound_power(path, course.edges)
    if power is None:
        logger.warning("%s has no sound: sound power is left out", path.name)
        return course
    return Course(course.times, np.column_stack([course.values, power]), (*course.names, "sound power"))


def per_frame(course: Course, frame_times: Times, tr: float, onset: float) -> NDArray[np.float64]:
    """Mean of the film's features while each fMRI frame was acquired.

    Parameters
    ----------
    course : Course
    frame_times : array, shape (K,), seconds, the frames' centres
    tr : float, seconds
    onset : float, seconds
        When the film starts, on the frames' clock.

    Returns
    -------
    array, shape (K, F)
        Over as much of [t - tr/2, t + tr/2) as the film runs, NaN where it doesn't at all.
    """
    edges = course.edges
    areas = np.diff(edges)[:, None] * course.values
    total = np.vstack([np.zeros(areas.shape[1]), np.cumsum(areas, axis=0)])
    first, last = (np.clip(frame_times - onset + half, edges[0], edges[-1]) for half in (-tr / 2, tr / 2))
    lasting = np.where(last - first > ROUNDING, last - first, np.nan)
    return np.column_stack(
        [(np.interp(last, edges, upto) - np.interp(first, edges, upto)) / lasting for upto in total.T]
    )


def thumbnails(path: str | Path, times: Sequence[float] | Times, width: int = 160) -> list[bytes]:
    """The pictures shown at these times, as JPEG files.

    Parameters
    ----------
    path : path
    times : sequence of float, seconds from the film's start, in any order
    width : int, pixels, at most

    Raises
    ------
    InputError
        As `film_features`, or if the film doesn't run at one of the times.
    """
    path, images = Path(path), dict[int, bytes]()
    if outside := [at for at in times if not at >= 0]:
        raise InputError(f"{path.name}: no picture at {outside[0]:g} s; expected seconds from its start")
    ahead = sorted(range(len(times)), key=lambda number: times[number], reverse=True)
    for earlier, later in pairwise(pictures(path, width)):
        while ahead and times[ahead[-1]] < later[0] - ROUNDING:
            images[ahead.pop()] = _jpeg(earlier[1])
        if not ahead:
            break
    end = 2 * later[0] - earlier[0]
    for number in ahead:
        if times[number] >= end:
            raise InputError(f"{path.name}: no picture at {times[number]:g} s; the film ends at {end:g} s")
        images[number] = _jpeg(later[1])
    return [images[number] for number in range(len(times))]


def pictures(path: Path, widest: int) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Time (s from the film's start) and RGB, shape (height, width, 3), of each picture, one after another.

    Wider ones are averaged down to `widest` pixels.
    """
    need_av(f"{path.name} is read with the package av")
    import av

    with _opened(path) as file:
        if not isinstance(video := file.streams.best("video"), av.VideoStream):
            raise InputError(f"{path.name} has no pictures, it is {file.format.long_name}; pass a film")
        if getattr(video, "codec_context", None) is None:
            raise InputError(f"{path.name}: its pictures are in an unknown format; {CONVERT}")
        video.thread_type = "AUTO"
        width = min(video.width, widest)
        height = max(1, round(video.height * width / video.width))
        count, time, end, start = 0, -np.inf, 0.0, (file.start_time or 0) / MICROSECONDS
        for count, frame in enumerate(file.decode(video), start=1):
            if frame.is_corrupt or frame.pts is None or not frame.time - start > time:
                raise InputError(f"{path.name}: picture {count} is damaged or out of order; {CONVERT}")
            time = frame.time - start
            end = time + frame.duration * float(frame.time_base or 0)
            rgb = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
            yield time, rgb.astype(np.uint8, copy=False)
        if count < 2:
            raise InputError(f"{path.name} has {counted(count, 'picture')}, nothing that moves; pass a film")
        if end < (stated := (file.duration or 0) / MICROSECONDS) - 1:
            short = f"{path.name}: pictures end at {end:.1f} s of {stated:.1f} s"
            if not file.streams.audio:
                raise InputError(f"{short}, the rest is missing; {CONVERT}")
            logger.warning(short)  # sound may go on


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    """The file; what FFmpeg says of it as InputError."""
    import av

    check_there(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; pass a film")
    try:
        with av.open(path) as file:
            yield file
    except av.FFmpegError as error:
        raise InputError(f"{path}: can't be decoded ({error.strerror}); {CONVERT}") from error


def _sound_power(path: Path, edges: Times) -> Times | None:
    """Log of the RMS of sound between edges (N + 1,), shape (N,); None without sound."""
    import av

    # Before the first edge, between any two, after the last.
    energy, count = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    with _opened(path) as file:
        if not isinstance(audio := file.streams.best("audio"), av.AudioStream):
            return None
        as_floats = av.AudioResampler("fltp")
        for frame in (part for whole in file.decode(audio) for part in as_floats.resample(whole)):
            if frame.time is None:
                raise InputError(f"{path.name}: sound without times; {CONVERT}")
            start = frame.time - (file.start_time or 0) / MICROSECONDS
            at = np.searchsorted(edges, start + np.arange(frame.samples) / frame.rate, side="right")
            np.add.at(energy, at, np.square(frame.to_ndarray(), dtype=float).mean(axis=0))
            np.add.at(count, at, 1)
    rms = np.sqrt(energy / np.maximum(count, 1))[1:-1]
    return np.log(np.maximum(rms, SILENCE))


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    import av

    height, width, _ = picture.shape
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj420p", Fraction(1)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode()])
