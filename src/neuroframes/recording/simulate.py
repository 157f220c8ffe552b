r"""Simulated EEG-fMRI whose truth is known, in the files that people have.

Bands b (delta to gamma), patches p of cortex (in territories, in networks), channels c, vertices v, time t.

    envelope     e_bp = exp(.6 (sign_b (network + territory + film) + own_bp)),  slow; sign_b < 0 but in gamma
    EEG          x_c  = sum_p L_cp sum_b a_bp e_bp o_bp  + 1/f + blinks + pulse + gradient + movement + sensor
    coupled      z_p  = h_p * sum_b w_bp e_bp,   h_p a haemodynamic response that peaks at 4 to 7 s
    signal       s_p  = sqrt(snr) z_p + (activity that EEG doesn't see, in the same and in finer patches)
    noise        n_p  = vascular 1/f + breathing + pulse + drift + movement
    BOLD         y_v  = m_v + d_v sum_p M_vp (s_p + n_p) + thermal

o_bp is noise confined to the band, L the lead field of a sphere model, M the patches' maps, m the baseline
(about 10,000, less near the sinuses) and d about 1.5 % of it. At snr 1 EEG is as weakly coupled to BOLD as in
life: ridge regression on the EEG of about 15 minutes predicts held-out BOLD with r about .15 to .2.

This is the linear world. What `simulated_world` adds to it is described in `simulated_people`, for people,
and in `simulated_life`, for the hours of a run.

BOLD frames are acquired around the middle of their volume, as after fMRIPrep's slice timing correction.
"""

import itertools
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError, check_number, need_av
from neuroframes.files import refuse_existing, written_whole
from neuroframes.recording import simulated_bids as bids
from neuroframes.recording import simulated_signals as signals
from neuroframes.recording.band_pass import band_passed, parse_band
from neuroframes.recording.band_power import BANDS
from neuroframes.recording.features import scalp_features, write_features
from neuroframes.recording.simulated_film import write_film
from neuroframes.recording.simulated_people import of_person
from neuroframes.recording.simulated_sources import Sources, in_parcels, make_sources
from neuroframes.recording.simulated_world import LIFELIKE, LINEAR, SEEN_FILM, chance
from neuroframes.threads import few_threads

SHORTEST_RUN = 30.0  # seconds: less than one haemodynamic response and the lags before it
FEWEST_FRAMES = 20
MOST_PARCELS = 1000
TYPICAL_SCALE = 150.0  # BOLD units, 1.5 % of 10,000


@few_threads
def simulate(
    out: str | Path,
    *,
    minutes: float = 20.0,
    tr: float = 0.8,
    space: Literal["fsLR", "fsaverage5"] = "fsLR",
    seed: int = 0,
    snr: float = 1.0,
    runs: int = 4,
    eeg_rate: float = 250.0,
    channels: int = 64,
    subjects: int = 1,
    linear: bool = False,
    without: str | None = None,
    parcels: int = 0,
    features: bool = False,
    band_pass: str | None = None,
    film: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Path:
    """Write a simulated BIDS data set whose truth is known.

    Parameters
    ----------
    out : path
        Folder to make. It gets EEG in `sub-01/eeg` (BrainVision), BOLD and confounds in
        `derivatives/fmriprep`, and what is true in `truth`.
    minutes : float
        Length of a subject's BOLD, over all runs. Memory grows with the length of one run.
    tr : float, seconds
        Time between frames.
    space : {"fsLR", "fsaverage5"}
        fsLR (59,412 grayordinates, CIFTI) or fsaverage5 (20,484 vertices, GIFTI; 0 on the medial wall).
    seed : int
        Seed of everything that is random; the same arguments give the same bytes.
    snr : float
        Factor of the variance of BOLD that the EEG's sources cause: 1 is as in life, 0 without coupling.
    runs : int
        Number of runs, of equal length.
    eeg_rate : float, Hz
        Sampling rate of the EEG.
    channels : int, 4 to 64
        Number of EEG channels; there is an ECG channel besides.
    subjects : int
        Number of people.
    linear : bool
        Leave out all ingredients: people are alike, and EEG and BOLD linear and stationary.
    without : str
        Leave out these ingredients, as "vigilance,saturation": outline, delay, coupling,
        strength, gain, waves, propagation, spectra, vascular, vigilance, saturation, fast, jitter or bursts.
    parcels : int
        Average BOLD over so many parcels and write a table of them; 0 for each vertex.
    features : bool
        In place of EEG write a table of 25 features per frame: log power of 5 bands in 5 places on the scalp.
    band_pass : str
        Frequencies to which BOLD and features are filtered, Hz, such as 0.01,0.1; by default they aren't.
    film : bool
        Write the film of each run to `stimuli`, as a video with sound (with the package av). BOLD in the
        visual and auditory networks then follows it more than EEG does.
    overwrite : bool
        Replace the output if it exists.
    progress : bool
        Show a bar.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    InputError
        If an argument is out of range, `film` lacks its package, or `out` exists and `overwrite` is False.
    """
    from rich.console import Console
    from rich.progress import track

    out = Path(out)
    runs = int(check_number(runs, "--runs", at_least=1, whole=True))
    seed = int(check_number(seed, "--seed", at_least=0, whole=True))
    channels = int(check_number(channels, "--channels", at_least=4, below=65, whole=True))
    subjects = int(check_number(subjects, "--subjects", at_least=1, below=1000, whole=True))
    n_frames = _checked_frames(minutes, tr, runs, eeg_rate, snr)
    cortex = CorticalSpace.named(space)
    parcels = int(check_number(parcels, "--parcels", at_least=0, below=MOST_PARCELS + 1, whole=True))
    band = None if band_pass is None else parse_band(band_pass, "--band-pass", tr)
    world = replace(LINEAR if linear else LIFELIKE, film=SEEN_FILM * film)
    world = world if without is None else world.without(without)
    if film:
        need_av("--film writes videos with the package av")
    refuse_existing(out, overwrite, folder="dataset_description.json")
    settings: dict[str, Any] = {"minutes": minutes, "tr": tr, "space": space, "seed": seed, "snr": snr}
    settings |= {"runs": runs, "parcels": parcels, "band_pass": band, "world": asdict(world)}
    with written_whole(out, overwrite=overwrite) as root:
        shared = make_sources(_generator(seed, 0), cortex, channels)
        bids.write_dataset(root, shared.montage, settings, subjects)
        bar: dict[str, Any] = {"console": Console(stderr=True), "transient": True, "disable": not progress}
        todo = itertools.product(range(1, subjects + 1), range(1, runs + 1))
        for person, run in track([*todo], "simulate", **bar):
            if run == 1:
                sources = of_person(shared, world, chance(seed, 0, 0), chance(seed, 0, person))
                sources = in_parcels(sources, parcels) if parcels else sources
            # The first person's runs are those of a data set of one.
            rng = _generator(seed, run, *[person][: person - 1])
            of_run = chance(seed, run, person)
            jitter = world.jitter * np.clip(of_run("jitter").normal(size=n_frames), -3, 3)
            clock = signals.Clock.of_run(n_frames, tr, eeg_rate, jitter)
            subject = signals.make_subject(rng, clock, world, of_run, bids.label(person), sources.head)
            if run == 1:
                responses = signals.haemodynamic_response(sources.delay, clock.slow_rate)
                bids.write_shared_truth(root, sources, responses, clock.slow_rate, subject.name)
            _simulate_run(rng, root, run, sources, subject, snr, features, band, film)
    return out


def noise_free(
    root: str | Path, run: int, part: Literal["signal", "coupled"] = "signal", *, subject: str = bids.SUBJECT
) -> NDArray[np.float32]:
    """BOLD of a simulated run without its noise.

    Parameters
    ----------
    root : path
        What `simulate` returned.
    run : int, counted from 1
    part : "signal" (all neural activity) or "coupled" (only what the EEG's sources cause)
    subject : str, as "sub-01"

    Returns
    -------
    array, shape (K, V), in the units of the written BOLD, before any band-pass filter
    """
    patches, mean, scale = bids.read_shared_truth(Path(root), subject)
    with np.load(bids.truth_path(Path(root), run, subject)) as stored:
        latents = stored[part]
    return mean + scale * (patches[:, : latents.shape[1]] @ latents.T).T


def _generator(seed: int, *key: int) -> Generator:
    return default_rng(SeedSequence(seed, spawn_key=key))


def _simulate_run(
    rng: Generator,
    root: Path,
    run: int,
    sources: Sources,
    subject: signals.Subject,
    snr: float,
    as_features: bool,
    band: tuple[float, float] | None,
    film: bool,
) -> None:
    clock = subject.clock
    envelopes = signals.band_envelopes(rng, sources, subject)
    eeg = signals.eeg_signals(rng, sources, envelopes, subject)
    if as_features:
        table = scalp_features(eeg[:-1], sources.montage.positions, clock.rate, clock.frames, clock.tr)
        if band is not None:
            table = replace(table, values=band_passed(table.values, clock.tr, band))
        write_features(bids.features_path(root, run, subject.name), table)
        if film:
            bids.write_film_events(root, run, subject)
    else:
        bids.write_eeg(root, run, eeg, sources.montage, subject, film)
    if film:
        start, end = clock.scan if as_features else clock.recording
        write_film(bids.film_path(root, run, subject.name), subject.scenes - [start, 0, 0], end - start)
    del eeg  # at 5 kHz it is larger than BOLD: not both at once
    signal, coupled = signals.bold_latents(rng, sources, envelopes, subject, snr)
    noise, fluid = signals.bold_noise(rng, sources, subject)
    truth: dict[str, Any] = {"signal": signal, "coupled": coupled, "noise": noise, "envelopes": envelopes}
    path = bids.truth_path(root, run, subject.name)
    truth["drowsiness"] = subject.drowsiness
    np.savez(path, **truth, envelope_times=clock.slow, frame_times=clock.frames)
    signal[:, : sources.n_patches] += noise
    frames = _frames(rng, sources, signal)
    if band is not None:
        frames = sources.mean + band_passed(frames, clock.tr, band)
    bids.write_fmriprep(root, run, frames, 9000 + TYPICAL_SCALE * fluid, sources, subject)


def _frames(rng: Generator, sources: Sources, latents: NDArray[np.float32]) -> NDArray[np.float32]:
    """BOLD from all the latents (K, P + H), shape (K, V) in Fortran order, as CIFTI is stored."""
    data = sources.patches @ np.ascontiguousarray(latents.T)
    data *= sources.scale[:, None]
    data += sources.mean[:, None]
    # Thermal noise doesn't know how much signal there is: it is strongest, relatively, near the sinuses.
    thermal = np.float32(TYPICAL_SCALE * np.sqrt(signals.THERMAL)) * ~sources.dead[:, None]
    for start in range(0, data.shape[1], 64):
        block = data[:, start : start + 64]
        block += thermal * (sources.smoothing @ rng.standard_normal(block.shape, np.float32))
    return data.T


def _checked_frames(minutes: float, tr: float, runs: int, eeg_rate: float, snr: float) -> int:
    """Frames of each run; InputError where an argument can't be used."""
    check_number(tr, "--tr", above=0)
    check_number(snr, "--snr", at_least=0)
    check_number(minutes, "--minutes", above=0)
    check_number(eeg_rate, "--eeg-rate", above=0)
    highest = max(high for _, high in BANDS.values())
    if not eeg_rate >= 2.2 * highest:
        raise InputError(
            f"EEG at {eeg_rate:g} Hz is too slow for gamma, which reaches {highest:g} Hz; "
            f"expected at least {2.2 * highest:g} Hz"
        )
    seconds = 60 * minutes / runs
    # A whole number of frames must not be lost to rounding: 300 s / 0.8 s are 375, not 374.
    n_frames = int(seconds / tr + 1e-6)
    if seconds < SHORTEST_RUN or n_frames < FEWEST_FRAMES:
        raise InputError(
            f"{minutes:g} minutes in {runs} runs are {max(n_frames, 0)} frames or {seconds:.1f} s a run; "
            f"expected at least {FEWEST_FRAMES} frames and {SHORTEST_RUN:g} s: "
            "more minutes, fewer runs or a shorter TR"
        )
    return n_frames
