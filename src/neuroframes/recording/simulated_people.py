r"""How people differ: the same networks, drawn a little differently on each cortex.

Of a person, with smooth maps s of unit variance over the cortex, of the group or of one's own:

    place     of a patch             + outline s                      its map, and what EEG sees of it
    delay     of a response          + delay (N + N_network) + vascular s
    weight    of a band on BOLD      * (1 + 2.5 coupling N_band,network)
    amplitude of the EEG             * exp(gain (N_band + N_band,patch))
    mixing    of networks            1 + .6 coupling N_network,network, rows of unit length
    wave      size of global waves   exp(.4 s), .7 s, .7 s, each * exp(coupling (.6 N + .5 N_network))
    travel    of waves and networks  propagation s
    modes     of fast noise          the first 3 + s, others s
"""

from dataclasses import replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from neuroframes.cortex.mesh import vertex_positions
from neuroframes.recording.simulated_sources import MODES, NETWORKS, SHARED_FAST, WAVES, Sources, sources_at
from neuroframes.recording.simulated_world import Chance, World

GROUP, OWN = 0.8, 0.6  # of a map that people share in part: sum of squares 1
WAVELENGTH = 200.0  # mm, about, of smooth maps
TURNED = 2.5  # per coupling: a band's coupling to a network turns round in some people
MIXED = 0.6  # per coupling: what a network takes of another
WAVE_MAP, OTHER_WAVES = 0.4, 0.7  # the first wave has one sign everywhere, others have both
GLOBAL_FAST = 3.0  # of the first mode of fast noise, the mean over its deviation between regions
HEADS = 0.52  # deviation between people of the logarithm of displacement; see `simulated_life`


def of_person(sources: Sources, world: World, group: Chance, own: Chance) -> Sources:
    """The sources of a person.

    Parameters
    ----------
    sources : Sources
        What people share.
    world : World
    group, own : Chance
        Of what people share, and of what is the person's own.
    """
    place = vertex_positions(sources.space, "pial")[sources.seeds]
    visible, network = sources.n_patches, sources.network

    def normal(ingredient: str, *shape: int) -> NDArray[np.float64]:
        return own(ingredient).normal(size=shape)

    def shared_map(ingredient: str, pattern: int = 0) -> NDArray[np.float64]:
        both = np.hstack([np.abs(place[:, :1]), place[:, 1:]])  # left as right
        theirs, ones_own = (of(ingredient).spawn(pattern + 1)[-1] for of in (group, own))
        return GROUP * _smooth(theirs, both) + OWN * _smooth(ones_own, place)

    def maps(ingredient: str, count: int) -> NDArray[np.float64]:
        return np.stack([shared_map(ingredient, pattern)[:visible] for pattern in range(count)])

    if world.outline:
        rng = own("outline")
        moved = np.stack([_smooth(rng, place) for _ in range(3)], axis=1)
        sources = sources_at(rng, sources, world.outline * moved)
    bands, networks = len(sources.weight), len(NETWORKS)
    later = normal("delay", 1 + networks)
    vascular = world.vascular * shared_map("vascular")
    delay = sources.delay + world.delay * later[0] + vascular
    delay[:visible] += world.delay * later[1:][network]
    rng = own("coupling")
    turned, sizes = rng.normal(size=(bands, networks)), rng.normal(size=1 + networks)
    between = group("coupling").normal(size=(networks, networks)) + rng.normal(size=(networks, networks))
    mixing = np.eye(networks) + world.coupling * MIXED * between
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    sizes_here = np.exp(world.coupling * (0.6 * sizes[0] + 0.5 * sizes[1:][network]))
    wave = OTHER_WAVES * maps("waves", WAVES)
    wave[0] = np.exp(WAVE_MAP / OTHER_WAVES * wave[0])
    wave *= sizes_here
    modes = maps("fast", MODES)
    modes[0] = GLOBAL_FAST + modes[0]
    louder = normal("gain", bands, 1 + visible)
    gain = np.exp(world.gain * (louder[:, :1] + louder[:, 1:]))
    return replace(
        sources,
        delay=np.clip(delay, 3, 9).astype(np.float32),
        vascular=vascular[:visible],
        pace=np.exp(world.spectra * group("spectra").permutation(np.linspace(-1.5, 1.5, networks + WAVES))),
        modes=np.sqrt(world.fast * SHARED_FAST) * (modes / np.sqrt(np.square(modes).sum(axis=0).mean())),
        travel=world.propagation * maps("propagation", WAVES + networks),
        weight=(sources.weight * (1 + TURNED * world.coupling * turned)[:, network]).astype(np.float32),
        mixing=mixing[network].T.astype(np.float32),
        wave=wave.astype(np.float32),
        amplitude=(sources.amplitude * gain).astype(np.float32),
        head=float(np.exp(HEADS * own("bursts").normal())),
    )


def _smooth(rng: Generator, place: NDArray[np.float64], waves: int = 12) -> NDArray[np.float64]:
    """A smooth map at places (n, 3) in mm: mean 0 and variance 1 over them."""
    wave_vectors = rng.normal(0, 2 * np.pi / WAVELENGTH / np.sqrt(3), (3, waves))
    course = np.cos(place @ wave_vectors + rng.uniform(0, 2 * np.pi, waves)).sum(axis=1)
    return (course - course.mean()) / course.std()
