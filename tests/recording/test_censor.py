"""Which frames tables of 0 and 1 leave out, whatever program wrote them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroframes.errors import InputError
from neuroframes.recording.censor import read_censor

BAD = np.isin(np.arange(12), (3, 4, 9))


def table(path: Path, text: str) -> Path:
    path.write_text(text.replace(" ", "\t") + "\n")
    return path


def saved(path: Path, values: np.ndarray, **settings) -> Path:
    np.savetxt(path, values, **{"fmt": "%d", "comments": "", **settings})
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0\n1\n0",
        "censored\n0\n1\n0",
        "a censored\n9 0\n9 1\n9 0",
        "Framewise_Displacement x\n0 1\n1 1\n0 1",
        "framewise_displacement censor_between denoising\n0 0 0\n0 1 1\n0 0 0",
        "framewise_displacement dvars interpolation exact_1\n0 0 0 1\n0 0 1 0\n0 0 0 0",
        "framewise_displacement censored\n9.5 0\n0.1 1\nn/a 0",
        "framewise_displacement motion_outlier00 csf\n9.5 0 3\n0.1 1 2\nn/a 0 1",
        "motion_outlier00 non_steady_state_outlier00\n0 0\n1 1\n0 0",
        "censored\nFalse\nTrue\nFalse",
        "keep\n1\n0\n1",
        "Kept\n1\n0\n1",
        "tmask\n1\n0\n1",
        "index censor\n7 1\n8 0\n9 1",
        "censor-tr\n0\n1\n0",
        "outlier keep\n0 1\n1 0\n0 1",
    ],
)
def test_the_name_says_whether_1_is_kept(tmp_path, text):
    assert read_censor(table(tmp_path / "censor.tsv", text), 3).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["mask.1D", "mask.1d"])
def test_afni_keeps_1(tmp_path, name, caplog):
    caplog.set_level("INFO")
    path = saved(tmp_path / name, ~BAD, header="1d_tool.py -censor_motion 0.3", comments="# ")
    assert read_censor(path, 12).tolist() == BAD.tolist()
    assert "column_1 = 0 means left out, 3 of 12 frames" in caplog.text


@pytest.mark.parametrize("header", ["", "mask"])
def test_a_column_without_a_clear_name_is_warned_of(tmp_path, header, caplog):
    path = saved(tmp_path / "mask.tsv", BAD, header=header)
    assert read_censor(path, 12).tolist() == BAD.tolist()
    assert f"1 in {header or 'column_1'} is taken to mean left out; let its first line call" in caplog.text
    caplog.clear()
    read_censor(saved(path, BAD, header="censored"), 12)
    read_censor(saved(path, ~BAD, header="tmask"), 12)
    assert "WARNING" not in caplog.text


def test_c_pac_keeps_1_and_what_means_the_opposite_is_refused(tmp_path):
    assert read_censor(saved(tmp_path / "c.tsv", ~BAD, header="censor"), 12).tolist() == BAD.tolist()
    for name in ("censor", "tmask"):
        path = saved(tmp_path / "censor.tsv", BAD, header=name)
        with pytest.raises(InputError, match=f"if {name} = 0 means left out, 9 of 12 .* 'keep'.*'censored'"):
            read_censor(path, 12)


@pytest.mark.parametrize(
    "settings", [{}, {"header": "mask"}, {"header": "censor_tr"}, {"header": "non_outlier"}, {"fmt": "%.18e"}]
)
def test_a_column_that_leaves_out_most_frames_is_refused_until_it_is_named(tmp_path, settings):
    path = saved(tmp_path / "mask.tsv", ~BAD, **settings)
    with pytest.raises(InputError, match="9 of 12 frames are; let its first line call the column"):
        read_censor(path, 12)
    values = path.read_text().splitlines()[-12:]
    for name, expected in (("keep", BAD), ("censored", ~BAD)):  # the remedy
        path.write_text("\n".join([name, *values]))
        assert read_censor(path, 12).tolist() == expected.tolist()


@pytest.mark.parametrize("delimiter", ["\t", " ", "  ", ",", ";", ", "])
@pytest.mark.parametrize("fmt", ["%d", "%.18e", "%g "])
@pytest.mark.parametrize("header", ["", "a b c", "# a b c"])
def test_one_hot_columns_with_and_without_names(tmp_path, delimiter, fmt, header):
    path = tmp_path / "spikes.txt"
    columns = np.eye(12)[:, BAD]
    header = delimiter.join(header.replace("# ", "#").split())
    saved(path, columns, fmt=fmt, delimiter=delimiter, **({"header": header} if header else {}))
    assert read_censor(path, 12).tolist() == BAD.tolist()


def test_pandas_and_single_rows_and_numbers_of_other_formats(tmp_path):
    path = tmp_path / "mask.csv"
    for written in (pd.Series(BAD, name="censored"), pd.DataFrame({"censored": BAD.astype(float)})):
        written.to_csv(path)
        assert read_censor(path, 12).tolist() == BAD.tolist()
    pd.DataFrame(np.eye(12, dtype=int)[:, BAD]).to_csv(path, index=False)
    assert read_censor(path, 12).tolist() == BAD.tolist()
    for settings in ({}, {"fmt": "%.18e", "delimiter": ","}):
        assert read_censor(saved(path, BAD[None], **settings), 12).tolist() == BAD.tolist()
    path.write_text(saved(path, BAD).read_text(), "utf-16", newline="\r\n")
    assert read_censor(path, 12).tolist() == BAD.tolist()


@pytest.mark.parametrize(
    ("text", "n_frames", "message"),
    [
        ("censored\n0\n0.3", 2, r"censored, frame 1 has '0.3'; expected 0 or 1; .*--confounds"),
        ("framewise_displacement\nn/a\n0.3", 2, "frame 0 has 'n/a'.*--confounds"),
        ("3\n4\n9", 3, "frame 0 has '3'; expected 0 or 1.*--frames"),
        ("censored\n0\n", 2, "1 lines but the BOLD has 2 frames"),
        ("0\n1", 3, "2 lines but the BOLD has 3 frames"),
        ("0\n0\n1\n0", 3, "4 lines but the BOLD has 3 frames"),
        ("a b\n0 1\n0 1", 2, "which of its 2 columns .a, b.* 'keep' .*'censored'"),
        ("0 0\n1 1\n2 0", 3, "which of its 2 columns .column_1, column_2"),
        ("censored censored\n0 1", 1, "more than one column is called 'censored'"),
        ("censored b\n0 1\n0", 2, "line 3 has 1 fields but the first has 2"),
        ("# nothing", 2, "nothing but comments"),
        ("", 3, "empty"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, n_frames, message):
    with pytest.raises(InputError, match=f"mask.tsv: .*{message}|mask.tsv: {message}"):
        read_censor(table(tmp_path / "mask.tsv", text), n_frames)


def test_a_table_that_is_not_there(tmp_path):
    for path in (tmp_path / "absent.tsv", tmp_path):
        with pytest.raises(InputError, match="no such file|: a folder; pass a table"):
            read_censor(path, 3)


MARKS = st.lists(st.booleans(), min_size=1, max_size=40)
NUMBERS = [
    ("0", "1"),
    ("0.0", "1.0"),
    ("0.000000000000000000e+00", "1.000000000000000000e+00"),
    ("False", "TRUE"),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("masks") / "mask.tsv"


@given(
    MARKS,
    st.sampled_from(NUMBERS),
    st.sampled_from(["\t", ",", ";", " ", "   "]),
    st.sampled_from([("censored", False), ("Motion_Outlier00", False), ("keep", True), ("retained", True)]),
    st.integers(0, 2),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_named_column_says_the_same_in_every_format(file, marks, numbers, separator, named, n_before, end):
    name, keeps = named
    rows = [[f"other{i}" for i in range(n_before)] + [name]]
    rows += [["7"] * n_before + [numbers[mark != keeps]] for mark in marks]
    file.write_bytes(end.join(separator.join(row) for row in rows).encode())
    assert read_censor(file, len(marks)).tolist() == marks


@given(st.data(), st.integers(3, 40), st.sampled_from(NUMBERS), st.sampled_from("\t, ;"))
def test_one_hot_columns_leave_out_the_frames_of_their_ones(file, data, n_frames, numbers, separator):
    columns = data.draw(st.lists(st.none() | st.integers(0, n_frames - 1), min_size=2, max_size=9))
    rows = [separator.join(numbers[frame == at] for at in columns) for frame in range(n_frames)]
    file.write_text("\n".join(rows))
    assert np.flatnonzero(read_censor(file, n_frames)).tolist() == sorted({*columns} - {None})


@given(MARKS, st.sampled_from(["", "mask\n", "censor\n", "tmask\n"]))
def test_a_column_without_a_clear_name_never_leaves_out_most_frames(file, marks, header):
    file.write_text(header + "\n".join(str(int(mark)) for mark in marks))
    keeps = header in ("censor\n", "tmask\n")
    expected = np.array(marks) != keeps
    if expected.mean() > 0.5:
        with pytest.raises(InputError, match="means left out"):
            read_censor(file, len(marks))
    else:
        assert read_censor(file, len(marks)).tolist() == expected.tolist()


@given(st.binary(max_size=60) | st.text("01 \t,;.#ncek\n\"'", max_size=60).map(str.encode), st.integers(1, 6))
def test_whatever_a_file_holds_is_a_mask_of_the_run_or_refused(file, content, n_frames):
    file.write_bytes(content)
    try:
        left_out = read_censor(file, n_frames)
    except InputError as error:
        assert file.name in str(error)
    else:
        assert left_out.shape == (n_frames,) and left_out.dtype == bool
