"""Positions of electrodes by their names."""

import mne
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.montage import positions_by_name, standard_positions


def test_standard_positions_are_mnes_whatever_the_case_of_a_name():
    found = standard_positions(["Oz", "FPZ", "cz"])
    name = {"colin27_1005", "standard_1005"} & set(mne.channels.get_builtin_montages())
    known = mne.channels.make_standard_montage(max(name)).get_positions()["ch_pos"]
    np.testing.assert_array_equal(found, [known[name] for name in ("Oz", "Fpz", "Cz")])


def test_an_electrode_without_a_position_is_nan():
    table = {"A ": np.array([0.1, 0, 0]), "B": np.zeros(3), "C": np.array([np.nan, 0, 0])}
    positions = positions_by_name(["a", "B", "C", "D"], table)
    np.testing.assert_array_equal(positions[0], [0.1, 0, 0])
    assert np.isnan(positions[1:]).all() and positions_by_name([], table).shape == (0, 3)


@pytest.mark.parametrize("names", [["Fz", "EEG 7"], []])
def test_names_of_no_standard_electrode_are_refused(names):
    with pytest.raises(
        InputError, match=f"{len(names[1:])} of {len(names)} channels have no standard position"
    ):
        standard_positions(names)
