"""Runs that lack values at some vertices of some frames: the others to the bit, these estimated from them."""

import json

import nibabel as nib
import numpy as np
import pytest

from neuroframes.commands.complete import complete
from neuroframes.commands.resample import resample
from neuroframes.errors import InputError
from neuroframes.recording.bold import read_bold, write_bold
from neuroframes.recording.segments import detrend, trend_basis

TR, K = 0.8, 200
SLAB, SPOILT = np.arange(100, 106), 150  # frames without the first 60 vertices; one without vertex 7


def values(path):
    return np.asarray(nib.load(path).dataobj)


def sidecar(path):
    return json.loads(path.with_name(path.name.replace(".dtseries.nii", ".json")).read_text())


@pytest.fixture
def truth(smooth_frames, cifti_space):
    return smooth_frames(K, cifti_space.V)


@pytest.fixture
def cut(truth):
    data = truth.copy(order="F")
    data[SLAB, :60] = np.nan
    data[SPOILT, 7] = np.inf
    return data


def test_measured_values_are_bit_exact_in_the_file(run_of, tmp_path, cut):
    written = complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii", frames="40:42")
    frames, deviation = (values(path) for path in written)
    known = np.isfinite(cut)
    known[40:43] = False
    assert frames[known].tobytes() == cut[known].tobytes()
    assert np.isfinite(frames).all()
    assert (deviation[known] == 0).all() and (deviation[~known] > 0).all()
    about = sidecar(written[0])
    partial = [*SLAB.tolist(), SPOILT]
    assert about["NeuroframesPartial"] == partial
    assert np.flatnonzero(~np.array(about["NeuroframesMeasured"])).tolist() == [40, 41, 42, *partial]


def test_with_no_frame_named_there_is_something_to_do(run_of, tmp_path, cut, caplog):
    caplog.set_level("INFO", "neuroframes")
    written = complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii")
    assert np.isfinite(values(written[0])).all()
    assert "filling what 7 others lack" in caplog.text
    with pytest.raises(InputError, match="no frame is missing; name those"):  # estimates aren't filled again
        complete(written[0], out=tmp_path / "y_bold.dtseries.nii")


def test_the_frame_itself_tells_more_than_those_around_it(run_of, tmp_path, truth):
    cut = truth.copy(order="F")
    cut[30:42, :60] = cut[100:112, 60:120] = cut[160:172, 120:] = np.nan
    lacking = ~np.isfinite(cut)
    rows = np.flatnonzero(lacking.any(axis=1))
    trend = detrend(detrended := truth.copy(order="F"), np.ones(K, bool))
    trend, scale = trend_basis(np.arange(K), K) @ trend, detrended.std(axis=0)

    def z(frames):
        return ((frames - trend) / scale)[lacking]

    names = ",".join(map(str, rows))
    partial = complete(run_of(data=cut), out=tmp_path / "p_bold.dtseries.nii")
    missing = complete(run_of(data=truth), out=tmp_path / "m_bold.dtseries.nii", frames=names)
    others = np.setdiff1d(np.arange(K), rows)
    linear = np.stack([np.interp(np.arange(K), others, series) for series in truth[others].T], axis=1)
    r_partial, r_missing, r_linear = (
        np.corrcoef(z(frames), z(truth))[0, 1] for frames in (values(partial[0]), values(missing[0]), linear)
    )
    assert r_partial > r_missing + 0.1 and r_missing > r_linear
    std = values(partial[1])[lacking]
    assert np.mean(std / values(missing[1])[lacking]) < 0.9
    assert 0.8 < np.mean(np.abs(values(partial[0]) - truth)[lacking] < 1.645 * std) < 0.98


def test_what_has_no_data_is_kept_and_makes_no_frame_partial(run_of, tmp_path, truth, caplog):
    truth[:, 3] = np.nan
    truth[:, 4] = 12.5
    truth[20:22, 4] = np.nan  # a constant vertex
    truth[15:, 5] = np.nan  # too few values to say how it varies
    written = complete(run_of(data=truth), out=tmp_path / "x_bold.dtseries.nii", frames="60:62")
    frames, deviation = (values(path) for path in written)
    others = np.arange(K) < 60
    assert frames[others].tobytes() == truth[others].tobytes()
    assert (deviation[others] == 0).all()
    assert sidecar(written[0])["NeuroframesPartial"] == []
    assert "3 of 200 vertices (" in caplog.text


def test_in_a_partial_frame_vertices_without_data_are_the_nearest_frame_s(run_of, tmp_path, cut):
    cut[:, 3], cut[:, 80] = np.nan, 4.0
    cut[SLAB[0], 80] = np.nan
    written = complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii")
    frames, deviation = (values(path) for path in written)
    assert np.isnan(frames[:, 3]).all() and (frames[:, 80] == 4).all()  # that of the nearest frame
    partial = np.isin(np.arange(K), [*SLAB, SPOILT])
    assert np.isnan(deviation[partial, 3]).all() and (deviation[~partial][:, [3, 80]] == 0).all()
    assert np.flatnonzero(np.isnan(deviation[:, 80])).tolist() == [SLAB[0]]
    assert np.isfinite(np.delete(frames, [3, 80], axis=1)).all()


def test_a_spoiled_vertex_costs_the_others_nothing(run_of, tmp_path, truth):
    """The prior is of full frames: a vertex that lacks many values must not make that many partial."""
    spoiled = truth.copy(order="F")
    spoiled[np.random.default_rng(0).permutation(K)[:150], 9] = np.nan
    folders = [tmp_path / name for name in ("whole", "spoiled")]
    whole, lacking = (
        values(complete(run_of(data=data), out=folder / "x_bold.dtseries.nii", frames="40:47,90")[0])
        for data, folder in zip((truth, spoiled), folders, strict=True)
    )
    hidden, others = np.r_[40:48, 90], np.arange(truth.shape[1]) != 9
    errors = [np.square((filled - truth)[hidden][:, others]).mean() for filled in (whole, lacking)]
    assert errors[1] == pytest.approx(errors[0], rel=0.05)
    assert sidecar(folders[1] / "x_bold.dtseries.nii")["NeuroframesPartial"] == []


def test_what_stands_at_a_missing_frame_is_read_at_no_vertex(run_of, tmp_path, truth):
    spoiled = truth.copy(order="F")
    spoiled[40:110, 9] = np.nan  # too many to be estimated
    spoiled[120] = 5e4  # an artefact
    written = complete(run_of(data=spoiled), out=tmp_path / "x_bold.dtseries.nii", frames="120")
    assert values(written[0])[120, 9] in truth[[119, 121], 9]
    finer = resample(
        run_of(data=spoiled, name="s"), tr=TR / 2, out=tmp_path / "y_bold.dtseries.nii", frames="120"
    )
    assert (values(finer[0])[238:243, 9] < 4e4).all()


def test_partial_frames_are_named_again_by_a_second_call(run_of, tmp_path, cut):
    first = complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii")
    second = complete(first[0], out=tmp_path / "y_bold.dtseries.nii", frames="40")
    assert sidecar(second[0])["NeuroframesPartial"] == sidecar(first[0])["NeuroframesPartial"]
    finer = resample(second[0], tr=TR / 2, out=tmp_path / "z_bold.dtseries.nii")
    partial = sidecar(first[0])["NeuroframesPartial"]
    assert sidecar(finer[0])["NeuroframesPartial"] == [2 * number for number in partial]


def test_what_was_estimated_is_no_data_when_the_file_is_read_again(run_of, tmp_path, cut):
    first = complete(run_of(data=cut), out=tmp_path / "a_bold.dtseries.nii")
    second = complete(first[0], out=tmp_path / "b_bold.dtseries.nii", frames="40:42")
    (before, stated), (after, carried) = ([values(path) for path in each] for each in (first, second))
    partial = [*SLAB, SPOILT]
    assert after[partial].tobytes() == before[partial].tobytes()
    assert carried[partial].tobytes() == stated[partial].tobytes()
    measured = np.array(sidecar(second[0])["NeuroframesMeasured"])
    assert not measured[partial].any() and measured.sum() == K - 10
    # The rest is filled as if they were missing: from the frames measured in full alone.
    cut[SLAB], cut[SPOILT] = np.nan, np.nan
    alone = complete(run_of(data=cut), out=tmp_path / "c_bold.dtseries.nii", frames="40:42")
    assert np.allclose(after[40:43], values(alone[0])[40:43], rtol=1e-3)


def test_draws_agree_with_the_values_that_are_measured(run_of, tmp_path, cut):
    out = tmp_path / "x_bold.dtseries.nii"
    plain = complete(run_of(data=cut), out=tmp_path / "p_bold.dtseries.nii")
    drawn = complete(run_of(data=cut), out=out, draws=16, save_draws=True)
    known = np.isfinite(cut)
    mean, std = (values(path) for path in plain)
    draws = np.stack([values(path) for path in drawn[2:]])
    assert np.array_equal(draws[:, known], np.broadcast_to(cut[known], (16, int(known.sum()))))
    z = ((draws - mean) / np.where(known, 1, std))[:, ~known]
    assert abs(z.mean()) < 0.1 and abs(z.std() - 1) < 0.1
    np.testing.assert_allclose(values(drawn[1])[~known].mean(), std[~known].mean(), rtol=0.1)


def test_resampling_keeps_the_values_of_partial_frames(run_of, tmp_path, cut):
    written = resample(run_of(data=cut), tr=TR / 2, out=tmp_path / "x_bold.dtseries.nii")
    frames, deviation = (values(path) for path in written)
    known = np.isfinite(cut)
    assert frames[::2][known].tobytes() == cut[known].tobytes()
    assert (deviation[::2][known] == 0).all() and (deviation[::2][~known] > 0).all()
    assert sidecar(written[0])["NeuroframesPartial"] == [2 * k for k in (*SLAB.tolist(), SPOILT)]


def test_slabs_at_the_ends_of_a_run(run_of, tmp_path, truth):
    cut = truth.copy(order="F")
    cut[:4, :60], cut[-4:, 100:] = np.nan, np.nan
    written = complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii")
    lacking = ~np.isfinite(cut)
    error = (values(written[0]) - truth)[lacking] / truth.std(axis=0)[np.nonzero(lacking)[1]]
    assert np.sqrt(np.mean(error**2)) < 1
    assert sidecar(written[0])["NeuroframesPartial"] == [*range(4), *range(K - 4, K)]


def test_too_few_frames_in_full_are_refused(run_of, tmp_path, cut):
    for vertex, start in enumerate(range(0, K, 40), 9):
        cut[start : start + 40, vertex] = np.nan
    message = "0 of 200 frames are measured in full, 200 lack values of vertices .*at least 16 are needed"
    with pytest.raises(InputError, match=message):
        complete(run_of(data=cut), out=tmp_path / "x_bold.dtseries.nii")


def test_with_a_model_and_with_its_eeg(recording, tmp_path):
    bold = read_bold(recording.bold(3))
    spread = bold.data.std(axis=0)
    live = np.flatnonzero(spread > 0)
    lacking = np.ix_(np.arange(50, 54), live[: len(live) // 3])
    cut = bold.data.copy(order="F")
    cut[lacking] = np.nan
    source = write_bold(tmp_path / "cut_bold.func.gii", cut, bold.space, tr=bold.tr)[0]
    options = {"model": recording.model, "eeg": recording.eeg(3)}
    partial = complete(source, out=tmp_path / "p_bold.func.gii", **options)
    missing = complete(recording.bold(3), out=tmp_path / "m_bold.func.gii", frames="50:53", **options)
    frames, deviation = (read_bold(partial[i], tr=bold.tr).data for i in (0, 2))
    known = np.isfinite(cut)
    assert frames[known].tobytes() == cut[known].tobytes()
    assert (deviation[lacking] > 0).all() and (deviation[known] == 0).all()
    errors = [(x - bold.data)[lacking] / spread[lacking[1]] for x in (frames, read_bold(missing[0]).data)]
    assert np.square(errors[0]).mean() < np.square(errors[1]).mean()
