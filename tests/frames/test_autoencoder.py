"""The linear autoencoder against NumPy's SVD and scikit-learn's PCA."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from neuroframes.errors import InputError
from neuroframes.frames import autoencoder as module
from neuroframes.frames.autoencoder import LinearAutoencoder, blocks, fit_autoencoder
from neuroframes.frames.prior import FramePrior

K, V, D = 80, 200, 6


def frames_of(n_frames=K, n_vertices=V, rank=None, noise=0.3, seed=0):
    """Frames with a few strong components, each vertex with mean 0."""
    generator = np.random.default_rng(seed)
    rank = rank or D
    strength = np.linspace(3, 1, rank)
    frames = (
        generator.standard_normal((n_frames, rank)) * strength @ generator.standard_normal((rank, n_vertices))
    )
    frames += noise * generator.standard_normal(frames.shape)
    return (frames - frames.mean(axis=0)).astype(np.float32)


def fit(frames, n_latents, seed=0):
    generator = np.random.default_rng(seed)
    return fit_autoencoder(lambda block: frames[:, block], frames.shape[1], n_latents, generator)


def projector(rows):
    basis = np.linalg.qr(np.asarray(rows, np.float64).T)[0]
    return basis @ basis.T


@pytest.fixture(scope="module")
def fitted():
    frames = frames_of()
    return frames, *fit(frames, D)


def test_blocks_cover_every_vertex_once():
    assert [range(10000)[b] for b in blocks(10000, 4096)] == [
        range(4096),
        range(4096, 8192),
        range(8192, 10000),
    ]
    assert not list(blocks(0))


def test_latents_survive_decoding_and_encoding(fitted):
    _, autoencoder, _ = fitted
    z = np.random.default_rng(1).standard_normal((50, D))
    decoded = autoencoder.decode(z)
    assert np.abs(autoencoder.encode(lambda block: decoded[:, block]) - z).max() < 1e-5


def test_encoder_is_the_pseudo_inverse(fitted):
    autoencoder = fitted[1]
    expected = np.linalg.pinv(autoencoder.decoder.astype(np.float64))
    assert np.allclose(autoencoder.encoder, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())


def test_what_is_left_over_is_orthogonal_to_the_decoder(fitted):
    frames, autoencoder, _ = fitted
    rest = frames - autoencoder.decode(autoencoder.encode(lambda block: frames[:, block]))
    products = rest.astype(np.float64) @ autoencoder.decoder.T
    assert np.abs(products).max() < 1e-5 * np.linalg.norm(frames) * np.linalg.norm(autoencoder.decoder)
    assert np.allclose(autoencoder.rest, np.sqrt(np.square(rest).mean(axis=0)), rtol=1e-3)


def test_spans_the_principal_subspace(fitted):
    frames, autoencoder, _ = fitted
    singular = np.linalg.svd(frames.astype(np.float64), full_matrices=False)[2][:D]
    pca = PCA(D).fit(frames).components_
    for reference in (singular, pca):
        assert np.abs(projector(autoencoder.decoder) - projector(reference)).max() < 1e-3


def test_latents_are_white_and_strongest_first(fitted):
    frames, autoencoder, latents = fitted
    assert np.allclose(latents.T @ latents / K, np.eye(D), atol=1e-4)
    gram = autoencoder.decoder.astype(np.float64) @ autoencoder.decoder.T
    strength = np.diagonal(gram)
    assert np.all(np.diff(strength) < 0)
    assert np.allclose(gram, np.diag(strength), atol=1e-4 * strength[0])
    expected = np.linalg.svd(frames.astype(np.float64), compute_uv=False)[:D] ** 2 / K
    assert np.allclose(strength, expected, rtol=1e-3)
    assert np.allclose(latents, autoencoder.encode(lambda block: frames[:, block]), atol=1e-2)


def test_blocks_change_nothing(monkeypatch):
    frames = frames_of(40, 300)
    whole, latents = fit(frames, D)
    monkeypatch.setattr(module, "blocks", lambda n: blocks(n, 64))
    cut, latents_cut = fit(frames, D)
    assert np.allclose(cut.decoder, whole.decoder, atol=1e-4)
    assert np.allclose(cut.rest, whole.rest, atol=1e-4)
    assert np.allclose(latents_cut, latents, atol=1e-4)
    assert np.allclose(cut.encode(lambda b: frames[:, b]), whole.encode(lambda b: frames[:, b]), atol=1e-4)


def test_more_vertices_than_a_block():
    frames = frames_of(30, module.BLOCK + 50)
    autoencoder, _ = fit(frames, 4)
    reference = np.linalg.svd(frames.astype(np.float64), full_matrices=False)[2][:4]
    got = np.linalg.qr(autoencoder.decoder.T.astype(np.float64))[0]
    assert np.linalg.svd(reference @ got, compute_uv=False).min() > 1 - 1e-5
    block = slice(4090, 4110)
    z = np.ones((2, 4))
    assert np.allclose(autoencoder.decode(z, block), autoencoder.decode(z)[:, block])


@pytest.mark.parametrize("n_frames", [60, 3000])
def test_lower_rank_gives_fewer_latents(n_frames):
    frames = frames_of(n_frames, 90, rank=4, noise=0)
    autoencoder, latents = fit(frames, 20)
    assert autoencoder.n_latents == latents.shape[1] == 4
    assert np.all(autoencoder.rest < 1e-2)
    decoded = autoencoder.decode(autoencoder.encode(lambda block: frames[:, block]))
    assert np.linalg.norm(decoded - frames) < 1e-5 * np.linalg.norm(frames)


def test_weak_components_of_long_recordings_are_kept():
    # 500 times weaker in variance than the first, as in fMRI: the cut-off mustn't grow with the length.
    generator = np.random.default_rng(2)
    strength = np.sqrt(np.geomspace(1, 1 / 500, 12))
    frames = (
        generator.standard_normal((20_000, 12)) * strength @ generator.standard_normal((12, 40))
    ).astype(np.float32)
    assert fit(frames, 12)[0].n_latents == 12


@pytest.mark.parametrize(("n_frames", "n_vertices"), [(5, 200), (200, 5)])
def test_no_more_latents_than_frames_or_vertices(n_frames, n_vertices):
    autoencoder, _ = fit(frames_of(n_frames, n_vertices, noise=1), 50)
    assert autoencoder.n_latents <= 5


def test_frames_that_never_change_are_refused():
    with pytest.raises(InputError, match="constant at every vertex"):
        fit(np.zeros((20, 30), np.float32), 4)


def test_the_same_seed_gives_the_same_autoencoder():
    frames = frames_of()
    assert np.array_equal(fit(frames, 3)[0].decoder, fit(frames, 3)[0].decoder)


@pytest.mark.parametrize("n_left", [150, D, 3], ids=["most", "as many as latents", "fewer than latents"])
def test_restricted_to_some_vertices_the_encoder_is_the_pseudo_inverse_of_what_is_left(
    fitted, covariance_of, n_left
):
    full = fitted[1]
    vertices = np.sort(np.random.default_rng(3).choice(V, n_left, replace=False))
    prior = FramePrior(full, covariance_of(D), covariance_of(1)).restricted(vertices)
    some = prior.autoencoder
    assert np.array_equal(some.decoder, full.decoder[:, vertices])
    assert np.array_equal(some.rest, full.rest[vertices])
    expected = np.linalg.pinv(some.decoder.astype(np.float64), rcond=1e-5)
    assert np.allclose(some.encoder, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    if n_left > D:
        z = np.random.default_rng(4).standard_normal((20, D))
        decoded = some.decode(z)
        assert np.abs(some.encode(lambda block: decoded[:, block]) - z).max() < 1e-5


def test_restricted_to_all_vertices_it_is_the_same_prior(fitted, covariance_of):
    prior = FramePrior(fitted[1], covariance_of(D), covariance_of(1))
    same = prior.restricted(np.arange(V))
    for name in ("decoder", "rest", "encoder"):
        assert np.array_equal(getattr(same.autoencoder, name), getattr(prior.autoencoder, name))
    assert same.latents is prior.latents and same.rest is prior.rest


def test_vertices_without_signal_stay_out(covariance_of):
    decoder = np.zeros((2, 5), np.float32)
    decoder[:, :3] = np.random.default_rng(5).standard_normal((2, 3))
    autoencoder = LinearAutoencoder(decoder, np.zeros(5, np.float32))
    assert not autoencoder.encoder[3:].any()
