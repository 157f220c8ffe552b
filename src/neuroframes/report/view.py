"""One self-contained HTML page: the cortex or slices, a frame slider, and which frames were measured.

The page (`view.html`) draws the cortex with WebGL, and loads nothing. What it shows of frame k and vertex or
voxel v is

    z[k, v] = (x[k, v] - mean_k x[:, v]) / sd_k x[:, v]

as one byte: 0 where there is no data, else 1 to 255 for -limit to +limit. The standard deviation
of a value is divided by the same sd and coded 1 to 255 for 0 to limit, so that 1 means "as
uncertain as the vertex varies in this file". Arrays are embedded gzipped, in base64.

Estimates that tell little vary little, and their own sd would make them look like data. Frames in z-units of
the training part (`NeuroframesUnits` "z" in the sidecar) are therefore shown as they are, z = x, between
fixed limits. Colours fade to grey by s^2, s the relative standard deviation: the share that isn't known.
"""

import base64
import gzip
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuroframes.cortex import mesh
from neuroframes.cortex.space import HEMISPHERES, MESH_SIZES, CorticalSpace
from neuroframes.errors import InputError
from neuroframes.files import refuse_existing, written_whole
from neuroframes.recording.bold import Bold, read_bold, read_deviation
from neuroframes.recording.segments import constant
from neuroframes.report.slices import axial_slices
from neuroframes.threads import few_threads

Float32 = NDArray[np.float32]
Indices = NDArray[np.intp]
Codes = NDArray[np.uint8]
Blocks = dict[str, NDArray[Any]]  # what the page embeds, by name

NO_DATA = 0  # the code of a vertex that is drawn grey
Z_LIMIT, Z_SHOWN = 3.0, 2.0  # of frames in z-units: largest value coded, and at first the end of the colours


@few_threads
def view(
    result: str | Path,
    out: str | Path,
    *,
    kind: mesh.Kind = "inflated",
    max_frames: int = 200,
    bold_tr: float | None = None,
    mask: str | Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one self-contained HTML page: the cortex, or slices of a volume, and a frame slider.

    Parameters
    ----------
    result : path
        A CIFTI or GIFTI BOLD file on fsLR-32k or fsaverage5, or a 4-D volume. Its JSON sidecar, if there is
        one, says which frames were measured ("NeuroframesMeasured") and which file beside it holds the
        standard deviation ("NeuroframesStandardDeviation"). Without a sidecar every frame counts as measured.
    out : path
        The HTML file: about 50 kB a frame on fsLR-32k, twice that with a standard deviation. Of a volume it
        has at most 24 axial slices, of about 60,000 voxels together, and is no larger.
    kind : {"white", "pial", "midthickness", "inflated", "very_inflated", "sphere"}
        The surface that is drawn, where there is one; fsaverage5 has no very_inflated.
    max_frames : int
        Most frames that are shown. Of a longer file it is every second, third, ... one, and the page says so;
        reconstructed frames are all shown besides, unless they are more than this.
    bold_tr : float, seconds
        Time between frames, where the file states none or a wrong one.
    mask : path
        Image of a volume's grid, 0 at voxels to leave out; by default fMRIPrep's desc-brain_mask beside it.
    overwrite : bool
        Replace the output if it exists.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If the file is no volume and its space has no mesh, it has fewer than two frames or nothing that
        varies, sidecar or standard deviation don't fit it, or `out` exists and `overwrite` is False.
    """
    result, out = Path(result), Path(out)
    refuse_existing(out, overwrite, folder=False, inputs=[Path(path) for path in (result, mask) if path])
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"--out {out.name}: a page is written as .html; change the output's suffix")
    if max_frames < 1:
        raise InputError(f"max_frames is {max_frames}; expected 1 or more")
    bold = read_bold(result, tr=bold_tr, mask=mask)
    if bold.space.kind != "volume" and bold.space.name not in MESH_SIZES:
        raise InputError(
            f"{result.name} is in the space {bold.space.name!r} ({bold.space.kind}), which has no mesh "
            f"to draw it on; spaces that can be viewed: {', '.join(MESH_SIZES)}, and volumes"
        )
    if len(bold.data) < 2:
        raise InputError(f"{result.name} has {len(bold.data)} frame; a page needs at least 2 to standardise")
    meta, blocks = _content(bold, kind, max_frames)
    with written_whole(out, overwrite=overwrite) as temporary:
        temporary.write_text(_page(meta, blocks), encoding="utf-8")
    return out


def _content(bold: Bold, kind: mesh.Kind, max_frames: int) -> tuple[dict[str, Any], Blocks]:
    """What the page says, and its arrays by name."""
    name = bold.sources[0].name
    shown, stride = _thinned(bold.measured, max_frames)
    slices = axial_slices(bold.space) if bold.space.kind == "volume" else None
    columns = np.flatnonzero(bold.space.cortical) if slices is None else slices.columns
    in_z = bold.sidecar.get("NeuroframesUnits") == "z"
    place = "vertex" if slices is None else "voxel"
    signal, scale = _standardized(bold.data, columns, shown, in_z)
    n_dead = int(np.isnan(scale).sum())
    if n_dead == len(columns):
        raise InputError(f"{name}: every {place} is constant or NaN; there is nothing to show")
    relative = _relative_deviation(bold, shown, columns, scale)
    colours, codes = _coded(signal, relative, in_z)
    if slices is None:
        drawn, blocks = [f"{bold.space.name}, {kind}"], _mesh_blocks(bold.space.name, kind)
        placed = {what: _on_mesh(of, bold.space, columns) for what, of in codes.items()}
        notes = _notes_on_mesh(bold.space, columns, n_dead)
    else:
        drawn = [f"{len(slices.heights)} of {slices.n_slices} axial slices"]
        blocks = {"inside": slices.inside}
        placed = {what: slices.picture(of) for what, of in codes.items()}
        notes = _notes_on_slices(bold.space, columns, n_dead)
        colours["slices"] = {name: getattr(slices, name) for name in ("size", "pixel", "heights")}
    blocks |= {f"{what}-codes": of for what, of in placed.items()}
    meta = {
        "name": name,
        "facts": _facts(bold, drawn, stride, len(shown)),
        "notes": [*_notes(bold, shown), *notes, *_notes_on_estimates(bold)],
        "n_frames": len(bold.data),
        "frames": shown.tolist(),
        "times": np.round(bold.times[shown], 6).tolist(),
        "measured": bold.measured.tolist(),
        "acquired": bold.acquired.tolist(),
        "shown": _captions(len(bold.data), in_z, place),
        **colours,
    }
    return meta, blocks


def _thinned(measured: NDArray[np.bool_], max_frames: int) -> tuple[Indices, int]:
    """Frames that the page shows, ascending, and the step between those that would be shown anyway."""
    stride = -(-len(measured) // max_frames)
    shown = np.arange(0, len(measured), stride)
    # What was filled is what people come to look at: thinning must not hide it where it is the exception.
    if (~measured).sum() <= max_frames:
        shown = np.union1d(shown, np.flatnonzero(~measured))
    return shown, stride


def _standardized(
    data: Float32, columns: Indices, shown: Indices, in_z: bool, block: int = 4096
) -> tuple[Float32, NDArray[np.float64]]:
    """z of frames (K, V) on the space's cortical vertices, and what it was divided by.

    Returns
    -------
    signal : array, shape (K shown, V cortical), NaN where there is no data
    scale : array, shape (V cortical,)
        The standard deviation over all frames, or 1 where they are `in_z`; NaN where a vertex is constant or
        never finite.
    """
    signal = np.empty((len(shown), len(columns)), dtype=np.float32)
    scale = np.empty(len(columns))
    # A block at a time, since a copy of a long run in float64 is 1 GB.
    for start in range(0, len(columns), block):
        part = slice(start, start + block)
        values = data[:, columns[part]].astype(np.float64)
        finite = np.isfinite(values)
        n = np.maximum(finite.sum(axis=0), 1)
        mean = np.where(finite, values, 0).sum(axis=0) / n
        values -= mean
        spread = np.sqrt((np.where(finite, values, 0) ** 2).sum(axis=0) / n)
        scale[part] = np.where(constant(spread, mean), np.nan, 1 if in_z else spread)
        values = values[shown] + mean if in_z else values[shown]
        signal[:, part] = np.where(finite[shown], values, np.nan) / scale[part]
    return signal, scale


def _coded(signal: Float32, relative: Float32 | None, in_z: bool) -> tuple[dict[str, Any], dict[str, Codes]]:
    """Limits and shares of the colours, and the codes of signal and relative standard deviation."""
    limit, share = (Z_LIMIT, Z_SHOWN / Z_LIMIT) if in_z else _limit_and_share(np.abs(signal))
    limits, shares = {"signal_limit": limit}, {"signal": share}
    codes = {"signal": _codes(signal, limit, 128)}  # 0 has a code of its own
    if relative is not None:
        limits["deviation_limit"], shares["deviation"] = _limit_and_share(relative)
        codes["deviation"] = _codes(relative, limits["deviation_limit"], 1)
    return {**limits, "share": shares}, codes


def _limit_and_share(magnitude: Float32) -> tuple[float, float]:
    """The value that the largest code stands for, and the share of it that the colours span at first.

    Robust, so that a few spikes don't take the colours from everything else.
    """
    finite = magnitude[np.isfinite(magnitude)]
    usual, limit = np.percentile(finite, [98, 99.9]) if finite.size else (0.0, 0.0)
    if not limit > 0:
        return 1.0, 1.0
    return float(limit), float(np.clip(usual / limit, 0.1, 1))


def _codes(values: Float32, limit: float, zero: int) -> Codes:
    """Bytes: `zero` stands for 0, 255 for `limit` and beyond, `NO_DATA` for NaN."""
    codes = np.clip(np.rint(values * ((255 - zero) / limit)), 1 - zero, 255 - zero) + zero
    return np.nan_to_num(codes, nan=NO_DATA).astype(np.uint8)


def _on_mesh(codes: Codes, space: CorticalSpace, columns: Indices) -> Codes:
    """From cortical vertices (K, V cortical) to all mesh vertices (K, left then right)."""
    n = MESH_SIZES[space.name]
    full = np.full((len(codes), 2 * n), NO_DATA, dtype=np.uint8)
    full[:, space.hemisphere[columns].astype(np.int64) * n + space.vertex[columns]] = codes
    return full


def _mesh_blocks(name: str, kind: mesh.Kind) -> Blocks:
    blocks: Blocks = {}
    for hemi, side in (("L", "left"), ("R", "right")):
        coordinates, faces = mesh.surface(name, kind, hemi)
        depth = mesh.sulcal_depth(name, hemi)
        blocks[f"{side}-positions"] = coordinates
        blocks[f"{side}-faces"] = faces.astype(np.uint16)
        # 128 is the border between gyrus and sulcus; two standard deviations fill the byte.
        blocks[f"{side}-sulci"] = np.clip(128 + 64 * depth / depth.std(), 0, 255).astype(np.uint8)
    return blocks


def _relative_deviation(
    bold: Bold, shown: Indices, columns: Indices, scale: NDArray[np.float64]
) -> Float32 | None:
    """Standard deviation of what is shown, where there is one; 1 is as uncertain as the vertex varies."""
    stated = read_deviation(bold)
    return None if stated is None else np.divide(stated[np.ix_(shown, columns)], scale, dtype=np.float32)


def _notes_on_estimates(bold: Bold) -> list[str]:
    """What the page says of frames that weren't measured, and why it has no standard deviation."""
    notes = []
    if n_paused := len(bold.data) - bold.n_volumes:
        notes.append(f"The run pauses at {n_paused:,} of {len(bold.data):,} frames: they have no volume.")
    if n_filled := int((bold.acquired & ~bold.measured).sum()):
        share = f"{n_filled:,} of {len(bold.data):,} frames"
        notes.append(f"{share} were reconstructed: they are estimates, not data.")
    elif "NeuroframesMeasured" in bold.sidecar:
        notes.append("All frames were measured.")
    else:
        lacking = "Its sidecar doesn't say which frames were measured" if bold.sidecar else "No sidecar"
        notes.append(f"{lacking}: all frames are shown as measured.")
    if bold.deviation is None:
        named = bold.sidecar.get("NeuroframesStandardDeviation")
        lost = f"The standard deviation file {named} is no longer beside the result."
        notes.append(lost if named else "No standard deviation file is named in a sidecar.")
    return notes


def _captions(n_frames: int, in_z: bool, place: str) -> dict[str, str]:
    """What the page says of signal and standard deviation."""
    about, unit = f"minus its mean over the file's {n_frames:,} frames", "standard deviation over time (SD)"
    if in_z:
        about, unit = "about its training mean", "standard deviation in the training part (SD)"
    return {
        "signal": f"Each {place} {about}, in units of its own {unit}. Dark grey: no data.",
        "faded": f" Light grey: as uncertain as the {place} varies.",
        "deviation": f"Stated standard deviation of each value, in units of the {place}'s own {unit}: "
        f"0 = known, 1 = as uncertain as the {place} varies. Grey: no data.",
    }


def _facts(bold: Bold, drawn: list[str], stride: int, n_shown: int) -> str:
    facts = [*drawn, f"{len(bold.data):,} frames, TR {bold.tr:g} s"]
    if stride > 1:
        filled = " and every reconstructed one" if n_shown > -(-len(bold.data) // stride) else ""
        facts.append(f"one frame in {stride}{filled} shown")
    if not bold.sidecar:
        facts.append("no sidecar")
    return " \u00b7 ".join(facts)


def _notes(bold: Bold, shown: Indices) -> list[str]:
    sidecar = bold.sidecar
    notes = [f"Files: {', '.join(file.name for file in bold.sources)}"]
    if description := sidecar.get("Description"):
        notes.append(str(description))
    for field, label in (("NeuroframesModel", "Model"), ("NeuroframesVersion", "neuroframes")):
        if field in sidecar:
            notes.append(f"{label}: {sidecar[field]}")
    if sources := sidecar.get("Sources"):
        listed = sources if isinstance(sources, list) else [sources]
        notes.append(f"Sources: {', '.join(map(str, listed))}")
    notes.append("Times are seconds from the run's start, when the acquisition of the frame begins.")
    if len(shown) < len(bold.data):
        notes.append(f"{len(shown):,} of {len(bold.data):,} frames are shown, to bound the page.")
    return notes


def _notes_on_mesh(space: CorticalSpace, columns: Indices, n_dead: int) -> list[str]:
    notes = []
    if n_dead:
        notes.append(f"{n_dead:,} of {len(columns):,} cortical vertices are constant or NaN, shown grey.")
    for hemi, side in HEMISPHERES.items():
        if not (space.hemisphere == side).any():
            notes.append(f"Hemisphere {hemi} is not in the file.")
    if subcortical := space.V - len(columns):
        notes.append(f"{subcortical:,} subcortical grayordinates are left out.")
    return notes


def _notes_on_slices(space: CorticalSpace, columns: Indices, n_dead: int) -> list[str]:
    notes = ["Slices are from below to above, left on the left, the front at the top; z in mm."]
    if n_dead:
        notes.append(f"{n_dead:,} of {len(columns):,} voxels are constant or NaN, shown grey.")
    if others := space.V - len(columns):
        notes.append(f"{others:,} voxels of other slices are left out, to bound the page.")
    return notes


def _page(meta: Mapping[str, Any], blocks: Blocks) -> str:
    # A "</script>" inside a file name or description must not end the block.
    described = json.dumps(meta, allow_nan=False).replace("<", "\\u003c")
    parts = [f'<script type="application/json" id="meta">{described}</script>']
    for name, array in blocks.items():
        little_endian = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
        packed = base64.b64encode(gzip.compress(little_endian, compresslevel=6, mtime=0)).decode()
        parts.append(f'<script type="application/gzip+base64" id="{name}">{packed}</script>')
    template = files("neuroframes.report").joinpath("view.html").read_text(encoding="utf-8")
    return template.replace("<!--DATA-->", "\n".join(parts))
