"""Numbers that are given, checked once."""

import math
from pathlib import Path

import numpy as np
import pytest

import neuroframes as nf
from neuroframes.errors import InputError, check_number


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2)])
def test_numbers_within_the_limits_come_back_as_floats(value):
    number = check_number(value, "--n", above=1, at_least=2, below=3)
    assert type(number) is float and number == 2


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), 2**70])
def test_whole_numbers_come_back_exactly(value):
    number = check_number(value, "--n", at_least=0, whole=True)
    assert type(number) is int and number == value


@pytest.mark.parametrize("value", [2.5, -1, math.inf, math.nan, True, "2"])
def test_all_else_is_no_whole_number(value):
    with pytest.raises(InputError, match="^--n .*; expected a whole number of at least 0$"):
        check_number(value, "--n", at_least=0, whole=True)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (1, "1"),
        (3, "3"),
        (math.nan, "nan"),
        (np.float64("inf"), "inf"),
        (True, "True"),
        ("2", "'2'"),
        (None, "None"),
    ],
)
def test_all_else_is_refused(value, got):
    with pytest.raises(InputError, match=f"^--n {got}; expected a finite number above 1 and below 3$"):
        check_number(value, "--n", above=1, below=3)


@pytest.mark.parametrize("one", ["x", Path("x")])
def test_one_path_is_no_list_of_paths(one, tmp_path):
    out = tmp_path / "out"
    for command in (
        lambda: nf.train(one, out=out),
        lambda: nf.evaluate(one, out=out),
        lambda: nf.benchmark(one, out=out),
        lambda: nf.decode_fit(one, out=out),
        lambda: nf.decode_score("d", one, stimulus="s", out=out),
        lambda: nf.export(one, out=out),
    ):
        with pytest.raises(InputError, match=f"is one {type(one).__name__}; pass a list, also of one"):
            command()
