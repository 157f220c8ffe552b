"""People and ingredients: each changes what it should and nothing else, and people differ as said."""

from dataclasses import fields, replace

import numpy as np
import pytest
import scipy.sparse

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording import simulated_signals as signals
from neuroframes.recording.simulated_people import of_person
from neuroframes.recording.simulated_sources import Sources, in_parcels, make_sources
from neuroframes.recording.simulated_world import INGREDIENTS, LIFELIKE, LINEAR, SEEN_FILM, World, chance

CHANGES = {
    "outline": {"patches", "lead_field"},
    "delay": {"delay", "signal", "coupled"},
    "coupling": {"weight", "mixing", "wave", "envelopes", "signal", "coupled"},
    "strength": {"signal", "coupled"},
    "gain": {"amplitude"},
    "waves": {"signal"},
    "propagation": {"travel", "envelopes", "signal", "coupled"},
    "vascular": {"delay", "vascular", "signal", "coupled", "noise"},
    "spectra": {"pace", "envelopes", "signal", "coupled"},
    "vigilance": {"drowsiness", "envelopes", "signal", "coupled"},
    "saturation": {"signal", "coupled"},
    "fast": {"modes", "noise"},
    "jitter": set(),
    "bursts": {"motion", "displacement", "jerks", "noise"},
    "film": {"signal"},
}
WITH_FILM = replace(LIFELIKE, film=SEEN_FILM)


@pytest.fixture(scope="module")
def shared() -> Sources:
    return make_sources(np.random.default_rng(0), CorticalSpace.fsaverage5(), 8)


def person(shared: Sources, world: World, number: int = 1) -> Sources:
    return of_person(shared, world, chance(0, 0, 0), chance(0, 0, number))


def all_of(shared: Sources, world: World) -> dict:
    """Everything but the EEG of a run of a person, by name."""
    sources, rng = person(shared, world), np.random.default_rng(1)
    clock = signals.Clock.of_run(100, 2.0, 250.0)
    subject = signals.make_subject(rng, clock, world, chance(0, 1, 1), "sub-01", sources.head)
    envelopes = signals.band_envelopes(rng, sources, subject)
    signal, coupled = signals.bold_latents(rng, sources, envelopes, subject, 1.0)
    noise, fluid = signals.bold_noise(rng, sources, subject)
    of = {**vars(sources), **vars(subject)}
    return of | {"envelopes": envelopes, "signal": signal, "coupled": coupled, "noise": noise, "fluid": fluid}


@pytest.fixture(scope="module")
def linear(shared) -> dict:
    return all_of(shared, LINEAR)


def same(a, b) -> bool:
    if scipy.sparse.issparse(a):
        return a.shape == b.shape and (a != b).nnz == 0
    return not isinstance(a, np.ndarray) or (a.shape == b.shape and np.array_equal(a, b))


@pytest.mark.parametrize("ingredient", INGREDIENTS)
def test_an_ingredient_changes_what_it_should_and_nothing_else(shared, linear, ingredient):
    only = replace(LINEAR, **{ingredient: getattr(WITH_FILM, ingredient)})
    changed = {name for name, value in all_of(shared, only).items() if not same(value, linear[name])}
    # Movement shows in the fluid too: it is among its noise.
    assert changed - {"fluid"} == CHANGES[ingredient]


def test_every_ingredient_is_in_the_lifelike_world():
    assert all(getattr(WITH_FILM, name) for name in INGREDIENTS)
    assert LIFELIKE.film == 0  # but the film's, which recordings have that come with it


def test_in_the_linear_world_people_are_alike(shared):
    for number in (1, 2):
        of = person(shared, LINEAR, number)
        for field in (f.name for f in fields(Sources) if f.name not in ("wave", "head")):
            assert same(getattr(of, field), getattr(shared, field)), field


def test_people_share_networks_and_differ_in_the_rest(shared):
    first, again, other = (person(shared, LIFELIKE, number) for number in (1, 1, 2))
    for field in (f.name for f in fields(Sources)):
        assert same(getattr(first, field), getattr(again, field))
    for field in ("space", "territory", "network", "seeds", "pace", "mean", "scale"):
        assert same(getattr(first, field), getattr(other, field))
    for field in ("patches", "lead_field", "delay", "weight", "mixing", "travel", "wave", "amplitude"):
        assert not same(getattr(first, field), getattr(other, field)), field
    assert np.corrcoef(first.travel.ravel(), other.travel.ravel())[0, 1] > 0.2
    # Outlines move by millimetres: most of a patch stays where it was.
    overlap = first.patches.multiply(shared.patches).sum(axis=0) / shared.patches.power(2).sum(axis=0)
    assert 0.5 < np.median(overlap) < 0.98


def test_regions_lag_by_the_size_that_is_asked_for(shared):
    lags = np.stack([person(shared, replace(LINEAR, propagation=1.0), n).travel for n in range(1, 5)])
    assert lags.std() == pytest.approx(1.0, abs=0.3)


def test_ingredients_are_left_out_by_name():
    left = LIFELIKE.without("vigilance, saturation")
    assert (left.vigilance, left.saturation, left.waves) == (0, 0, LIFELIKE.waves)
    with pytest.raises(InputError, match="--without sleep; choose from outline, delay"):
        LIFELIKE.without("sleep")


def test_parcels_are_averages_over_compact_pieces(shared):
    whole = in_parcels(shared, 31)
    assert whole.space.V == 31 and whole.space.names[:2] == ("L-001", "L-002")
    assert [name[0] for name in whole.space.names].count("L") == 16
    maps = shared.patches.multiply(shared.scale[:, None]).tocsr()[~shared.dead]
    total = np.asarray(maps.sum(axis=0)).ravel()
    latents = np.random.default_rng(0).normal(size=shared.patches.shape[1])
    # Parcels of different sizes: their weighted mean is that of all vertices.
    assert (whole.patches @ latents).std() < 1.2 * (maps @ latents).std()
    assert np.corrcoef(np.asarray(whole.patches.sum(axis=0)).ravel(), total)[0, 1] > 0.8
    assert (whole.mean > 2000).all() and (whole.smoothing.diagonal() < 0.3).all()
