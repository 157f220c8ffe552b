"""Sums over people: what is left without one, and two populations as one."""

from dataclasses import replace

import numpy as np
import pytest

from neuroframes.errors import InputError
from neuroframes.frames.autoencoder import LinearAutoencoder
from neuroframes.frames.coupling import Lags
from neuroframes.frames.population import Population, merged

D, V = 3, 7


def population(*people: str, seed: int = 0) -> Population:
    generator = np.random.default_rng(seed)
    decoder = np.random.default_rng(9).standard_normal((D, V)).astype(np.float32)
    rest = generator.random(V).astype(np.float32) * (np.arange(V) != 2)
    sums = {
        name: Lags(generator.standard_normal((4, D, D)), generator.random((1, 5)), generator.integers(50, 90))
        for name in people
    }
    runs = dict.fromkeys(people, 2)
    return Population(LinearAutoencoder(decoder, rest), sums, generator.random(5), 2.0, runs)


def test_what_is_left_without_a_person_is_what_the_others_say():
    of = population("sub-01", "sub-02", "sub-03")
    left = of.without("sub-02")
    assert list(left.people) == ["sub-01", "sub-03"]
    np.testing.assert_allclose(left.total().cross, of.people["sub-01"].cross + of.people["sub-03"].cross)
    assert of.n_runs == 6 and left.n_runs == 4
    assert left.n_frames == of.n_frames - of.people["sub-02"].frames
    np.testing.assert_array_equal(left.autoencoder.decoder, of.autoencoder.decoder)


@pytest.mark.parametrize(("people", "person"), [(["sub-01", "sub-02"], "sub-03"), (["sub-01"], "sub-01")])
def test_somebody_must_be_left_out_and_somebody_left(people, person):
    with pytest.raises(InputError, match=f"{person} can't be left out of a prior of {', '.join(people)}"):
        population(*people).without(person)


def test_merged_populations_say_what_both_do():
    one, other = population("sub-01", "sub-02"), population("sub-03", seed=1)
    both = merged(one, other)
    assert list(both.people) == ["sub-01", "sub-02", "sub-03"] and both.n_runs == 6
    np.testing.assert_allclose(both.total().power, one.total().power + other.total().power)
    np.testing.assert_allclose(both.rest_power, one.rest_power + other.rest_power)
    powers = [part.n_frames * np.square(part.autoencoder.rest) for part in (one, other)]
    expected = np.sqrt(sum(powers) / both.n_frames)
    np.testing.assert_allclose(both.autoencoder.rest, expected, rtol=1e-6)


def test_only_sums_in_the_same_components_of_different_people_are_added():
    one, other = population("sub-01"), population("sub-02", seed=1)
    turned = replace(other, autoencoder=replace(other.autoencoder, decoder=-other.autoencoder.decoder))
    with pytest.raises(InputError, match="components of their own"):
        merged(one, turned)
    with pytest.raises(InputError, match="components of their own"):
        merged(one, replace(other, tr=2.1))
    with pytest.raises(InputError, match="sub-01 would count twice"):
        merged(one, population("sub-01", seed=1))


def test_at_some_vertices_it_is_the_same_and_elsewhere_it_knows_nothing():
    of = population("sub-01")
    there = of.at(np.array([4, -1, 0]))
    np.testing.assert_array_equal(there.autoencoder.decoder[:, [0, 2]], of.autoencoder.decoder[:, [4, 0]])
    np.testing.assert_array_equal(there.autoencoder.rest[[0, 2]], of.autoencoder.rest[[4, 0]])
    assert not there.autoencoder.decoder[:, 1].any() and there.autoencoder.rest[1] == 0
