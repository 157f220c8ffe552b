"""Which events are volume triggers: told by their spacing, or refused by name and place."""

import mne
import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.recording.triggers import volume_triggers

TR, RATE = 2.0, 250
VOLUMES = 3.0 + TR * np.arange(40)
EVERY = np.ones(40, bool)


def raw_of(events=None, stim=None):
    """100 s of EEG whose annotations are of these times by name, beside a trigger channel of these values."""
    n = 100 * RATE
    names, kinds, data = ["Cz"], ["eeg"], [np.zeros(n)]
    if stim is not None:
        names, kinds, data = [*names, "STI"], [*kinds, "stim"], [*data, stim]
    raw = mne.io.RawArray(np.array(data), mne.create_info(names, RATE, kinds), verbose="ERROR")
    at = [(time, name) for name, times in (events or {}).items() for time in np.atleast_1d(times)]
    return raw.set_annotations(mne.Annotations([t for t, _ in at], [0] * len(at), [n for _, n in at]))


def found(raw, trigger="auto", tr=TR, table=None, note="", acquired=EVERY):
    return volume_triggers(raw, trigger, tr, "rec.vhdr", acquired=acquired, table=table, note=note)


def without(times, *numbers):
    return np.delete(times, numbers)


@pytest.mark.parametrize("name", ["R128", "Stimulus/S  1", "T  1", "TR", "Response/R  9", "256"])
def test_one_that_is_missing_is_refused_by_name_and_place(name):
    np.testing.assert_allclose(found(raw_of({name: VOLUMES})), VOLUMES)
    for trigger in ("auto", name):
        with pytest.raises(
            InputError,
            match=rf"^rec.vhdr: the 39 events '{name}' .* 1 missing between 51.000 and 55.000 s.*set 3.000",
        ):
            found(raw_of({name: without(VOLUMES, 25)}), trigger)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (np.sort([*VOLUMES, 30.4]), "one too many at 30.400 s;"),
        (np.sort([0.3, *VOLUMES]), "one too many at 0.300 s;.*--onset 3.000"),
        (np.sort([*VOLUMES, 5.004]), "one too many at 5.004 s;"),
        (
            without(VOLUMES, 4, 5, 20),
            "2 missing between 9.000 and 15.000 s, 1 missing between 41.000 and 45.000",
        ),
        (VOLUMES + 0.7 * (VOLUMES > 50), "a pause of 2.700 s after 49.000 s;"),
        (np.concatenate([VOLUMES[:15], VOLUMES[:20] + 45.3]), "a pause of 17.300 s after 31.000 s"),
    ],
)
def test_what_does_not_follow_the_tr_is_said(times, said):
    with pytest.raises(InputError, match=said):
        found(raw_of({"S  1": times}))


@pytest.mark.parametrize("name", ["R128", "256"])
def test_triggers_pause_where_the_run_does(name):
    acquired = ~np.isin(np.arange(40), [9, *range(12, 30)])
    times = VOLUMES[acquired]
    for trigger in ("auto", name):
        np.testing.assert_array_equal(found(raw_of({name: times}), trigger, acquired=acquired), times)
        of_run = acquired[1:]  # the first volume is a dummy scan
        np.testing.assert_array_equal(found(raw_of({name: times}), trigger, acquired=of_run), times)
        lost = without(times, 15)
        with pytest.raises(InputError, match=r"1 missing between .* 19 are to be missing\)"):
            found(raw_of({name: lost}), trigger, acquired=acquired)
        np.testing.assert_array_equal(found(raw_of({"R128": lost}), acquired=None), lost)


def test_a_gap_of_the_recording_is_said_too():
    with pytest.raises(InputError, match=r"1 missing .* s \(the EEG isn't continuous: here\);"):
        found(raw_of({"R128": without(VOLUMES, 25)}), note=" (the EEG isn't continuous: here)")


def test_stimuli_at_the_grid_of_volumes_are_no_triggers():
    stimuli = VOLUMES[np.random.default_rng(0).random(40) < 0.5]
    assert found(raw_of({"S  1": stimuli, "button": [7.1, 22.9]})).size == 0
    np.testing.assert_allclose(found(raw_of({"S  1": stimuli, "S  2": VOLUMES})), VOLUMES)


@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_of_one_a_slice_every_nth_begins_a_volume(caplog, pause):
    n = 12
    slices = (VOLUMES[:, None] + (TR - pause) / n * np.arange(n)).ravel()
    np.testing.assert_allclose(found(raw_of({"R128": slices})), VOLUMES)
    assert "the 480 events 'R128' come 12 times every TR of 2 s, as slices do" in caplog.text
    np.testing.assert_allclose(found(raw_of({"S  5": slices}), "S  5"), VOLUMES)
    with pytest.raises(InputError, match=r"480 events 'S  5' follow the TR .* by chance; .*--trigger 'S  5'"):
        found(raw_of({"S  5": slices}))
    with pytest.raises(
        InputError, match=r"479 events 'R128'.* of 12 a TR some are missing or too many after"
    ):
        found(raw_of({"R128": without(slices, 200)}))
    with pytest.raises(InputError, match=r"479 events 'R128'.* of 12 a TR 11 are left over"):
        found(raw_of({"R128": slices[:-1]}))
    if pause:
        with pytest.raises(InputError, match="of 12 a TR there are 9 before the first pause"):
            found(raw_of({"R128": slices[3:]}))


def test_buttons_on_the_trigger_channel():
    stim = np.zeros(100 * RATE)
    for time in VOLUMES:
        stim[round(time * RATE) : round(time * RATE) + 5] += 1
    for press in (6.4, 11.0, 22.98, 41.004):
        stim[round(press * RATE) : round((press + 0.3) * RATE)] += 2
    np.testing.assert_allclose(found(raw_of(stim=stim)), VOLUMES)
    with pytest.raises(InputError, match="38 events 'STI/1'"):
        found(raw_of(stim=stim), "STI/1")


def test_the_clock_of_a_sync_box_is_not_taken_for_volumes():
    raw = raw_of({"SyncStatus/Sync On": VOLUMES})
    with pytest.raises(InputError, match=r"40 events 'SyncStatus/Sync On' .* --trigger 'SyncStatus/Sync On'"):
        found(raw)
    np.testing.assert_allclose(found(raw, "Sync On"), VOLUMES)
    np.testing.assert_allclose(found(raw_of({"Sync On": VOLUMES, "R128": VOLUMES + 0.4})), VOLUMES + 0.4)


def test_one_set_of_two_that_fits_is_used():
    other = VOLUMES + 0.4
    np.testing.assert_allclose(found(raw_of({"S  1": VOLUMES, "S  2": without(other, 9)})), VOLUMES)
    np.testing.assert_allclose(found(raw_of({"S  1": VOLUMES, "S  2": VOLUMES})), VOLUMES)
    with pytest.raises(InputError, match=r"more than one kind .*'S  1' \(40 times\), 'S  2' \(40 times\)"):
        found(raw_of({"S  1": VOLUMES, "S  2": other}))
    np.testing.assert_allclose(found(raw_of({"scanner": 2.0, "S  1": VOLUMES})), VOLUMES)


def test_a_single_event_is_the_first_volume_s_by_its_name():
    assert found(raw_of({"R128": 3.0})).tolist() == found(raw_of({"S  1": 3.0}), "S  1").tolist() == [3.0]
    with pytest.raises(
        InputError, match=r"its only event, 'S  1' at 3.000 s, .* pass --trigger 'S  1', else"
    ):
        found(raw_of({"S  1": 3.0}))
    assert found(raw_of({"S  1": 3.0, "S  2": 4.0})).size == found(raw_of({"S  1": 0.0})).size == 0


def test_events_tsv_has_what_the_markers_lack(tmp_path, caplog):
    caplog.set_level("INFO")
    table = tmp_path / "sub-01_events.tsv"
    lines = [f"{time}\t0\tscan\t1" for time in VOLUMES] + ["n/a\t0\tscan\t1", "4.5\t0\tn/a\tn/a"]
    table.write_text("\n".join(["onset\tduration\ttrial_type\tvalue", *lines]) + "\n")
    for raw in (raw_of(), raw_of({"S  1": without(VOLUMES, 7)})):
        np.testing.assert_allclose(found(raw, table=table), VOLUMES)
    assert "sub-01_events.tsv: the volume triggers are the events" in caplog.text
    np.testing.assert_allclose(found(raw_of(), "scan", table=table), VOLUMES)
    np.testing.assert_allclose(found(raw_of({"R128": VOLUMES + 0.1}), table=table), VOLUMES + 0.1)
    with pytest.raises(InputError, match=r"no event is called 'x'; events here: .*'scan' \(40 times\)"):
        found(raw_of(), "x", table=table)
    table.write_text("time\ttrial_type\n1\tscan\n")
    with pytest.raises(InputError, match="^sub-01_events.tsv: no column onset"):
        found(raw_of(), table=table)
