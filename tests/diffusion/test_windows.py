from itertools import pairwise

import pytest
import torch

from neuroframes.diffusion.windows import Windows
from neuroframes.errors import InputError

CASES = [(100, 20, 5), (101, 20, 19), (97, 32, 0), (20, 20, 5), (7, 20, 5), (1, 20, 5), (21, 20, 5)]


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return request.param


def test_weights_sum_to_1_at_every_frame(case):
    windows = Windows.over(*case)
    total = torch.zeros(case[0], dtype=torch.float64)
    for window, weights in zip(windows.slices, windows.weights, strict=True):
        total[window] += weights
    assert torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-14)
    assert (windows.weights > 0).all()


def test_windows_have_one_length_and_overlap_as_asked(case):
    n_frames, length, overlap = case
    slices = Windows.over(*case).slices
    assert slices[0].start == 0 and slices[-1].stop == n_frames
    assert {window.stop - window.start for window in slices} == {min(length, n_frames)}
    shared = [left.stop - right.start for left, right in pairwise(slices)]
    assert all(n >= overlap for n in shared)
    # No more of them than it takes.
    assert len(slices) == 1 or length + (len(slices) - 2) * (length - overlap) < n_frames


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_blend_of_the_identity_is_the_identity(case, dtype):
    windows = Windows.over(*case)
    x = torch.randn(2, 3, case[0], 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    pieces = [x[..., window, :] for window in windows.slices]
    for blended in (windows.blend(iter(pieces)), windows.blend(torch.stack(pieces))):
        assert blended.dtype == dtype
        assert torch.allclose(blended, x, rtol=1e-6 if dtype == torch.float32 else 1e-14, atol=0)


def test_a_run_shorter_than_a_window_is_one_window():
    windows = Windows.over(7, 20, 5)
    assert windows.slices == (slice(0, 7),)
    assert torch.equal(windows.weights, torch.ones(1, 7, dtype=torch.float64))


def test_the_blend_changes_smoothly_from_one_window_to_the_next():
    windows = Windows.over(50, 30, 10)
    zero_then_one = torch.stack([torch.full((30, 1), float(w)) for w in range(2)])
    blended = windows.blend(zero_then_one)[:, 0]
    assert (blended[:20] == 0).all() and (blended[30:] == 1).all()
    assert (blended.diff() >= 0).all() and blended.diff().max() < 2.5 / 10


@pytest.mark.parametrize("wrong", [(0, 20, 5), (100, 20, 20), (100, 20, -1)])
def test_what_cannot_be_cut_is_refused(wrong):
    with pytest.raises(InputError, match="can't be cut into windows"):
        Windows.over(*wrong)
