"""Which picture of which film a prepared run showed."""

from pathlib import Path

import numpy as np
import pytest

from neuroframes.recording.stimulus import films_at

FIRST, TR = 12.0, 2.0  # of a run's first frame, its centre on the EEG clock


@pytest.fixture
def sources(tmp_path):
    """Events of two films, on the EEG clock where they are beside the EEG, or else on the scanner's."""

    def make(folder: str) -> dict:
        events = tmp_path / folder / "sub-01_task-movie_events.tsv"
        films = [tmp_path / "stimuli" / name for name in ("a.mp4", "more/b.mp4")]
        for path in (events, *films):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        rows = ["onset\tduration\tstim_file", "20\t30\ta.mp4", "n/a\t1\tn/a", "60\t30\tmore/b.mp4"]
        events.write_text("\n".join(rows) + "\n")
        stimulus = [str(of) for of in (events, *films)]
        return {"eeg": str(tmp_path / "eeg/sub-01_task-movie_eeg.vhdr"), "stimulus": stimulus}

    return make


@pytest.mark.parametrize(("folder", "start"), [("eeg", 0.0), ("func", FIRST - TR / 2)])
def test_the_film_that_began_last_runs(sources, folder, start):
    found = films_at(sources(folder), start + np.array([21.5, 20.0, 59.0, 75.0]), FIRST, TR)
    assert [film.name for film, _ in found] == ["a.mp4", "a.mp4", "a.mp4", "b.mp4"]
    assert [at for _, at in found] == pytest.approx([1.5, 0, 39, 15])


def test_there_is_none_where_it_has_gone_or_has_not_begun(sources):
    of = sources("eeg")
    assert films_at(of, np.array([30.0, 19.0]), FIRST, TR) is None
    assert films_at(of | {"stimulus": []}, np.array([30.0]), FIRST, TR) is None
    assert films_at(of | {"stimulus": ["/shown/task-movie.tsv"]}, np.array([30.0]), FIRST, TR) is None
    Path(of["stimulus"][-1]).unlink()
    assert films_at(of, np.array([30.0]), FIRST, TR) is None
