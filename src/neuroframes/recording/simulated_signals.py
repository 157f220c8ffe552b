"""What happens in time during one simulated run: the brain, the BOLD response, the EEG, the subject.

Slow processes (envelopes, BOLD latents) live on a grid of about 5 Hz that starts HISTORY seconds before
the EEG does, so that the haemodynamic response to earlier activity is there at the first frame. Fast ones
are drawn in the frequency domain, band by band at the lowest sufficient rate, mixed into channels, and
added into one spectrum per channel. See `simulate` for the model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.stats import gamma

from neuroframes.recording.band_power import BANDS
from neuroframes.recording.simulated_life import BURST, TRANSIT, balloon, drowsiness, head_movement, spread
from neuroframes.recording.simulated_sources import EYES, NETWORKS, SHARED_FAST, TERRITORIES, WAVES, Sources
from neuroframes.recording.simulated_world import LINEAR, NO_CHANCE, Chance, World

Array = NDArray[np.float32]
Times = NDArray[np.float64]

LEAD = 10.0  # seconds of EEG before the first volume and after the last
HISTORY = 40.0  # seconds of activity before the EEG
SLOW_RATE = 5.0  # Hz, about
CORNER = 0.15  # Hz: neural activity is slow below it; the haemodynamic response is slower still
MODULATION = 0.6  # of the log envelope, standard deviation about
BACKGROUND = 7e-6  # V, 1/f part of the EEG
ALPHA = 2  # its place among the bands
DROWSY_EEG = np.array([0.3, 0.4, -0.8, -0.3, 0.0], np.float32)  # of the log envelope, delta to gamma
TURN = 1.8  # of alpha's coupling when drowsy: from 1 to 1 - TURN
WAVES_CORNER = 0.07  # Hz: waves over the whole cortex are slower still
FAST_CORNER = 0.1  # Hz, of noise that reaches BOLD without a haemodynamic response: blood and breath
DROWSY_WAVES = 2.0  # by how much waves are larger when drowsy
HEART_RATE, BREATH_RATE = 1.1, 0.28  # Hz
DROWSING = 0.002  # Hz: vigilance drifts over minutes
HEAD_SIZE = 50.0  # mm, for framewise displacement (Power 2012)
OUTLIER = 0.5  # mm of framewise displacement, fMRIPrep's threshold for motion_outlier columns

# Parts of a grayordinate's variance at snr 1.
COUPLED, HIDDEN, HIDDEN_FINE, PHYSIOLOGY, THERMAL = 0.22, 0.28, 0.14, 0.14, 0.22


@dataclass(frozen=True)
class Clock:
    """Times of a run, in seconds after the first EEG sample.

    Attributes
    ----------
    tr : float, from one volume to the next
    rate : float, Hz, of the EEG
    samples : int, N
    triggers : array, shape (K,), when each volume was marked to begin
    frames : array, shape (K,), the centre of each volume
    slow : array, shape (T,), the slow grid; it starts before 0 and contains 0
    step : int, EEG samples from one point of the slow grid to the next
    """

    tr: float
    rate: float
    samples: int
    triggers: Times
    frames: Times
    slow: Times
    step: int

    @classmethod
    def of_run(cls, n_frames: int, tr: float, rate: float, jitter: Times | float = 0.0) -> "Clock":
        """The clock of a run of `n_frames` volumes, one every `tr` seconds, marked `jitter` (s) late."""
        due = LEAD + tr * np.arange(n_frames)
        exact, triggers = (np.round(at * rate) / rate for at in (due, due + jitter))
        samples = round((2 * LEAD + tr * n_frames) * rate)
        step = 16 * max(1, round(rate / SLOW_RATE / 16))  # 16: bands are drawn at rate / 1, 2, 4, 8, 16
        first = -round(HISTORY * rate / step)
        intervals = scipy.fft.next_fast_len(-(-samples // step), real=True)
        slow = np.arange(first, intervals + 1) * (step / rate)
        return cls(tr, rate, samples, triggers, exact + tr / 2, slow, step)

    @property
    def recording(self) -> tuple[float, float]:
        """Start and end of the EEG."""
        return 0.0, self.samples / self.rate

    @property
    def scan(self) -> tuple[float, float]:
        """Start of the first volume and end of the last, as if no trigger were late."""
        return self.frames[0] - self.tr / 2, self.frames[-1] + self.tr / 2

    @property
    def slow_rate(self) -> float:
        """Hz."""
        return self.rate / self.step


@dataclass(frozen=True)
class Subject:
    """What the subject's body did in a run.

    Attributes
    ----------
    clock : Clock
    motion : array, shape (K, 6), three translations (mm) and three rotations (rad)
    displacement : array, shape (K,), mm, framewise displacement; 0 at the first frame
    jerks : array, seconds, when the head moved abruptly
    beats : array, seconds, R peaks
    blinks : array, seconds
    heart, breath : arrays, shape (K,), rad, phase at each frame
    scenes : array, shape (n, 3), onset (s) of each scene of the film, and its levels of sight and sound
    drowsiness : array, shape (T,), 0 to 1, on the slow grid
    world : World
    chance : Chance, of the run
    name : str, as "sub-01"
    """

    clock: Clock
    motion: NDArray[np.float64]
    displacement: NDArray[np.float64]
    jerks: Times
    beats: Times
    blinks: Times
    heart: Times
    breath: Times
    scenes: NDArray[np.float64]
    drowsiness: Array
    world: World
    chance: Chance
    name: str


def coloured_noise(
    rng: Generator, series: int, n: int, rate: float, amplitude: Callable[[Times], Times]
) -> Array:
    """Gaussian noise of unit variance whose spectrum has the shape `amplitude`(f)^2, shape (series, n)."""
    # An FFT's noise is periodic: a minute is drawn beyond what is kept, so that the ends don't meet.
    length = scipy.fft.next_fast_len(n + int(60 * rate), real=True)
    frequency = np.fft.rfftfreq(length, 1 / rate).astype(np.float64)
    shape = np.insert(amplitude(frequency[1:]), 0, 0, axis=-1)
    shape *= length / np.sqrt(4 * (shape**2).sum(axis=-1, keepdims=True))
    spectrum = _complex_normal(rng, (series, len(frequency))) * shape.astype(np.float32)
    return np.asarray(scipy.fft.irfft(spectrum, length, axis=-1)[:, :n])


def slow_process(rng: Generator, series: int, clock: Clock, corner: float | Times = CORNER) -> Array:
    """Unit-variance noise on the slow grid, flat below `corner` Hz and falling by 12 dB an octave above.

    A corner for each series has shape (series, 1).
    """
    return coloured_noise(
        rng, series, len(clock.slow), clock.slow_rate, lambda f: 1 / (1 + (f / corner) ** 2)
    )


def make_subject(
    rng: Generator,
    clock: Clock,
    world: World = LINEAR,
    chance: Chance = NO_CHANCE,
    name: str = "sub-01",
    head: float = 1.0,
) -> Subject:
    """Draw the film, the head's movements, heartbeat, breathing, blinks and drowsiness of a run."""
    end = clock.slow[-1]
    cuts = clock.slow[0] + np.cumsum(2 + rng.exponential(6, 2 * int((end - clock.slow[0]) / 8)))
    cuts = np.concatenate([clock.slow[:1], cuts[cuts < end]])
    scenes = np.column_stack([cuts, rng.normal(size=len(cuts)), chance("sound").normal(size=len(cuts))])

    heart, breath = (_wandering_phase(rng, clock, frequency) for frequency in (HEART_RATE, BREATH_RATE))
    turns = np.arange(np.ceil(heart[0] / (2 * np.pi)), heart[-1] / (2 * np.pi))
    beats = np.interp(2 * np.pi * turns, heart, clock.slow)
    blinks = np.cumsum(1 + rng.exponential(4, int(end)))

    n_frames = len(clock.frames)
    scan = n_frames * clock.tr
    jerks = np.sort(rng.uniform(LEAD + 5, LEAD + scan, rng.poisson(scan / 75)))
    # Mm and rad: a slow drift, the chest's swing, and jerks that last a second or two and leave an offset.
    unit = np.array([1, 1, 1, 1 / HEAD_SIZE, 1 / HEAD_SIZE, 1 / HEAD_SIZE])
    at_frames = np.interp(clock.frames, clock.slow, breath)
    motion = np.cumsum(rng.normal(0, 0.012, (n_frames, 6)), axis=0)
    motion[:, 1] += 0.04 * np.sin(at_frames)
    for jerk in jerks:
        after = np.maximum(clock.frames - jerk, 0)[:, None]
        size = rng.normal(0, 0.35, 6)
        motion += size * ((after > 0) * np.exp(-after / 1.2) + 0.15 * (1 - np.exp(-after / 1.2)))
    if world.bursts:
        steps = head_movement(chance("bursts"), n_frames, clock.tr, world.bursts * head)
        motion = np.cumsum(steps, axis=0)
        moved = np.abs(steps).sum(axis=1) > BURST
        jerks = clock.frames[moved & ~np.roll(moved, 1)] - clock.tr / 2
    steps = np.diff(motion, axis=0, prepend=motion[:1])
    slow = slow_process(chance("vigilance"), 1, clock, DROWSING)[0]
    return Subject(
        clock=clock,
        motion=motion * unit,
        displacement=np.abs(steps).sum(axis=1),
        jerks=jerks,
        beats=beats[(beats > 0) & (beats < clock.samples / clock.rate)],
        blinks=blinks[blinks < clock.samples / clock.rate],
        heart=np.interp(clock.frames, clock.slow, heart),
        breath=at_frames,
        scenes=scenes,
        drowsiness=drowsiness(slow, world.vigilance),
        world=world,
        chance=chance,
        name=name,
    )


def band_envelopes(rng: Generator, sources: Sources, subject: Subject) -> Array:
    """Envelope of each band in each patch on the slow grid, mean about 1, shape (bands, P, T)."""
    clock, territory = subject.clock, sources.territory
    # How engaged a region is moves all its bands; most of that is shared with its territory and network,
    # since EEG can't tell neighbouring patches apart.
    pace = CORNER * sources.pace[: len(NETWORKS), None]
    networks = slow_process(rng, len(NETWORKS), clock, pace)
    engagement = 0.5 * spread(networks, sources.mixing, sources.travel[WAVES:], clock.slow_rate)
    engagement += 0.6 * slow_process(rng, TERRITORIES, clock)[territory]
    engagement += 0.6 * sources.stimulus_gain[:, None] * film_courses(subject)[_by_sound(sources)]
    sign = np.array([-0.2, -0.3, -1.0, -0.8, 0.9], np.float32)  # delta to gamma
    envelopes = np.empty((len(BANDS), len(territory), len(clock.slow)), np.float32)
    for band in range(len(BANDS)):
        own = 0.2 * slow_process(rng, TERRITORIES, clock)[territory]
        own += 0.3 * slow_process(rng, len(territory), clock)
        envelopes[band] = np.exp(MODULATION * (sign[band] * engagement + own))
    envelopes *= tonic(subject.drowsiness)[:, None]
    return envelopes / envelopes.mean(axis=-1, keepdims=True)


def film_courses(subject: Subject) -> Array:
    """The film's levels of sight and sound, smoothed as activity is, shape (2, T)."""
    clock = subject.clock
    scene = np.searchsorted(subject.scenes[:, 0], clock.slow, side="right") - 1
    film = subject.scenes[np.maximum(scene, 0), 1:].T.astype(np.float32)
    smooth = scipy.signal.butter(1, CORNER, fs=clock.slow_rate)
    return np.asarray(scipy.signal.lfilter(*smooth, film), np.float32)


def _by_sound(sources: Sources) -> NDArray[np.intp]:
    """Which of both levels drives each patch, shape (P,)."""
    return (sources.network == NETWORKS.index("auditory")).astype(np.intp)


def haemodynamic_response(delay: Array, rate: float) -> Array:
    """Difference of two gamma densities that peaks at `delay` (s), unit sum, shape (len(delay), T)."""
    time = np.arange(0, 32, 1 / rate)
    peak, after = delay[:, None] / 5, (delay[:, None] + 10) / 15  # a gamma density of shape a peaks at a-1
    response = gamma.pdf(time, 6, scale=peak) - gamma.pdf(time, 16, scale=after) / 6
    return (response / response.sum(axis=1, keepdims=True)).astype(np.float32)


def tonic(drowsiness: Array) -> Array:
    """Size of each band's envelope when one is so drowsy, relative to alert, shape (bands, T)."""
    return np.exp(np.multiply.outer(DROWSY_EEG, drowsiness))


def bold_latents(
    rng: Generator, sources: Sources, envelopes: Array, subject: Subject, snr: float
) -> tuple[Array, Array]:
    """BOLD of each patch without noise, and the part of it that the EEG's sources cause.

    Where the response saturates, that part is what they alone would cause.

    Returns
    -------
    signal : array, shape (K, P + H)
    coupled : array, shape (K, P)
    """
    visible, clock, world = sources.n_patches, subject.clock, subject.world
    later = sources.delay - (TRANSIT if world.saturation else 0)  # the balloon adds the rest
    response = haemodynamic_response(later, clock.slow_rate)
    drive = np.einsum("bp,bpt->pt", sources.weight, envelopes)
    phasic = envelopes[ALPHA] - (level := tonic(subject.drowsiness)[ALPHA]) / level.mean()
    drive -= TURN * subject.drowsiness * sources.weight[ALPHA, :, None] * phasic
    coupled = _responses(drive, response[:visible], snr * world.strength * COUPLED)
    pace = CORNER * sources.pace[: len(NETWORKS), None]
    networks = slow_process(rng, len(NETWORKS), clock, pace)
    shared = spread(networks, sources.mixing, sources.travel[WAVES:], clock.slow_rate)
    own = slow_process(rng, visible, clock, pace[sources.network])
    fine = slow_process(rng, len(response) - visible, clock)
    hidden = (shared + own) / np.float32(np.sqrt(2))
    if world.film:
        film = film_courses(subject)
        film /= film.std(axis=1, keepdims=True)
        share = (world.film * (sources.stimulus_gain == 1))[:, None].astype(np.float32)
        hidden = np.sqrt(1 - share) * hidden + np.sqrt(share) * film[_by_sound(sources)]
    whole = coupled + _responses(hidden, response[:visible], HIDDEN)
    pace = WAVES_CORNER * sources.pace[len(NETWORKS) :, None]
    courses = slow_process(subject.chance("waves"), WAVES, clock, pace)
    courses *= 1 + DROWSY_WAVES * subject.drowsiness
    waves = spread(courses, sources.wave, sources.travel[:WAVES], clock.slow_rate)
    whole += _responses(waves, response[:visible], world.waves * np.square(sources.wave[0]).mean())
    hidden_fine = _responses(fine, response[visible:], HIDDEN_FINE)
    if world.saturation:
        gain = world.saturation / np.sqrt(np.square(whole).mean())
        whole, coupled = (balloon(part, clock.slow_rate, gain) for part in (whole, coupled))
    signal = np.concatenate([whole, hidden_fine])
    return _at_frames(signal, clock), _at_frames(coupled, clock)


def bold_noise(rng: Generator, sources: Sources, subject: Subject) -> tuple[Array, Array]:
    """Structured noise of each patch, shape (K, P), and of cerebrospinal fluid and white matter, (K, 2)."""
    clock = subject.clock
    # Vascular tone: 1/f in power below the haemodynamic cut-off, one global mode and five regional ones.
    n, rate = len(clock.slow), clock.slow_rate
    tone = coloured_noise(rng, 6, n, rate, lambda f: np.maximum(f, 0.005) ** -0.5 / (1 + (f / 0.12) ** 2))
    ramp = np.linspace(-1, 1, len(clock.frames))
    drift = np.column_stack([ramp, ramp**2 - 1 / 3])
    pulse = np.column_stack([f(phase) for phase in (subject.breath, subject.heart) for f in (np.sin, np.cos)])
    jump = np.diff(subject.motion, axis=0, prepend=subject.motion[:1]) * ([1.0] * 3 + [HEAD_SIZE] * 3)
    # Spins recover over a few volumes after the head has moved.
    recovery = scipy.signal.lfilter([1], [1, -0.4], np.minimum(subject.displacement, 3))[:, None]
    courses = np.concatenate([_at_frames(tone, clock), drift, pulse, jump, recovery], axis=1)
    size = np.array([0.55, *[0.3] * 5, 0.25, 0.2, 0.22, 0.22, 0.2, 0.2, *[0.5] * 6, 0.9])
    maps = rng.normal(size=(len(size), sources.n_patches))
    maps[0] = 1 + 0.3 * maps[0]
    maps[10:12] *= np.exp(0.7 * rng.normal(size=sources.n_patches) - 0.5)  # near large vessels
    scale = np.sqrt(PHYSIOLOGY) * size[:, None]
    fluid = courses @ (rng.normal(size=(len(size), 2)) * size[:, None] + [[1.0, 0.6]])
    maps *= scale
    late = np.broadcast_to(sources.vascular, (len(tone), sources.n_patches))
    toned = spread(tone, maps[: len(tone)], late, rate)
    noise = _at_frames(toned, clock) + courses[:, len(tone) :] @ maps[len(tone) :]
    fast = subject.chance("fast")
    noise += _at_frames(slow_process(fast, len(sources.modes), clock, FAST_CORNER), clock) @ sources.modes
    noise += np.sqrt(subject.world.fast * (1 - SHARED_FAST)) * fast.normal(size=noise.shape)
    return noise.astype(np.float32), fluid.astype(np.float32)


def eeg_signals(rng: Generator, sources: Sources, envelopes: Array, subject: Subject) -> Array:
    """EEG in volts and, as the last row, the electrocardiogram, shape (C + 1, N), float32."""
    channels, clock = len(sources.lead_field), subject.clock
    inside = envelopes[..., np.searchsorted(clock.slow, -1e-9) :]
    intervals = inside.shape[-1] - 1
    length = intervals * clock.step
    spectrum = np.zeros((channels, length // 2 + 1), np.complex64)
    for band, edges in enumerate(BANDS.values()):
        # A power of two below the rate, with a little room above the band for its modulation.
        coarser = max(q for q in (1, 2, 4, 8, 16) if q == 1 or clock.rate / q >= 2.5 * edges[1])
        mixed = np.zeros((channels, length // coarser), np.float32)
        gain = sources.lead_field * sources.amplitude[band]
        for start in range(0, sources.n_patches, 20):  # blocks keep long runs within memory
            block = slice(start, start + 20)
            carrier = _band_noise(rng, len(gain[0, block]), length // coarser, clock.rate / coarser, edges)
            mixed += gain[:, block] @ _modulated(carrier, inside[band, block])
        part = scipy.fft.rfft(mixed, axis=-1)
        spectrum[:, : part.shape[1]] += part * np.float32(coarser)

    frequency = np.fft.rfftfreq(length, 1 / clock.rate)
    # Background: 1/f^1.4 in power, as correlated across the scalp as the cortex's own activity.
    shape = np.maximum(frequency, 0.3) ** -0.7 * (frequency > 0)
    shape *= length / np.sqrt(4 * (shape**2).sum())
    values, vectors = np.linalg.eigh(sources.lead_field @ sources.lead_field.T)
    mixing = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    for start in range(0, len(frequency), 1 << 14):
        block = slice(start, start + (1 << 14))
        coloured = _complex_normal(rng, (channels, len(frequency[block]))) * shape[block].astype(np.float32)
        spectrum[:, block] += (BACKGROUND * mixing.astype(np.float32)) @ coloured
    eeg = np.empty((channels + 1, clock.samples), np.float32)
    eeg[:channels] = scipy.fft.irfft(spectrum, length, axis=-1, overwrite_x=True)[:, : clock.samples]
    del spectrum
    eeg[channels] = 0
    _add_artefacts(rng, eeg, sources.montage.positions, subject)
    return eeg


def _add_artefacts(rng: Generator, eeg: Array, position: NDArray[np.float64], subject: Subject) -> None:
    """Blinks, ballistocardiogram, movement, gradient residue and sensor noise, in place."""
    channels, clock, rate = len(position), subject.clock, subject.clock.rate
    lag = np.arange(round(0.6 * rate)) / rate
    near_eyes = np.exp(-np.linalg.norm(position - EYES, axis=1) / 0.03)
    blink = np.exp(-0.5 * ((lag - 0.2) / 0.06) ** 2)
    _add_transients(eeg[:channels], subject.blinks, 3e-4 * near_eyes, blink, rate)
    # What is left of the ballistocardiogram after the usual template subtraction.
    pulse = np.sin(2 * np.pi * 5 * (lag - 0.15)) * np.exp(-0.5 * ((lag - 0.3) / 0.1) ** 2)
    swing = position[:, 0] / 0.08 + 0.3 * rng.normal(size=channels)
    _add_transients(eeg[:channels], subject.beats, 6e-6 * swing, pulse, rate)
    beat = np.exp(-0.5 * ((lag - 0.1) / 0.01) ** 2) + 0.2 * np.exp(-0.5 * ((lag - 0.35) / 0.04) ** 2)
    _add_transients(eeg[channels:], subject.beats, np.array([1e-3]), beat, rate)
    sway = np.sin(2 * np.pi * 2 * lag) * np.sin(np.pi * lag / lag[-1])
    _add_transients(eeg[:channels], subject.jerks, 5e-5 * rng.normal(size=channels), sway, rate)

    # Gradient residue: harmonics of the volume (1/TR) and of the slice rate (9 shots a volume) below Nyquist.
    harmonics = np.array([1, 2, 3, 9, 18, 27]) / clock.tr
    harmonics = harmonics[harmonics < 0.45 * rate]
    size = rng.normal(0, 1.5e-6, (channels, len(harmonics))).astype(np.float32)
    scanning = slice(round(clock.triggers[0] * rate), round((clock.triggers[-1] + clock.tr) * rate))
    time = np.arange(scanning.stop - scanning.start) / rate
    for harmonic, phase in enumerate(rng.uniform(0, 2 * np.pi, len(harmonics))):
        wave = np.sin(2 * np.pi * harmonics[harmonic] * time + phase).astype(np.float32)
        eeg[:channels, scanning] += size[:, harmonic, None] * wave
    for row in eeg:
        row += rng.standard_normal(clock.samples, np.float32) * np.float32(5e-7)


def _add_transients(
    eeg: Array, onsets: Times, topography: NDArray[np.float64], waveform: NDArray[np.float64], rate: float
) -> None:
    train = np.zeros(eeg.shape[1], np.float32)
    samples = np.round(onsets * rate).astype(int)
    train[samples[samples < len(train)]] = 1
    course = scipy.signal.oaconvolve(train, waveform.astype(np.float32))[: eeg.shape[1]]
    for row, gain in zip(eeg, topography.astype(np.float32), strict=True):
        row += gain * course


def _band_noise(rng: Generator, series: int, n: int, rate: float, edges: tuple[float, float]) -> Array:
    """Unit-variance noise within `edges` (Hz), shape (series, n): a bump on 1/f, without sharp edges."""
    low, high = round(edges[0] * n / rate), min(round(edges[1] * n / rate), n // 2)
    bins = np.arange(low, high) + 0.5
    shape = np.sqrt(np.sin(np.pi * (bins - low) / (high - low)) / bins)
    shape *= n / np.sqrt(4 * (shape**2).sum())
    spectrum = np.zeros((series, n // 2 + 1), np.complex64)
    spectrum[:, low:high] = _complex_normal(rng, (series, high - low)) * shape.astype(np.float32)
    return scipy.fft.irfft(spectrum, n, axis=-1, overwrite_x=True)


def _modulated(carrier: Array, envelope: Array) -> Array:
    """`carrier` (S, N) times `envelope` (S, T), interpolated linearly between its T points."""
    blocks = carrier.reshape(len(carrier), envelope.shape[-1] - 1, -1)
    weight = np.arange(blocks.shape[-1], dtype=np.float32) / np.float32(blocks.shape[-1])
    blocks *= envelope[:, :-1, None] + np.diff(envelope)[..., None] * weight
    return blocks.reshape(len(carrier), -1)


def _complex_normal(rng: Generator, shape: tuple[int, ...]) -> NDArray[np.complex64]:
    """Real and imaginary parts of unit variance each."""
    return rng.standard_normal((*shape[:-1], 2 * shape[-1]), np.float32).view(np.complex64)


def _wandering_phase(rng: Generator, clock: Clock, frequency: float) -> Times:
    """Phase (rad) on the slow grid of a rhythm whose frequency wanders by a tenth."""
    wander = slow_process(rng, 1, clock, 0.03)[0].astype(np.float64)
    return 2 * np.pi * np.cumsum(frequency * (1 + 0.1 * np.clip(wander, -3, 3))) / clock.slow_rate


def _responses(activity: Array, response: Array, variance: float) -> Array:
    """BOLD (S, T) that activity (S, T) on the slow grid causes; rows have this variance on average."""
    length = response.shape[1]
    bold = scipy.signal.fftconvolve(activity, response, axes=-1)[:, length : activity.shape[1]]
    bold -= bold.mean(axis=1, keepdims=True)
    size = np.sqrt(variance / np.square(bold).mean())
    return np.pad(bold * size, ((0, 0), (length, 0))).astype(np.float32)


def _at_frames(series: Array, clock: Clock) -> Array:
    """Series (S, T) on the slow grid at the frames' centres, shape (K, S)."""
    position = (clock.frames - clock.slow[0]) * clock.slow_rate
    left = position.astype(int)
    weight = (position - left).astype(np.float32)
    return np.ascontiguousarray((series[:, left] * (1 - weight) + series[:, left + 1] * weight).T)
