"""Positions of electrodes by their names."""

import mne
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.montage import Electrodes, positions_by_name, standard_positions
from neuroframes.recording.simulated_sources import make_montage


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


def test_biosemis_labels_match_no_others_among_stores(cap):
    radial = Electrodes(("A1", "B5", "C3", "C4"), np.full((4, 3), np.nan))
    some = Electrodes(("C3", "C4", "FZ"), np.full((3, 3), np.nan))
    assert some.within(radial).channels == radial.within(some).channels == ()
    assert some.within(cap).channels == some.channels
    assert some.interpolation(cap, "eeg").argmax(axis=1).tolist() == [
        cap.channels.index(name) for name in ("C3", "C4", "Fz")
    ]


@pytest.fixture(scope="module")
def cap():
    montage = make_montage(64)
    return Electrodes(tuple(montage.names), montage.positions)


def field(positions, n=200):
    """Potentials (C, n) at electrodes: of charges 3 cm below a scalp of 9.5 cm, each moment others."""
    generator = np.random.default_rng(5)
    places = generator.standard_normal((60, 3))
    places *= 0.065 / np.linalg.norm(places, axis=1, keepdims=True)
    distance = np.linalg.norm(positions[:, None] - np.add(places, [0, 0, 0.04]), axis=2)
    return (1 / distance) @ generator.standard_normal((60, n))


def r_of_each(found, truth):
    return np.array([np.corrcoef(*pair)[0, 1] for pair in zip(found, truth, strict=True)])


def test_other_electrodes_are_interpolated_and_those_of_the_same_name_are_not(cap):
    here = Electrodes(
        ("Cz", "T", *cap.channels[::4]), np.vstack([cap.positions[[47, 0]], cap.positions[::4]])
    )
    here.positions[1] += [0.01, 0.01, 0.01]
    weights = here.interpolation(cap, "eeg")
    assert [cap.channels[row.argmax()] for row in weights[[0, *range(2, 18)]]] == ["Cz", *cap.channels[::4]]
    assert (np.delete(weights, 1, axis=0) ** 2).sum() == 17
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)  # a constant stays what it is


def test_renamed_and_moved_electrodes_are_interpolated_in_whatever_frame(cap):
    generator = np.random.default_rng(0)
    moved = cap.positions + 0.003 * generator.standard_normal((64, 3))
    other = Electrodes(tuple(f"A{n}" for n in range(64)), moved)
    data = field(moved)
    found = cap.interpolation(other, "eeg") @ data
    assert np.median(r_of_each(found, field(cap.positions))) > 0.97
    shifted = Electrodes(other.channels, moved * 1.1 + [0, 0.02, -0.03])
    np.testing.assert_allclose(cap.interpolation(shifted, "eeg") @ data, found, atol=1e-6 * found.std())
    # x to the front, as some programs have it: the channels in common say so
    names = (*cap.channels[:4], *other.channels[4:])
    turned = Electrodes(names, moved[:, [1, 0, 2]] * [1, -1, 1])
    again = cap.interpolation(turned, "eeg") @ data
    assert np.median(r_of_each(again, found)) > 0.99


def test_electrodes_that_cannot_be_interpolated_are_named(cap):
    nowhere = Electrodes(tuple(f"A{n}" for n in range(64)), np.full((64, 3), np.nan))
    with pytest.raises(
        InputError, match=r"eeg: 64 of the 64 channels are missing by name, .* electrodes.tsv"
    ):
        cap.interpolation(nowhere, "eeg")
    assert not cap.within(nowhere).channels and cap.within(cap).channels == cap.channels
    some = Electrodes((*cap.channels[:9], "X"), np.vstack([cap.positions[:9], [[np.nan] * 3]]))
    with pytest.raises(InputError, match="1 of the 10 channels are missing by name, and X can't"):
        some.interpolation(cap, "eeg")
