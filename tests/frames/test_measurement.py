"""One contract for all measurement operators, against dense matrices built here on their own."""

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.frames.measurement import AlongTime, Averaging, FrameMask, Mask, SamplingTimes

K, V = 24, 5
GENERATOR = np.random.default_rng(0)
MEASURED = GENERATOR.random(K) < 0.6
ENTRIES = GENERATOR.random((K, V)) < 0.4
FRAME_TIMES = 3.0 + 0.8 * np.arange(K)
SAMPLE_TIMES = np.append(FRAME_TIMES[:-1:2] + GENERATOR.uniform(0, 0.8, K // 2), FRAME_TIMES[[0, -1]])
REPEATED = GENERATOR.standard_normal((7, 4)) @ GENERATOR.standard_normal((4, K))  # 7 rows of rank 4


def sampling_matrix(times):
    return np.stack([np.interp(times, FRAME_TIMES, unit) for unit in np.eye(K)], axis=1)


def averaging_matrix(factor):
    matrix = np.zeros((K // factor, K))
    for row in range(K // factor):
        matrix[row, row * factor : (row + 1) * factor] = 1 / factor
    return matrix


# Operator, shape of x, and the matrix that it stands for.
OPERATORS = {
    "FrameMask": (FrameMask(MEASURED), (K,), np.eye(K)[MEASURED]),
    "FrameMask of all": (FrameMask(np.ones(K, bool)), (K,), np.eye(K)),
    "FrameMask of none": (FrameMask(np.zeros(K, bool)), (K,), np.zeros((0, K))),
    "Mask of entries": (Mask(ENTRIES), (K, V), np.eye(K * V)[ENTRIES.ravel()]),
    "SamplingTimes": (SamplingTimes(FRAME_TIMES, SAMPLE_TIMES), (K,), sampling_matrix(SAMPLE_TIMES)),
    "SamplingTimes, one twice": (
        SamplingTimes(FRAME_TIMES, SAMPLE_TIMES[[0, 0, 3, 9]]),
        (K,),
        sampling_matrix(SAMPLE_TIMES[[0, 0, 3, 9]]),
    ),
    "Averaging": (Averaging(K, 4), (K,), averaging_matrix(4)),
    "Averaging by 1": (Averaging(K, 1), (K,), np.eye(K)),
    "AlongTime, rank-deficient": (AlongTime(REPEATED), (K,), REPEATED),
    "AlongTime, of nothing": (AlongTime(np.zeros((3, K))), (K,), np.zeros((3, K))),
}
ALONG_TIME = [name for name in OPERATORS if name != "Mask of entries"]
ROUNDING = {np.float32: 2e-6, np.float64: 1e-13}


@pytest.fixture(params=OPERATORS)
def case(request):
    return OPERATORS[request.param]


@pytest.fixture(params=ROUNDING, ids=lambda dtype: dtype.__name__)
def dtype(request):
    return request.param


def as_matrix(function, shape, dtype):
    """The matrix of a linear function of arrays of this shape."""
    units = np.eye(int(np.prod(shape)), dtype=dtype)
    columns = [function(unit.reshape(shape)) for unit in units]
    assert all(column.dtype == dtype for column in columns)
    return np.stack([column.ravel() for column in columns], axis=1).astype(np.float64)


@pytest.fixture
def matrices(case, dtype):
    operator, shape, dense = case
    forward = as_matrix(operator.apply, shape, dtype)
    backward = as_matrix(operator.pinv, (len(dense),), dtype) if len(dense) else np.zeros((dense.shape[1], 0))
    return forward, backward, ROUNDING[dtype] * max(np.linalg.norm(backward, 2) if len(dense) else 1, 1) ** 2


def test_apply_is_the_dense_matrix(case, dtype):
    operator, shape, dense = case
    assert np.allclose(as_matrix(operator.apply, shape, dtype), dense, rtol=0, atol=ROUNDING[dtype])


def test_pinv_is_the_dense_pseudo_inverse(case, matrices):
    assert np.allclose(matrices[1], np.linalg.pinv(case[2], rcond=1e-12), rtol=0, atol=matrices[2])


def test_penrose_conditions(matrices):
    forward, backward, tolerance = matrices
    for left, right in (
        (forward @ backward @ forward, forward),
        (backward @ forward @ backward, backward),
        (forward @ backward, (forward @ backward).T),
        (backward @ forward, (backward @ forward).T),
    ):
        assert np.allclose(left, right, rtol=0, atol=10 * tolerance)


def test_adjoint_identity(case, dtype):
    operator, shape, dense = case
    generator = np.random.default_rng(1)
    x = generator.standard_normal(shape).astype(dtype)
    y = generator.standard_normal(len(dense)).astype(dtype)
    scale = np.linalg.norm(dense) * np.linalg.norm(x) * np.linalg.norm(y) + 1
    assert abs(np.vdot(operator.apply(x), y) - np.vdot(x, operator.adjoint(y))) < ROUNDING[dtype] * scale
    assert operator.adjoint(y).dtype == dtype


def test_null_is_a_projector_that_a_cannot_see(case, dtype):
    operator, shape, dense = case
    null = as_matrix(operator.null, shape, dtype)
    tolerance = 100 * ROUNDING[dtype]
    assert np.allclose(null @ null, null, atol=tolerance)
    assert np.allclose(null, null.T, atol=tolerance)
    assert np.allclose(dense @ null, 0, atol=tolerance * max(np.linalg.norm(dense), 1))
    assert np.isclose(np.trace(null), null.shape[0] - np.linalg.matrix_rank(dense), atol=100 * tolerance)


@pytest.mark.parametrize("name", OPERATORS)
def test_impose_agrees_with_the_measurements_and_moves_as_little_as_possible(name, dtype):
    operator, shape, dense = OPERATORS[name]
    generator = np.random.default_rng(2)
    trailing = () if len(shape) == 2 else (300,)
    x, truth = generator.standard_normal((2, *shape, *trailing)).astype(dtype)
    y = operator.apply(truth)
    imposed = operator.impose(x, y)
    assert imposed.dtype == dtype
    assert np.linalg.norm(operator.apply(imposed) - y) <= 1e-5 * np.linalg.norm(y)
    before, after = (z.reshape(dense.shape[1], -1).astype(np.float64) for z in (x, truth))
    closest = before + np.linalg.pinv(dense, rcond=1e-12) @ dense @ (after - before)
    assert np.allclose(imposed.reshape(closest.shape), closest, atol=1e-4 if dtype == np.float32 else 1e-11)
    assert np.allclose(operator.null(imposed), operator.null(x), atol=1e-4)


@pytest.mark.parametrize("operator", [FrameMask(MEASURED), Mask(ENTRIES)])
def test_masks_keep_every_bit(operator, dtype):
    x, truth = np.random.default_rng(3).standard_normal((2, K, V)).astype(dtype)
    truth[MEASURED] *= np.logspace(-30, 30, V)
    imposed = operator.impose(x, operator.apply(truth))
    measured = np.broadcast_to(operator.measured.reshape(K, -1), (K, V))
    assert imposed[measured].tobytes() == truth[measured].tobytes()
    assert imposed[~measured].tobytes() == x[~measured].tobytes()
    assert np.array_equal(operator.apply(operator.null(x)), np.zeros_like(operator.apply(x)))


@pytest.mark.parametrize("name", ALONG_TIME)
def test_along_time_commutes_with_what_acts_on_vertices(name):
    operator, _, dense = OPERATORS[name]
    generator = np.random.default_rng(4)
    x, mix = generator.standard_normal((K, V)), generator.standard_normal((V, 3))
    assert np.allclose(operator.apply(x @ mix), operator.apply(x) @ mix)
    assert np.allclose(operator.apply(x), dense @ x)
    assert np.allclose(operator.matrix, dense)


def test_whole_frames_are_a_special_case_of_entries():
    both = FrameMask(MEASURED), Mask(np.repeat(MEASURED[:, None], V, axis=1))
    x = np.random.default_rng(5).standard_normal((K, V))
    assert np.array_equal(both[0].null(x), both[1].null(x))


def test_integers_are_not_cut_off():
    assert np.allclose(AlongTime(np.full((1, 2), 0.5)).apply(np.array([1, 2])), 1.5)


@pytest.mark.parametrize("times", [[2.9], [FRAME_TIMES[-1] + 0.1], [np.nan]])
def test_samples_outside_the_frames_are_refused(times):
    with pytest.raises(InputError, match="1 of 1 samples lie outside the frames' span 3 to 21.4 s; extend"):
        SamplingTimes(FRAME_TIMES, np.array(times))


def test_one_frame_is_no_grid():
    with pytest.raises(InputError, match="at least 2"):
        SamplingTimes(np.array([1.0]), np.array([1.0]))


@pytest.mark.parametrize("factor", [0, 5])
def test_averages_that_do_not_fit_are_refused(factor):
    with pytest.raises(InputError, match="give a multiple"):
        Averaging(K, factor)
