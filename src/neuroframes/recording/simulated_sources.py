"""Where simulated activity sits: cortical patches, networks, the lead field, and vertex maps.

P homotopic patches of 10 mm (standard deviation) tile both hemispheres; EEG sees them through

    L[c, p] = sum over vertices i of patch p of  patch_p(i) * g_c(r_i) . n_i

with g_c the potential at electrode c of a unit dipole in a three-shell sphere (MNE) and n_i the normal
of the pial surface at r_i. Four times as many finer patches carry activity that EEG doesn't see: they are
too small and too many to add up at the scalp. Distances are geodesic, on the registration sphere.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import expit

from neuroframes.cortex.mesh import adjacency, farthest_points, surface, vertex_positions
from neuroframes.cortex.space import HEMISPHERES, CorticalSpace
from neuroframes.recording.band_power import BANDS

Array = NDArray[np.float32]

PAIRS = 100  # homotopic pairs of patches, P = 200
FINE = 400  # patches a hemisphere that EEG doesn't see
PATCH_WIDTH, FINE_WIDTH = 10.0, 6.0  # mm, standard deviation
SPHERE_RADIUS = 100.0  # mm, of the registration spheres
DIPOLES = 4000  # vertices that stand for the whole sheet in the forward solution
HEAD_CENTRE = (0.0, 0.015, 0.045)  # m, head coordinates; fitted to the pial surface, all of it inside
HEAD_RADIUS = 0.1  # m
NETWORKS = ("visual", "auditory", "A", "B", "C", "D", "E", "F")
MODES = 6  # patterns of fast noise that regions share
SHARED_FAST = 0.75  # of its variance; the rest is each patch's own, without memory
WAVES = 3  # patterns of waves over the whole cortex
TERRITORIES = 24  # the first two are visual and auditory cortex, the others are dealt to A..F
EYES = (0.0, 0.10, 0.01)  # m, head coordinates
AUDITORY = (-55.0, -22.0, 8.0)  # mm, Heschl's gyrus
LOW_SIGNAL = ((4.0, 38.0, -20.0), (45.0, 2.0, -38.0), (-45.0, 2.0, -38.0))  # mm, near the air of the sinuses


@dataclass(frozen=True)
class Montage:
    """Electrodes in MNE's head coordinates (metres): names, positions (C, 3), fiducials by name."""

    names: tuple[str, ...]
    positions: NDArray[np.float64]
    fiducials: dict[str, list[float]]


@dataclass(frozen=True)
class Sources:
    """All that stays the same from run to run.

    Attributes
    ----------
    space : CorticalSpace
    montage : Montage
    patches : sparse array, shape (V, P + H), unit sum of squares a vertex within the P and within the H
    smoothing : sparse array, shape (V, V), spatial spread of thermal noise, unit sum of squares a row
    lead_field : array, shape (C, P), average reference; unit activity everywhere gives unit variance
    territory : array, shape (P,), which of TERRITORIES bilateral areas a patch belongs to
    network : array, shape (P,), index into NETWORKS
    stimulus_gain : array, shape (P,), how much the stimulus drives a patch, 0 to 1
    amplitude : array, shape (bands, P), volts at the scalp
    weight : array, shape (bands, P), from band envelope to BOLD
    delay : array, shape (P + H,), seconds to the peak of the haemodynamic response
    mean, scale : arrays, shape (V,), BOLD units: baseline and one standard deviation of signal
    dead : array, shape (V,), bool, the medial wall
    seeds : array, shape (P + H,), vertex in the middle of each patch
    mixing : array, shape (networks, P), how much of each network's activity a patch has
    wave : array, shape (WAVES, P), size of waves over the whole cortex
    travel : array, shape (WAVES + networks, P), seconds by which waves and networks' activity are later
    vascular : array, shape (P,), seconds by which blood arrives later
    pace : array, shape (networks + WAVES,), how fast they change, relative to what is typical
    modes : array, shape (MODES, P), size of fast noise that regions share
    head : float, how much the head moves, relative to others'
    """

    space: CorticalSpace
    montage: Montage
    patches: scipy.sparse.csr_array
    smoothing: scipy.sparse.csr_array
    lead_field: Array
    territory: NDArray[np.int64]
    network: NDArray[np.int64]
    stimulus_gain: Array
    amplitude: Array
    weight: Array
    delay: Array
    mean: Array
    scale: Array
    dead: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    mixing: Array
    travel: NDArray[np.float64]
    vascular: NDArray[np.float64]
    pace: NDArray[np.float64]
    modes: NDArray[np.float64]
    wave: Array
    head: float = 1.0

    @property
    def n_patches(self) -> int:
        """P, the number of patches that EEG sees."""
        return self.lead_field.shape[1]


def make_sources(rng: Generator, space: CorticalSpace, channels: int) -> Sources:
    """Draw patches, networks and regional differences on the mesh of `space` (it must have one)."""
    place = {kind: vertex_positions(space, kind) for kind in ("sphere", "pial")}
    dead = _medial_wall(space)
    sphere, halves = place["sphere"], [np.flatnonzero((space.hemisphere == side) & ~dead) for side in (0, 1)]
    left, right = halves
    seeds = left[farthest_points(sphere[left], PAIRS, first=int(place["pial"][left, 1].argmin()))]
    opposite = sphere[seeds] * (-1, 1, 1)
    seeds = np.concatenate([seeds, right[(opposite @ sphere[right].T).argmax(axis=1)]])
    starts = [int(rng.integers(len(half))) for half in halves]
    finer = [half[farthest_points(sphere[half], FINE, at)] for half, at in zip(halves, starts, strict=True)]
    fine = np.concatenate(finer)
    centres = np.concatenate([seeds, fine])
    coarse, patches = _all_patches(space, sphere[centres], centres)

    territory, owner = _territories(rng, place, seeds[:PAIRS])
    territory = np.tile(territory, 2)
    network = owner[territory]
    posterior = expit(-(place["pial"][seeds, 1] + 65) / 8)  # towards the occipital pole
    amplitude, weight = _band_profile(rng, network, posterior)
    montage = make_montage(channels)
    near_air = sum(np.exp(-0.5 * ((place["pial"] - spot) ** 2).sum(1) / 12.0**2) for spot in LOW_SIGNAL)
    bias = coarse @ rng.normal(size=coarse.shape[1])
    mean = np.where(dead, 0, 10_000 * np.exp(0.15 * bias) * (1 - 0.7 * np.minimum(near_air, 1)))
    # Delays differ between regions by 4 to 7 s, and less between neighbours of the same network.
    between = rng.uniform(4.6, 6.4, len(NETWORKS))
    delay = np.concatenate(
        [between[network] + rng.normal(0, 0.4, len(seeds)), rng.normal(5.5, 0.6, len(fine))]
    )
    return Sources(
        space=space,
        montage=montage,
        patches=patches,
        smoothing=_smoothing(space),
        lead_field=_lead_field(rng, montage, space, coarse),
        territory=territory,
        network=network,
        stimulus_gain=np.where(network < 2, 1.0, 0.3).astype(np.float32),
        amplitude=amplitude,
        weight=weight,
        delay=np.clip(delay, 4, 7).astype(np.float32),
        mean=mean.astype(np.float32),
        scale=(mean * 0.015 * np.exp(0.2 * (coarse @ rng.normal(size=len(seeds))))).astype(np.float32),
        dead=dead,
        seeds=centres,
        mixing=np.eye(len(NETWORKS), dtype=np.float32)[:, network],
        travel=np.zeros((WAVES + len(NETWORKS), len(seeds))),
        vascular=np.zeros(len(seeds)),
        pace=np.ones(len(NETWORKS) + WAVES),
        modes=np.zeros((MODES, len(seeds))),
        wave=np.ones((WAVES, len(seeds)), np.float32),
    )


def sources_at(rng: Generator, sources: Sources, moved: NDArray[np.float64]) -> Sources:
    """The sources where patches are displaced by `moved` (P + H, 3), in mm on the registration sphere."""
    sphere = vertex_positions(sources.space, "sphere")
    coarse, patches = _all_patches(sources.space, sphere[sources.seeds] + moved, sources.seeds)
    lead_field = _lead_field(rng, sources.montage, sources.space, coarse)
    return replace(sources, patches=patches, lead_field=lead_field)


def in_parcels(sources: Sources, count: int) -> Sources:
    """The sources of BOLD that is averaged over `count` parcels, compact and about equally large."""
    space, alive = sources.space, ~sources.dead
    sphere = vertex_positions(space, "sphere")
    member = np.full(space.V, -1)
    names: list[str] = []
    for side, hemi in enumerate(HEMISPHERES):
        half = np.flatnonzero((space.hemisphere == side) & alive)
        first = int(vertex_positions(space, "pial")[half, 1].argmin())  # the occipital pole
        centres = half[farthest_points(sphere[half], (count + 1 - side) // 2, first)]
        member[half] = len(names) + (sphere[half] @ sphere[centres].T).argmax(axis=1)
        names += [f"{hemi}-{number:03d}" for number in range(1, len(centres) + 1)]
    shape = count, space.V
    average = scipy.sparse.csr_array((np.ones(alive.sum()), (member[alive], np.flatnonzero(alive))), shape)
    average = scipy.sparse.diags_array(1 / average.sum(axis=1)) @ average
    thermal = np.sqrt((average @ sources.smoothing).power(2).sum(axis=1))
    patches = average @ scipy.sparse.diags_array(sources.scale) @ sources.patches
    return replace(
        sources,
        space=CorticalSpace.from_parcels(count, names),
        patches=scipy.sparse.csr_array(patches).astype(np.float32),
        smoothing=scipy.sparse.csr_array(scipy.sparse.diags_array(thermal)).astype(np.float32),
        mean=(average @ sources.mean).astype(np.float32),
        scale=np.ones(count, np.float32),
        dead=np.zeros(count, bool),
    )


def make_montage(channels: int) -> Montage:
    """The `channels` of a 64-channel 10-10 cap that cover the head most evenly, in the cap's order."""
    import mne

    cap = mne.channels.make_standard_montage("biosemi64").ch_names
    info = mne.create_info(cap, 250.0, "eeg").set_montage("biosemi64", verbose="ERROR")
    placed = info.get_montage().get_positions()
    positions = np.array([placed["ch_pos"][name] for name in cap])
    kept = np.sort(farthest_points(positions, channels, first=cap.index("Oz")))
    fiducials = {
        name: placed[key].round(6).tolist()
        for name, key in (("LPA", "lpa"), ("NAS", "nasion"), ("RPA", "rpa"))
    }
    return Montage(tuple(cap[i] for i in kept), positions[kept], fiducials)


def _medial_wall(space: CorticalSpace) -> NDArray[np.bool_]:
    """Vertices without cortex: there FreeSurfer's pial and white surfaces coincide."""
    if space.name != "fsaverage5":
        return np.zeros(space.V, bool)
    return np.linalg.norm(vertex_positions(space, "pial") - vertex_positions(space, "white"), axis=1) < 0.5


def _all_patches(
    space: CorticalSpace, centres: NDArray[np.float64], seeds: NDArray[np.int64]
) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
    """The patches that EEG sees, (V, P), and all, (V, P + H), around centres (P + H, 3)."""
    sphere, side = vertex_positions(space, "sphere"), space.hemisphere
    halves = [
        _gaussian_patches(sphere, side, centres[part], side[seeds[part]], width)
        for part, width in ((slice(2 * PAIRS), PATCH_WIDTH), (slice(2 * PAIRS, None), FINE_WIDTH))
    ]
    return halves[0], scipy.sparse.hstack(halves, format="csr").astype(np.float32)


def _gaussian_patches(
    sphere: NDArray[np.float64],
    hemisphere: NDArray[np.int8],
    centres: NDArray[np.float64],
    sides: NDArray[np.int8],
    width: float,
) -> scipy.sparse.csr_array:
    """Bell-shaped patches around centres, of a hemisphere each, cut off at three `width`s, (V, centres).

    Rows are scaled to a unit sum of squares, so that independent unit activity gives unit variance at
    every vertex.
    """
    unit, towards = (at / np.linalg.norm(at, axis=1, keepdims=True) for at in (sphere, centres))
    columns = []
    for direction, side in zip(towards, sides, strict=True):
        distance = SPHERE_RADIUS * np.arccos(np.clip(unit @ direction, -1, 1))
        inside = np.flatnonzero((distance < 3 * width) & (hemisphere == side))
        bell = np.exp(-0.5 * (distance[inside] / width) ** 2)
        columns.append((bell, inside))
    indptr = np.cumsum([0] + [len(inside) for _, inside in columns])
    weights, rows = (np.concatenate(part) for part in zip(*columns, strict=True))
    patches = scipy.sparse.csc_array((weights, rows, indptr), shape=(len(sphere), len(centres))).tocsr()
    return _unit_rows(patches)


def _territories(
    rng: Generator, place: dict[str, NDArray[np.float64]], seeds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Territory of each left seed, the nearest, and network of each territory."""
    pial, sphere = place["pial"][seeds], place["sphere"][seeds]
    auditory = int(((pial - AUDITORY) ** 2).sum(axis=1).argmin())
    centres = farthest_points(sphere, TERRITORIES, first=0)  # the first seed is the occipital pole
    centres = np.insert(centres[centres != auditory], 1, auditory)[:TERRITORIES]
    owner = np.concatenate([[0, 1], 2 + rng.permutation(TERRITORIES - 2) % (len(NETWORKS) - 2)])
    return (sphere @ sphere[centres].T).argmax(axis=1), owner


def _band_profile(
    rng: Generator, network: NDArray[np.int64], posterior: NDArray[np.float64]
) -> tuple[Array, Array]:
    """Amplitude at the scalp (V) and weight on BOLD of each band in each patch, both (bands, P)."""
    n = len(network)
    typical = np.array([5e-6, 3e-6, 6e-6, 3e-6, 1.2e-6])[:, None]  # delta to gamma
    amplitude = typical * np.exp(rng.normal(0, 0.3, (len(BANDS), n)))
    amplitude[2] *= 0.3 + 3.5 * posterior  # alpha is occipital
    # Alpha and beta go with less BOLD, gamma with more (Scheeringa 2011, Laufs 2003); regions differ.
    typical = np.array([0.2, 0.3, -1.0, -0.7, 0.9])[:, None]
    weight = typical * np.exp(rng.normal(0, 0.3, (len(BANDS), len(NETWORKS))))[:, network]
    weight[2] *= 0.7 + 0.6 * posterior
    return amplitude.astype(np.float32), (weight * np.exp(rng.normal(0, 0.2, (5, n)))).astype(np.float32)


def _lead_field(
    rng: Generator, montage: Montage, space: CorticalSpace, patches: scipy.sparse.csr_array
) -> Array:
    import mne

    chosen = np.sort(rng.choice(space.V, min(DIPOLES, space.V), replace=False))
    folder = Path(mne.__file__).parent / "data" / "fsaverage"
    to_head = mne.read_trans(folder / "fsaverage-trans.fif")  # MNE's own, from MNI space to its template head
    if to_head["to"] != mne.io.constants.FIFF.FIFFV_COORD_HEAD:
        to_head = mne.transforms.invert_transform(to_head)
    position = mne.transforms.apply_trans(to_head, vertex_positions(space, "pial")[chosen] / 1000)
    normal = mne.transforms.apply_trans(to_head, _normals(space)[chosen], move=False)
    info = mne.create_info(list(montage.names), 250.0, "eeg")
    info.set_montage("biosemi64", verbose="ERROR")
    dipoles = mne.setup_volume_source_space(
        pos={"rr": position, "nn": normal}, sphere_units="m", verbose="ERROR"
    )
    head = mne.make_sphere_model(r0=HEAD_CENTRE, head_radius=HEAD_RADIUS, verbose="ERROR")
    # MNE looks for sources outside the sphere in MRI coordinates, yet its centre is in the head's (1.13):
    # moved beforehand, with an identity here, both are the same and nothing is dropped by mistake.
    forward = mne.make_forward_solution(
        info, mne.Transform("head", "mri"), dipoles, head, meg=False, mindist=0.0, verbose="ERROR"
    )
    inside = forward["src"][0]["vertno"]
    # Free orientation: three columns a dipole, along the head's axes, as the moved normals are.
    gain = forward["sol"]["data"].reshape(len(montage.names), -1, 3)
    along_normal = np.einsum("cix,ix->ci", gain, forward["src"][0]["nn"][inside])
    lead_field = along_normal @ patches[chosen[inside]]
    lead_field -= lead_field.mean(axis=0)
    # Averaged surfaces are smooth at the front and folded at the back: halving the differences (in dB)
    # between patches keeps the occipital lobe, where alpha comes from, visible.
    lead_field /= np.sqrt(np.linalg.norm(lead_field, axis=0))
    return (lead_field / np.sqrt((lead_field**2).sum(axis=1).mean())).astype(np.float32)


def _normals(space: CorticalSpace) -> NDArray[np.float64]:
    """Unit normals of the pial surface, shape (V, 3)."""
    halves = []
    for hemi in HEMISPHERES:
        points, faces = surface(space.name, "pial", hemi)
        corners = points[faces].astype(np.float64)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal = np.zeros((len(points), 3))
        np.add.at(normal, faces.T, across)
        halves.append(normal)
    normals = space.of_vertices(halves, 0)
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def _smoothing(space: CorticalSpace) -> scipy.sparse.csr_array:
    """Each vertex mixed with its neighbours, as resampling from voxels to a surface does."""
    mixing = adjacency(space) * np.float32(0.5) + scipy.sparse.eye_array(space.V, dtype=np.float32)
    return _unit_rows(mixing).astype(np.float32)


def _unit_rows(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Each row over the root of its sum of squares, but for those of nearly nothing."""
    length = np.sqrt(matrix.power(2).sum(axis=1))
    return scipy.sparse.csr_array(scipy.sparse.diags_array(1 / np.maximum(length, 1e-3)) @ matrix)
