"""Looks, connectivity, spectra and the ceiling, against scikit-image, SciPy, NumPy and the analytic value."""

import numpy as np
import pytest
from scipy.signal import welch
from skimage.metrics import structural_similarity

from neuroframes.evaluation import similarity
from neuroframes.evaluation.similarity import (
    fc_similarity,
    noise_ceiling,
    similarity_scores,
    spectra,
    spectral_error,
    ssim,
)

K, H, W = 12, 20, 31
V = H * W
TR = 2.0


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((K, V)) + 2 * np.sin(np.arange(V) / 50)
    prediction = 0.5 * truth + 0.6 * generator.standard_normal((K, V)) + 0.2
    return truth.astype(np.float32), prediction.astype(np.float32)


def slow_ssim(truth, prediction, index):
    """Each frame by scikit-image; windows wholly within the cortex count."""
    inside = np.array([
        [(index[max(i - 3, 0) : i + 4, max(j - 3, 0) : j + 4] >= 0).sum() == 49 for j in range(W)]
        for i in range(H)
    ])  # fmt: skip
    shown = truth[:, np.unique(index[index >= 0])].astype(float)
    maps = [
        structural_similarity(x[index], y[index], data_range=np.ptp(shown), full=True)[1][inside]
        for x, y in zip(truth.astype(float), prediction.astype(float), strict=True)
    ]
    return np.mean(maps)


def test_ssim_is_that_of_scikit_image(pair):
    truth, prediction = pair
    index = np.random.default_rng(1).permutation(V).reshape(H, W)
    images = [frames[:, index].astype(float) for frames in pair]
    plain = [structural_similarity(x, y, data_range=np.ptp(images[0])) for x, y in zip(*images, strict=True)]
    assert ssim(truth, prediction, index) == pytest.approx(np.mean(plain), rel=1e-9)
    assert ssim(truth, truth, index) == pytest.approx(1)


def test_ssim_sees_nothing_off_the_cortex(pair):
    truth, prediction = pair
    index = np.arange(V).reshape(H, W)
    index[:, :4] = index[9, 15] = index[12:, 25:] = -1
    expected = slow_ssim(truth, prediction, index)
    for frames in pair:
        frames[:, np.setdiff1d(np.arange(V), index)] = np.nan
    assert ssim(truth, prediction, index) == pytest.approx(expected, rel=1e-9)
    assert np.isnan(ssim(truth, prediction, np.where(np.arange(W) % 7, index, -1)))


def test_ssim_leaves_out_vertices_without_signal(pair):
    truth, prediction = pair
    index = np.arange(V).reshape(H, W)
    beyond = index[:, 20:].ravel()  # not covered: 0 in either, which would be perfect
    expected = ssim(truth, prediction, np.where(np.isin(index, beyond), -1, index))
    truth[:, beyond] = prediction[:, beyond] = 0
    assert ssim(truth, prediction, index) == expected


def segments(generator, lengths=(60, 90), n_vertices=8):
    return [generator.standard_normal((n, n_vertices)).astype(np.float32) for n in lengths]


def test_fc_similarity_is_r_of_upper_triangles():
    generator = np.random.default_rng(2)
    truth = segments(generator)
    prediction = [x + y for x, y in zip(truth, segments(generator), strict=True)]
    scored = [generator.random(len(x)) < 0.7 for x in truth]
    parcels = np.array([0, 2, 1, -1, 1, 0, 3, 3])
    triangles = []
    for frames in (truth, prediction):
        rows = np.concatenate([x[mask] for x, mask in zip(frames, scored, strict=True)])
        means = np.stack([rows[:, parcels == p].mean(axis=1) for p in range(4)])
        triangles.append(np.corrcoef(means)[np.triu_indices(4, 1)])
    expected = np.corrcoef(*triangles)[0, 1]
    assert fc_similarity(truth, prediction, scored, parcels) == pytest.approx(expected, abs=1e-6)
    assert fc_similarity(truth, truth, scored, parcels) == pytest.approx(1)


def test_fc_similarity_leaves_out_parcels_without_signal_and_gives_silence_nothing(rounded_constant):
    truth = segments(np.random.default_rng(3))
    prediction = [x + y for x, y in zip(truth, segments(np.random.default_rng(4)), strict=True)]
    scored = [np.ones(len(x), bool) for x in truth]
    without = fc_similarity([x[:, 1:] for x in truth], [x[:, 1:] for x in prediction], scored, np.arange(7))
    for x in truth:
        x[:, 0] = 0.3
    assert fc_similarity(truth, prediction, scored, np.arange(8)) == pytest.approx(without, abs=1e-6)
    silent = [np.full_like(x, 0.1) for x in truth]
    assert fc_similarity(truth, silent, scored, np.arange(8)) == 0
    rounded = np.split(rounded_constant(150, 8), [60])
    assert fc_similarity(truth, rounded, scored, np.arange(8)) == 0


def test_what_a_partial_coverage_leaves_undefined_has_no_score():
    truth = segments(np.random.default_rng(10), n_vertices=V)
    for x in truth:
        x[:, 40:] = 0  # a strip of 31 and 9 pixels, and two parcels
    scored = [np.ones(len(x), bool) for x in truth]
    index, parcels = np.arange(V).reshape(H, W), np.arange(V) // 20
    for of in (index, index * 0 - 1):
        assert similarity_scores(truth, truth, scored, tr=TR, index=of) == {"spectral_error": 0}
    for of in (parcels, parcels * 0 - 1):
        assert np.isnan(fc_similarity(truth, truth, scored, of))


@pytest.mark.parametrize("block", [3, 2048])
@pytest.mark.parametrize("tr", [2.0, 100 / 51])  # windows of 50 and of 51 frames
def test_spectra_are_welchs_averaged_over_vertices(tr, block, monkeypatch):
    monkeypatch.setattr(similarity, "BLOCK", block)
    frames = segments(np.random.default_rng(5), lengths=(200, 30, 130))
    n = round(100 / tr)
    each = [welch(x, 1 / tr, nperseg=n, noverlap=n - n // 2, axis=0)[1].mean(axis=1) for x in frames[::2]]
    windows = [(len(x) - n) // (n // 2) + 1 for x in frames[::2]]
    frequencies, power = spectra([x + 1000 for x in frames], tr)  # the middle one is shorter than a window
    assert np.allclose(frequencies, np.fft.rfftfreq(n, tr)[1:])
    assert np.allclose(power, np.average(each, axis=0, weights=windows)[1:], rtol=1e-3)
    frequencies, power = spectra(frames[1:2], tr)
    assert np.allclose(power, welch(frames[1], 1 / tr, nperseg=30, axis=0)[1].mean(axis=1)[1:], rtol=1e-3)


def test_spectral_error_is_in_decibels_and_bounded():
    truth = segments(np.random.default_rng(6), lengths=(200, 60))
    assert spectral_error(truth, truth, TR) == 0
    half, loud = ([factor * x for x in truth] for factor in (0.5, 1000))
    assert spectral_error(truth, half, TR) == pytest.approx(20 * np.log10(2), abs=1e-4)
    assert spectral_error(truth, loud, TR) == pytest.approx(40)
    assert spectral_error(truth, [np.ones_like(x) for x in truth], TR) == pytest.approx(40)


def test_the_ceiling_is_the_r_of_the_signal_with_a_run():
    generator = np.random.default_rng(7)
    signal = generator.standard_normal((40_000, 4))
    noise = np.array([0.5, 1.0, 3.0, 0.0])  # standard deviation
    runs = [signal + noise * generator.standard_normal(signal.shape) for _ in range(3)]
    found = noise_ceiling(runs)
    assert np.allclose(found, 1 / np.sqrt(1 + noise**2), atol=0.01)
    measured = [np.corrcoef(signal[:, v], runs[0][:, v])[0, 1] for v in range(4)]
    assert np.allclose(found, measured, atol=0.02)


def test_the_ceiling_is_the_root_of_the_mean_r_of_pairs_and_0_where_there_is_none():
    generator = np.random.default_rng(8)
    runs = [x + np.arange(50)[:, None] / 30 for x in segments(generator, (50,) * 4, 3)]
    runs[2][:, 1] = 5
    alternating = np.tile([1.0, -1.0], 25)
    for run, sign in zip(runs, (1, -1, 1, -1), strict=True):
        run[:, 2] = sign * alternating
    r = [np.corrcoef(runs[i][:, 0], runs[j][:, 0])[0, 1] for i in range(4) for j in range(i)]
    assert noise_ceiling(runs) == pytest.approx([np.sqrt(np.mean(r)), 0, 0])
    with pytest.raises(ValueError, match="at least two"):
        noise_ceiling(runs[:1])


def test_scores_are_of_the_scored_frames(monkeypatch):
    monkeypatch.setattr(similarity, "SSIM_FRAMES", 5)
    generator = np.random.default_rng(9)
    truth = segments(generator, (40, 70), V)
    prediction = [x + y for x, y in zip(truth, segments(generator, (40, 70), V), strict=True)]
    scored = [np.arange(40) >= 30, np.arange(70) < 7]
    index = np.arange(V).reshape(H, W)
    scores = similarity_scores(truth, prediction, scored, tr=TR, index=index)
    rows = np.concatenate([np.arange(30, 40), 40 + np.arange(7)])[[0, 4, 8, 12, 16]]
    chosen = (np.concatenate(frames)[rows] for frames in (truth, prediction))
    assert scores == {"ssim": ssim(*chosen, index), "spectral_error": spectral_error(truth, prediction, TR)}
    assert set(similarity_scores(truth, prediction, scored, tr=TR, index=None)) == {"spectral_error"}
