"""Files that the libraries which read them can't read: what these raise, and what is said of it."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.parsers.expat import ExpatError
from zipfile import BadZipFile

from nibabel.cifti2 import Cifti2HeaderError
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError

from neuroframes.errors import InputError, said

UNREADABLE = (
    *(OSError, ValueError, EOFError, LookupError, OverflowError, TypeError, MemoryError),
    RuntimeError,  # zipfile's, of encryption and methods of compression that it doesn't know
    *(AttributeError, AssertionError),  # nibabel's, of XML that isn't as its parsers take it to be
    *(zlib.error, BadZipFile, ExpatError, ImageFileError, HeaderDataError, ImageDataError, Cifti2HeaderError),
)


@contextmanager
def reading(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Raise InputError of `path`, `what` is wrong and the `remedy`, where a library can't read it."""
    try:
        yield
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path.name}: {what} ({said(error)}); {remedy}") from error
