"""Tables as text, numbers out of them, and tables that can't be read."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroframes.errors import InputError
from neuroframes.recording.tsv import numbers, read_lines, read_tsv


def table(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_text_stays_as_it_is_written(tmp_path):
    path = table(
        tmp_path / "a.tsv", b'\xef\xbb\xbfname\t x \r\nn/a\t0.50\r\n\r\n"1\t2"\t\r\n\xc2\xb5V\t007\r\n'
    )
    read = read_tsv(path)
    assert list(read) == ["name", "x"]
    assert read["name"].tolist() == ["n/a", "1\t2", "µV"] and read["x"].tolist() == ["0.50", "", "007"]


def test_numbers_are_those_that_python_reads(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal(1000) * 10.0 ** rng.integers(-30, 30, 1000)
    path = table(tmp_path / "a.tsv", ("x\n" + "\n".join(map(repr, values.tolist()))).encode())
    assert numbers(path, read_tsv(path), "x").tolist() == values.tolist()
    path = table(tmp_path / "a.tsv", b"x\ty\nn/a\t1\n N/A \t1\n\t1\nnan\t1\n 2.5\t1")
    np.testing.assert_array_equal(numbers(path, read_tsv(path), "x"), [np.nan] * 4 + [2.5])


@pytest.mark.parametrize("entry", ["inf", "-Infinity", "1,5", "True", "NA", "0x1"])
def test_entries_that_are_no_numbers_are_named(tmp_path, entry):
    path = table(tmp_path / "a.tsv", f"x\n1\nn/a\n{entry}\n".encode())
    with pytest.raises(InputError, match=f"a.tsv: column x, line 4: expected a number or n/a, got '{entry}'"):
        numbers(path, read_tsv(path), "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a table: it is empty"),
        (b"\n \n", "not a table: it is empty"),
        (b"a\tb\n1\t\xe9\n", "not a table of text in UTF-8 .*; save it as UTF-8"),
        ("a\tb\n1\t2\n".encode("utf-16") + b"\n", "not a table of text in UTF-8 .*truncated"),
        ("a\tb\n1\t2\n".encode("utf-16-le"), "it holds NUL bytes"),
        (b"a\tb\n1\t\x002\n", "it holds NUL bytes"),
        (b"a,b\n1,2\n", "commas between fields, expected tabs; export it with tabs"),
        (b"a;b\n0,1;2\n", "semicolons between fields, expected tabs"),
        (b"a b\n1 2", "blanks between fields, expected tabs"),
        (b"1," * 70_000, "commas between fields, expected tabs"),
        (b"a\tb\n1\t" + b"0" * 131_073 + b"\n", "not a table of tab-separated text .*131072"),
        (b"a\tb\n1\t2\t3\n", "Expected 2 fields in line 2, saw 3"),
        (b"a\tb\n1\t2\n3\n4\t5\n", "line 3 has 1 fields but the first has 2; .* copy it again"),
        (b'a\tb\n1\t"2\n3\t4\n', "not a table of tab-separated text"),
        (b"a\tb\ta \n1\t2\t3\n", "more than one column is called 'a'"),
    ],
    ids=[
        *(
            "empty",
            "blank",
            "Latin-1",
            "half UTF-16",
            "UTF-16 unmarked",
            "NUL",
            "comma",
            "semicolon",
            "space",
        ),
        *("long line of commas", "long field", "long line", "cut", "quote", "twice"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, content, message):
    with pytest.raises(InputError, match=f"a.tsv: .*{message}|a.tsv: {message}"):
        read_tsv(table(tmp_path / "a.tsv", content))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_what_spreadsheets_write(tmp_path, encoding, end):
    path = table(tmp_path / "a.tsv", f"\u00b5V\tb{end}1\tx,y{end}".encode(encoding))
    assert read_tsv(path).to_dict("list") == {"\u00b5V": ["1"], "b": ["x,y"]}


def test_decimal_commas_are_refused(tmp_path):
    path = table(tmp_path / "a.tsv", b"x\ty\n0,5\t1\n")
    with pytest.raises(InputError, match="got '0,5'; export it with decimal points"):
        numbers(path, read_tsv(path), "x")
    path = table(tmp_path / "a.csv", b"0,5;1,5\n1,5;2,5\n")
    with pytest.raises(InputError, match="semicolons between fields, expected commas; export it with commas"):
        read_lines(path, ",")


def test_a_table_that_is_not_there(tmp_path):
    for path in (tmp_path / "absent.tsv", tmp_path):
        with pytest.raises(InputError, match="no such file|: a folder; pass a table"):
            read_tsv(path)


FIELD = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters='"'), min_size=1, max_size=8)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tables") / "a.tsv"


@given(
    st.lists(FIELD, min_size=2, max_size=5, unique=True).flatmap(
        lambda names: st.tuples(
            st.just(names), st.lists(st.lists(FIELD, min_size=len(names), max_size=len(names)))
        )
    ),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n"]),
)
def test_a_table_is_read_as_it_was_written_in_every_encoding(file, written, encoding, end):
    names, rows = written
    file.write_bytes(end.join("\t".join(row) for row in [names, *rows]).encode(encoding))
    read = read_tsv(file)
    assert [*read] == names and read.to_numpy().tolist() == rows


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_numbers_are_read_to_the_bit(file, values):
    file.write_text("x\ty\n" + "\n".join(f"{'n/a' if v is None else repr(v)}\t0" for v in values))
    read = numbers(file, read_tsv(file), "x")
    np.testing.assert_array_equal(read, [np.nan if v is None else v for v in values])


@given(st.binary(max_size=60) | st.text("ab1 \t,;\n\r\"'", max_size=60).map(str.encode))
def test_whatever_a_file_holds_is_a_table_of_text_or_refused(file, content):
    file.write_bytes(content)
    try:
        table = read_tsv(file)
    except InputError as error:
        assert file.name in str(error)
    else:
        assert table.columns.is_unique
        assert all(isinstance(entry, str) for entry in [*table, *table.to_numpy().ravel()])
