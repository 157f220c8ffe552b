"""Features of films: those of their decoded pictures and sound, one by one; damaged files are named."""

import importlib.util
import io
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from neuroframes.errors import InputError
from neuroframes.recording.video import SILENCE, Course, film_features, per_frame, thumbnails

N, RATE, SAMPLES = 40, 10, 16_000  # pictures, a second, of sound a second
Picture = Callable[[int], np.ndarray]


def scenery(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A coloured gradient that gets brighter and shifts, uint8 RGB."""
    across = np.linspace(0, 2 * np.pi, width) + number / 5
    colours = np.stack([np.sin(across), np.cos(across), np.sin(2 * across)], axis=1)
    return np.broadcast_to(100 + number + 50 * colours, (height, width, 3)).astype(np.uint8)


def loudness(number: int) -> float:
    return 0.02 * (1 + number % 7)


def write_video(
    path: Path,
    *,
    picture: Picture = scenery,
    n: int = N,
    codec: str = "mpeg4",
    sound: str = "",
    loud: float = 1.0,
    **options: str,
) -> Path:
    """A film of `n` pictures, with a tone in two channels whose loudness changes with each."""
    height, width, _ = picture(0).shape
    with av.open(path, "w", options=options) as file:
        video = file.add_stream(codec, RATE, bit_rate=4_000_000)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        audio = file.add_stream(sound, SAMPLES, layout="stereo") if sound else None
        step = SAMPLES // RATE
        for number in range(n):
            shown = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            shown.pts = number
            file.mux(video.encode(shown))
            if audio:
                tone = loud * loudness(number) * np.sin(2 * np.pi * 500 * np.arange(step) / SAMPLES)
                left_and_right = np.round(32767 * np.column_stack([tone, -tone])).astype(np.int16)
                played = av.AudioFrame.from_ndarray(left_and_right.reshape(1, -1), "s16", "stereo")
                played.sample_rate, played.pts = SAMPLES, number * step
                file.mux(audio.encode(played))
        file.mux([*video.encode(), *(audio.encode() if audio else ())])
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "film.mkv", sound="pcm_s16le")


def test_features_are_those_of_each_decoded_picture(film):
    course = film_features(film)
    np.testing.assert_allclose(course.times, np.arange(N) / RATE, atol=1e-9)
    assert course.names == ("luminance", "contrast", "motion energy", "sound power")
    before = None
    with av.open(film) as file:
        for row, frame in zip(course.values, file.decode(video=0), strict=True):
            luma = frame.to_ndarray(format="rgb24") / 255 @ [0.2126, 0.7152, 0.0722]
            moved = 0 if before is None else np.mean((luma - before) ** 2)
            np.testing.assert_allclose(row[:3], [luma.mean(), luma.std(), moved], atol=1e-5)
            before = luma
    # As it was drawn, but for what the codec loses.
    drawn = np.array([(scenery(number) / 255 @ [0.2126, 0.7152, 0.0722]).mean() for number in range(N)])
    np.testing.assert_allclose(course.values[:, 0], drawn, atol=0.01)
    # Channels that cancel each other are loud all the same.
    rms = np.array([loudness(number) for number in range(N)]) / np.sqrt(2)
    np.testing.assert_allclose(course.values[:, 3], np.log(rms), atol=0.01)


@pytest.mark.parametrize(("name", "sound"), [("a.mp4", "aac"), ("a.avi", "pcm_s16le"), ("a.mpg", "mp2")])
def test_containers_give_the_same_course(film, tmp_path, name, sound):
    codec = "mpeg2video" if name == "a.mpg" else "mpeg4"
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    course, expected = (
        film_features(write_video(tmp_path / name, sound=sound, codec=codec)),
        film_features(film),
    )
    assert np.diff(course.times) == pytest.approx(0.1) and abs(course.times[0]) < 0.1
    np.testing.assert_allclose(course.values[:, :2], expected.values[:, :2], atol=0.02)
    assert np.corrcoef(course.values[2:-2, 3], expected.values[2:-2, 3])[0, 1] > (
        0.9 if "mp4" in name else 0.5
    )


def test_a_cut_is_motion_and_silence_has_a_floor(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(path, picture=lambda number: scenery(number - number % 20), sound="pcm_s16le", loud=0.0)
    course = film_features(path)
    moved = course.values[:, 2]
    assert moved[0] == 0 and moved.argmax() == 20 and moved[20] > 100 * np.median(moved)
    np.testing.assert_array_equal(course.values[:, 3], np.log(SILENCE))


def test_large_pictures_have_the_features_of_small_ones(tmp_path):
    small, large = (
        film_features(
            write_video(tmp_path / f"{size}.mkv", n=3, picture=lambda i, s=size: scenery(i, 48 * s, 64 * s))
        )
        for size in (2, 10)
    )
    np.testing.assert_allclose(large.values, small.values, atol=0.01)


def test_no_sound_is_said(tmp_path, caplog):
    course = film_features(write_video(tmp_path / "mute.mp4", n=5))
    assert course.names == ("luminance", "contrast", "motion energy") and course.values.shape == (5, 3)
    assert "mute.mp4 has no sound: sound power is left out" in caplog.text


@pytest.mark.parametrize(("tr", "onset"), [(0.8, 0.0), (2.0, 3.3), (0.05, -1.0), (1.0, -30.0)])
def test_frames_get_the_mean_of_what_was_shown_meanwhile(tr, onset):
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.3, 60))
    course = Course(times, rng.normal(size=(60, 2)), ("a", "b"))
    frame_times = -5 + tr * np.arange(40)
    found = per_frame(course, frame_times, tr, onset)
    end = times[-1] + np.median(np.diff(times))
    expected = np.full((40, 2), np.nan)
    for k, t in enumerate(frame_times):
        total = np.zeros(3)
        for n in range(60):
            start, stop = times[n], times[n + 1] if n < 59 else end
            overlap = min(stop, t - onset + tr / 2) - max(start, t - onset - tr / 2)
            total += max(overlap, 0) * np.array([*course.values[n], 1])
        if total[2] > 0:
            expected[k] = total[:2] / total[2]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert np.isnan(found).any()


def test_thumbnails_are_what_was_shown(film):
    times = [2.05, 0.0, 3.9, 2.05, 0.3, 3.99]
    images = [Image.open(io.BytesIO(jpeg)) for jpeg in thumbnails(film, times, width=32)]
    assert {image.format for image in images} == {"JPEG"} and {image.size for image in images} == {(32, 24)}
    for image, number in zip(images, (20, 0, 39, 20, 3, 39), strict=True):
        expected = scenery(number).reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
        assert np.abs(np.asarray(image, float) - expected).mean() < 6
    assert thumbnails(film, []) == []


@pytest.mark.parametrize("time", [-0.5, 4.0, 100.0, float("nan")])
def test_no_thumbnail_where_the_film_does_not_run(film, time):
    with pytest.raises(InputError, match=r"film.mkv: no picture at (-0.5|4|100|nan) s; .*"):
        thumbnails(film, [1.0, time])


def without_video(path: Path) -> None:
    with av.open(path, "w", format="wav") as file:
        audio = file.add_stream("pcm_s16le", SAMPLES, layout="mono")
        played = av.AudioFrame.from_ndarray(np.zeros((1, SAMPLES), np.int16), "s16", "mono")
        played.sample_rate = SAMPLES
        file.mux([*audio.encode(played), *audio.encode()])


def cut(path: Path, name: str, **options: str) -> None:
    whole = write_video(path.with_name(name), **options).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def changed(path: Path, old: bytes | None, new: bytes) -> None:
    """A film in Matroska with other bytes in one place, or in the middle."""
    data = write_video(path.with_name("good.mkv")).read_bytes()
    at = len(data) // 2 if old is None else data.index(old)
    path.write_bytes(data[:at] + new + data[at + len(new) :])


BAD = {
    "text": (lambda path: path.write_text("no film"), "can't be decoded .*; copy it again, or convert it"),
    "empty": (lambda path: path.write_bytes(b""), "can't be decoded"),
    "absent": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "is a folder; pass a film"),
    "not fetched": (lambda path: path.symlink_to("nowhere"), "datalad get"),
    "sound alone": (without_video, "has no pictures, it is .*; pass a film"),
    "picture": (lambda path: Image.new("RGB", (8, 8)).save(path, "png"), "1 picture, nothing that moves"),
    "cut": (lambda path: cut(path, "good.mp4"), "can't be decoded"),
    "cut, header first": (
        lambda path: cut(path, "good.mp4", movflags="faststart"),
        "is damaged|can't be decoded",
    ),
    "cut Matroska": (
        lambda path: cut(path, "good.mkv"),
        "pictures end at .* the rest is missing; copy it again",
    ),
    "damaged": (
        lambda path: changed(path, None, b"\xff" * 60),
        "can't be decoded|is damaged or out of order",
    ),
    "unknown codec": (lambda path: changed(path, b"V_MPEG4", b"V_XXXX4"), "unknown format; copy .* convert"),
    "playlist": (
        lambda path: path.write_text("#EXTM3U\n#EXTINF:5,\nhttp://localhost/a.ts\n#EXT-X-ENDLIST\n"),
        "can't be decoded",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_film_is_named(tmp_path, kind):
    make, message = BAD[kind]
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(InputError, match=f"bad.mp4.*({message})"):
        film_features(path)


def test_without_the_package_it_says_what_to_install(film, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("neuroframes.errors.find_spec", lambda name: None if name == "av" else find(name))
    with pytest.raises(
        InputError, match=r"film.mkv is read with .* av; pip install 'neuroframes\[decoding\]'"
    ):
        film_features(film)
