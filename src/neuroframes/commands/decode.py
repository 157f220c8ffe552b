"""How much frames tell of what was shown: decoders fitted to a store, and other frames scored by them."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuroframes.errors import InputError, check_list, check_number, listed
from neuroframes.files import refuse_existing, writes_alone, written_whole
from neuroframes.threads import few_threads

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@few_threads
@writes_alone
def decode_fit(
    stores: Sequence[Path],
    *,
    out: Path,
    test_fraction: float | None = None,
    test_session: str | None = None,
    gap: float | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Fit decoders that tell from measured frames what was shown, of one person or several.

    One decoder is of the whole cortex, on fsLR-32k others of its regions. Of several people runs of the same
    name are taken to have shown the same, at the same time after their first frame, and the same is held out
    of everybody's.

    Parameters
    ----------
    stores : paths
        What prepare --stimulus wrote for one person, or for each of several.
    out : path
        Folder of the decoder.
    test_fraction : float
        Share of the recording, at its end, that is held out for decode score; by default a quarter, 0 uses
        everything. Hold out what train held out of the model whose frames are to be scored.
    test_session : str
        Labels of sessions (BIDS `ses-`), comma-separated, that are held out in place of the end.
    gap : float, seconds
        Time that is left out between what is fitted to and what is held out of one run; by default 40.
    seed : int
        Seed of the penalties that are tried.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If a store has no stimulus, stores differ in its features, TR or space, too little is left to fit to,
        himalaya isn't installed, or `out` exists.
    """
    from neuroframes.commands.decoding import fit_to
    from neuroframes.recording.segments import split_of
    from neuroframes.recording.store import open_store

    check_list(stores, "stores")
    out, paths = Path(out), [Path(store) for store in stores]
    refuse_existing(out, overwrite, folder="decoder.json", inputs=paths)
    seed = int(check_number(seed, "--seed", at_least=0, below=2**32, whole=True))
    if not paths:
        raise InputError(
            "no store; pass what prepare --stimulus wrote for one person, or for each of several"
        )
    stated: dict[str, Any] = {"test_fraction": test_fraction, "test_session": test_session, "gap": gap}
    kept = fit_to([open_store(path) for path in paths], partial(split_of, **stated), seed)
    kept.write(out, overwrite=overwrite)
    return out


@few_threads
@writes_alone
def decode_score(
    decoder: str | Path,
    bold: Sequence[str | Path],
    /,
    *,
    stimulus: str | Path,
    out: str | Path,
    bold_tr: float | None = None,
    overwrite: bool = False,
) -> "pd.DataFrame":
    """Score what measured, completed or reconstructed frames tell of the stimulus.

    Of a run that the decoder was fitted to, the part that it held out is scored, of another one all. Frames
    that a file lacks are interpolated linearly; those that are closer than the store's are decoded as they
    are, and scored at the moments of the store's frames.

    Parameters
    ----------
    decoder : path
        What decode fit wrote.
    bold : paths
        Runs, each a row of the tables: measured, or from complete, resample or reconstruct. Their names, or
        those of their sources, say which run of the store they are.
    stimulus : path
        Store whose runs have the features of what was shown.
    out : path
        Folder of the results: `decoding.md`, `scores.csv`, `retrieval.html` to look at.
    bold_tr : float, seconds
        TR of all runs, where files state none or a wrong one.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    pandas.DataFrame of all numbers: file, kind, region, metric, value, chance

    Raises
    ------
    InputError
        If decoder, store and files don't fit each other, a file is of a run that was fitted to, nothing was
        shown, or `out` exists.
    """
    from neuroframes.commands.decoding import KeptDecoder, check_stimulus, decode_run
    from neuroframes.models.stored import digest
    from neuroframes.recording.bold import images_at, read_bold
    from neuroframes.recording.store import open_store
    from neuroframes.report.decoding import report, retrieval_page, tidy
    from neuroframes.report.result import part_at

    check_list(bold, "bold")
    decoder, stimulus, out = Path(decoder), Path(stimulus), Path(out)
    runs: dict[tuple[Path, ...], Path] = {}
    for path in map(Path, bold):  # of a GIFTI pair both may be given
        runs.setdefault(tuple(images_at(path)), path)
    refuse_existing(out, overwrite, folder="decoding.json", inputs=[decoder, stimulus, *runs.values()])
    if not runs:
        raise InputError("no BOLD; pass runs, measured, completed or reconstructed, after the decoder")
    if stated := [path.name for path in runs.values() if part_at(path) == "deviation"]:
        raise InputError(f"{listed(stated)}: standard deviations, no frames; leave them out")
    kept, store = KeptDecoder.read(decoder), open_store(stimulus)
    check_stimulus(store, kept.names, kept.tr, decoder.name)
    short = [path.name for path in runs.values()]
    files = []
    for path in runs.values():
        logger.info("decoding %s", path)
        name = path.name if short.count(path.name) == 1 else str(path)
        files.append(decode_run(name, read_bold(path, tr=bold_tr), kept, store))
    scores = tidy(files)
    about = {
        "command": "neuroframes decode score",
        "decoder": str(decoder),
        "digest": digest(decoder),
        "stimulus": str(stimulus),
        "files": [*map(str, runs.values())],
    }
    with written_whole(out, overwrite=overwrite) as folder:
        folder.mkdir()
        scores.to_csv(folder / "scores.csv", index=False)
        (folder / "decoding.md").write_text(report(scores), encoding="utf-8")
        page = retrieval_page(files, kept.names, kept.tr)
        (folder / "retrieval.html").write_text(page, encoding="utf-8")
        (folder / "decoding.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    return scores
