"""Tables of what frames tell, and the page of stretches, taken apart again."""

import base64
import re

import numpy as np
import pytest

from neuroframes.evaluation.decoding_scores import identify
from neuroframes.evaluation.metrics import WHOLE
from neuroframes.recording.simulated_film import write_film
from neuroframes.recording.store import StoredRun
from neuroframes.recording.video import thumbnails
from neuroframes.report.decoding import (
    LENGTH,
    MOST_FEATURES,
    MOST_STRETCHES,
    NEAREST,
    WIDTH,
    DecodedRun,
    report,
    retrieval_page,
    scores_text,
    summary,
    tidy,
)

TR, FIRST, NAMES = 2.0, 10, ("luminance", "sound <power>", "kind=a", "kind=b")


def decoded(file="measured.tsv", n=60, noise=0.5, run="task-movie_run-2", sources=None, seed=0) -> DecodedRun:
    shown = np.random.default_rng(1).standard_normal((n, len(NAMES))).astype(np.float32)
    told = shown + noise * np.random.default_rng(seed).standard_normal(shown.shape)
    times = 5 + TR * (np.arange(FIRST + n) + 0.5)
    of = StoredRun(
        run, TR, times, np.zeros(len(times), bool), None, 1.0, sources or {"stimulus": []}, {}, NAMES
    )
    found = {"decoded r": 0.5, "decoded r, luminance": 0.7, "decoded r, sound <power>": 0.3}
    found |= {"2-way identification, 4 s": 0.6, "stretches, 4 s": 30.0}
    found |= {
        "2-way identification, 10 s": 0.9,
        "top-1, 10 s": 0.4,
        "top-5, 10 s": 0.8,
        "stretches, 10 s": 12.0,
    }
    found |= {"balanced accuracy, kind": 0.75, "values, kind": 2.0}
    found |= {"decoded r low": 0.31, "decoded r high": 0.66}
    scores = {WHOLE: found, "visual": {"decoded r": 0.6, "decoded r, luminance": 0.8}}
    return DecodedRun(file, "measured", of, FIRST, shown, told.astype(np.float32), scores)


def test_a_summary_has_a_row_for_each_file_with_chance():
    table = summary(tidy([decoded(), decoded("b|c.tsv")]))
    assert list(table.index) == ["measured.tsv", "b|c.tsv"]
    row = table.loc["measured.tsv"]
    assert row["r"] == "0.500 (0.310 to 0.660)" and row["kind"] == "measured" and "p" not in row
    assert row["2-way identification, 10 s"] == "0.90 (0.50)" and row["stretches"] == "12"
    assert row["top-5, 10 s"] == f"0.80 ({5 / 12:.2f})" and row["balanced accuracy, kind"] == "0.75 (0.50)"
    assert not any("4 s" in column for column in table)
    assert max(map(len, scores_text(tidy([decoded()]), 80).splitlines())) <= 80


def test_the_report_has_features_and_regions():
    text = report(tidy([decoded(), decoded("b|c.tsv")]))
    assert "| file | luminance | sound <power> |\n" in text and "| measured.tsv | 0.700 | 0.300 |" in text
    assert "| file | whole | visual |\n" in text and "| b\\|c.tsv | 0.500 | 0.600 |" in text
    many = [f"CLIP {n}" for n in range(MOST_FEATURES + 1)]
    of = decoded()
    of.scores[WHOLE].update({f"decoded r, {name}": 0.1 for name in many})
    assert f"{len(many) + 2} features: see `scores.csv`" in report(tidy([of]))


def test_tidy_has_every_number():
    of = decoded()
    table = tidy([of])
    assert len(table) == sum(map(len, of.scores.values()))
    without = {"stretches, 4 s", "stretches, 10 s", "values, kind", "decoded r low", "decoded r high"}
    assert {*table["metric"][table["chance"].isna()]} == without


def rows(page: str) -> list[list[list[str]]]:
    """Classes of the pictures in each cell of each row."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    cells = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    return [[re.findall(r'class="([^"]*)"', cell) for cell in row[1:]] for row in cells]


def test_each_row_has_what_was_shown_and_the_nearest_of_each_file():
    files = [decoded(), decoded("noisy <b>.tsv", noise=3, seed=2)]
    page = retrieval_page(files, NAMES, TR)
    assert "http" not in page.replace("http://www.w3.org", "") and "noisy &lt;b&gt;.tsv" in page
    found = rows(page)
    assert [len(row) for row in found] == [1 + len(files)] * len(found)
    for number, of in enumerate(files, 1):
        known = np.ones(len(of.shown), bool)
        told = identify([of.shown], [of.decoded], [known], TR, LENGTH)
        starts = told.start[:, 1]
        assert [row[0] for row in found] == [[f"s{first}"] for first in starts]
        for row, first, nearest in zip(found, starts, told.nearest(NEAREST), strict=True):
            expected = [f"s{at} own" if at == first else f"s{at}" for at in starts[nearest]]
            assert row[number] == expected
    assert "0:20" in page  # the first stretch begins at frame 10


def test_without_a_film_features_are_bars_of_their_means():
    page = retrieval_page([decoded()], NAMES, TR)
    assert "No film is there: bars are features, from above luminance, sound &lt;power&gt;" in page
    images = re.findall(r"image/svg\+xml;base64,([^)]+)\)", page)
    assert len(images) == 12
    assert all(base64.b64decode(of).count(b"<rect") == len(NAMES) for of in images)
    wide = [re.findall(r"width='([\d.]+)'", base64.b64decode(of).decode()) for of in images]
    np.testing.assert_allclose(np.square(np.array(wide, float)).mean(axis=0), 18**2, rtol=0.02)


def test_films_show_the_picture_in_the_middle_of_each_stretch(tmp_path):
    pytest.importorskip("av")
    film, events = tmp_path / "a.mp4", tmp_path / "eeg" / "x_events.tsv"
    n, onset = 25, 3.0
    write_film(film, np.array([[-1, 0, 0], [40, 1.5, 0], [60, -1.5, 0]], float), 80.0)
    events.parent.mkdir()
    events.write_text(f"onset\tduration\tstim_file\n{onset}\t80\ta.mp4\n")
    sources = {"eeg": str(events.parent / "x_eeg.vhdr"), "stimulus": [str(events), str(film)]}
    page = retrieval_page([decoded(n=n, sources=sources)], NAMES, TR)
    assert "Pictures of the film." in page
    found = {
        int(first): base64.b64decode(of)
        for first, of in re.findall(r"\.s(\d+)\{.*?jpeg;base64,([^)]+)\)", page)
    }
    # Frame k is acquired from 5 + 2 k s on.
    middle = {first: 5 + TR * (FIRST + first) + LENGTH / 2 - onset for first in found}
    assert [*found] == [0, 5, 10, 15, 20]
    assert [*found.values()] == thumbnails(film, [*middle.values()], WIDTH)


def test_long_runs_and_short_ones():
    n = 5 * (MOST_STRETCHES + 30)
    page = retrieval_page([decoded(n=n)], NAMES, TR)
    assert len(rows(page)) == MOST_STRETCHES and f"{MOST_STRETCHES} of {n // 5} stretches." in page
    assert len(page) < 1_000_000
    page = retrieval_page([decoded(n=n), decoded("short.tsv", n=12, run="task-movie_run-3")], NAMES, TR)
    assert len(rows(page)) == MOST_STRETCHES // 2 and "Too few stretches of 10 s" in page


def test_stretches_that_a_file_lacks_have_no_nearest_ones_of_it():
    short, long = decoded("short.tsv"), decoded("long.tsv")
    short.shown[30:] = np.nan
    found = rows(retrieval_page([short, long], NAMES, TR))
    assert [len(row[1]) for row in found] == [NEAREST] * 6 + [0] * 6
    assert [len(row[2]) for row in found] == [NEAREST] * 12
