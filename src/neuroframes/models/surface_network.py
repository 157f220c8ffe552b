"""The surface model: frames from EEG by graph convolutions over the cortical mesh.

    e_k = attention of frame k to the EEG's tokens                      EEGEncoder
    h = GCN^3(vertex features + feature of the EEG)   (V, w)            SurfaceGraphEncoder
    x_vk = sum_j a_j (1 + s_kj) MLP(h_v)_j + b,   s_k = S e_k           CorticalVertexDecoder
    x <- A+ y + (I - A+ A) x                                            NullSpaceCompleter
    x <- x + LSTM over k of (x_vk, share of frame k that is measured)   TemporalCoherence

and the completer once more, so that measured frames are exact. A vertex's features are its place on the
sphere, what is learned of it, and its measured frames A+ y; the share is the diagonal of A+ A. A layer of the
GCN is D^-1/2 (M + I) D^-1/2 H W + b, M the mesh's adjacency and D the degrees of M + I (Kipf and Welling
2017).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.frames.measurement import AlongTime, Mask
from neuroframes.models.denoiser import EARLIEST, LATEST, Attention, TokenBias
from neuroframes.models.eeg_encoder import EEGEncoder
from neuroframes.models.paper_network import code
from neuroframes.models.settings import SurfaceSettings
from neuroframes.recording.band_power import BANDS, check_bands
from neuroframes.recording.montage import standard_positions

BLOCK, CACHED = 16_384, 1024  # vertices worked on at once, and where they are to stay in a CPU's cache

Known = Tensor | AlongTime


def in_blocks(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` of blocks of vertices of x (B, V, ...); what lies between is computed again backwards."""
    # On a CPU a small block stays in the cache: an LSTM is twice as fast.
    blocks = x.split(max(1, (CACHED if x.device.type == "cpu" else BLOCK) // len(x)), dim=1)
    done = [checkpoint(function, block, use_reentrant=False, preserve_rng_state=False) for block in blocks]
    return torch.cat(done, dim=1)


def normalised(adjacency: scipy.sparse.sparray) -> tuple[Tensor, Tensor]:
    """Entries of D^-1/2 (M + I) D^-1/2, from M (V, V): indices (2, E), by row, and values (E,)."""
    graph = scipy.sparse.csr_array(adjacency + scipy.sparse.eye_array(adjacency.shape[0]))
    root = scipy.sparse.diags_array(graph.sum(axis=1) ** -0.5)
    entries = scipy.sparse.csr_array(root @ graph @ root)
    entries.sort_indices()
    row, column = (torch.from_numpy(index).long() for index in entries.tocoo().coords)
    return torch.stack([row, column]), torch.from_numpy(entries.data).float()


class GraphConvolution(nn.Module):
    """L H W + b, with L the normalised adjacency."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out, bias=False)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        """From x (B, V, n_in) and sparse L (V, V) to (B, V, n_out)."""
        h = self.linear(x)
        # One product for the whole batch; sparse ones are in single precision only.
        with torch.autocast(x.device.type, enabled=False):
            mixed = torch.sparse.mm(graph, h.float().transpose(0, 1).flatten(1))
        return mixed.unflatten(1, (len(x), -1)).transpose(0, 1) + self.bias


class SurfaceGraphEncoder(nn.Module):
    """Three graph convolutions of vertex features plus a feature of the EEG, each added to what it takes.

    Without that a vertex would be known by the mean of its neighbours only.

    Parameters
    ----------
    indices, values : tensor, shapes (2, E) and (E,)
        Of the normalised adjacency; see `normalised`.
    n_vertex, n_eeg : int
        Features.
    width : int
    """

    indices: Tensor
    values: Tensor

    def __init__(self, indices: Tensor, values: Tensor, n_vertex: int, n_eeg: int, width: int) -> None:
        super().__init__()
        self.register_buffer("indices", indices)
        self.register_buffer("values", values)
        self.vertex = nn.Linear(n_vertex, width)
        self.eeg = nn.Linear(n_eeg, width, bias=False)
        self.convolutions = nn.ModuleList(GraphConvolution(width, width) for _ in range(3))

    def forward(self, vertex: Tensor, eeg: Tensor) -> Tensor:
        """From features (B, V, F) of vertices and (B, G) of the EEG to (B, V, w)."""
        size = (vertex.shape[1], vertex.shape[1])
        with torch.sparse.check_sparse_tensor_invariants(False):
            graph = torch.sparse_coo_tensor(self.indices, self.values, size, is_coalesced=True)
        h = self.vertex(vertex) + self.eeg(eeg)[:, None]
        for convolution in self.convolutions:
            h = h + functional.gelu(convolution(h, graph))
        return h


class CorticalVertexDecoder(nn.Module):
    """A perceptron of each vertex, whose last layer is scaled for each frame by what the EEG says of it.

    Vertices are worked on in blocks, and what lies within the perceptron isn't kept: 59,412 of them would
    take gigabytes.

    Parameters
    ----------
    sizes : tuple of int
        Of the perceptron, from input to output; LayerNorm and GELU after all but the last.
    n_eeg : int
        Features of a frame.
    """

    def __init__(self, sizes: tuple[int, ...] = (512, 1024, 512, 1), n_eeg: int = 512) -> None:
        super().__init__()
        *hidden, last = sizes
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(hidden):
            layers += [nn.Linear(n_in, n_out), nn.LayerNorm(n_out), nn.GELU()]
        self.perceptron = nn.Sequential(*layers)
        self.expand = nn.Linear(n_eeg, hidden[-1])
        self.out = nn.Linear(hidden[-1], last)

    def forward(self, h: Tensor, eeg: Tensor) -> Tensor:
        """Frames (B, V, K) from h (B, V, sizes[0]) and features (B, K, G) of frames."""
        weights = self.out.weight * (1 + self.expand(eeg))
        return in_blocks(lambda block: self.perceptron(block) @ weights.mT + self.out.bias, h)


class NullSpaceCompleter(nn.Module):
    """A+ y + (I - A+ A) x: x where nothing was measured, and y where something was.

    What is known of K frames is said by one of

    * numbers of frames: int (n,), y (B, V, n);
    * a mask for each sample: bool (B, K), y (B, V, K), of which hidden frames are not read;
    * any linear sampling along time: `AlongTime` of M x K, y (B, V, M).

    Under the first two it only copies: known frames are exact to the bit.
    """

    def forward(self, x: Tensor, known: Known, y: Tensor) -> Tensor:
        """From x (B, V, K) to the same, which agrees with y."""
        if isinstance(known, AlongTime):
            matrix, inverse = _matrices(known, x.device)
            # A+ is large where samples lie close together: single precision would miss y.
            with torch.autocast(x.device.type, enabled=False):
                free = x.double()
                return (free + (y.double() - free @ matrix.mT) @ inverse.mT).to(x.dtype)
        if known.dtype == torch.bool:
            return torch.where(known[:, None], y, x)
        return x.index_copy(2, known, y)

    def share(self, known: Known, x: Tensor) -> Tensor:
        """How much of each frame is measured: the diagonal of A+ A, shape (B, K), for x (B, V, K)."""
        if isinstance(known, AlongTime):
            matrix, inverse = _matrices(known, x.device)
            return (inverse * matrix.mT).sum(dim=1).to(x.dtype).expand(len(x), -1)
        if known.dtype == torch.bool:
            return known.to(x.dtype)
        return x.new_zeros(len(x), x.shape[2]).index_fill(1, known, 1)


def _matrices(known: AlongTime, device: torch.device) -> tuple[Tensor, Tensor]:
    """A (M, K) and A+ (K, M), float64."""
    inverse = known.pinv(np.eye(len(known.matrix)))
    return torch.from_numpy(known.matrix).to(device), torch.from_numpy(inverse).to(device)


class TemporalCoherence(nn.Module):
    """A bidirectional LSTM of two layers over the frames of each vertex, added to them.

    Parameters
    ----------
    hidden : int
        In each direction.
    """

    def __init__(self, hidden: int = 16) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, hidden, num_layers=2, bidirectional=True)
        self.head = nn.Linear(2 * hidden, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """From frames (B, V, K) and how much of each is measured (B, K) to frames (B, V, K)."""

        def added(block: Tensor) -> Tensor:
            series = torch.stack([block, share[:, None].expand_as(block)], dim=-1)
            h = self.head(self.lstm(series.flatten(0, 1).transpose(0, 1).contiguous())[0])
            return block + h[..., 0].mT.reshape(block.shape)

        return in_blocks(added, x)

    @staticmethod
    def roughness(x: Tensor) -> Tensor:
        """mean (x_{k+1} - x_k)^2 of frames (B, V, K), which the loss takes in."""
        return x.diff(dim=2).square().mean()


def places(space: CorticalSpace) -> Tensor:
    """Direction of each vertex on its hemisphere's sphere, and the hemisphere as -1 or 1; shape (V, 4)."""
    from neuroframes.cortex.mesh import vertex_positions

    direction = functional.normalize(torch.from_numpy(vertex_positions(space, "sphere")), dim=1)
    side = torch.from_numpy(np.where(space.cortical, 2 * space.hemisphere - 1, 0))
    return torch.cat([direction, side[:, None]], dim=1).float()


class SpatiotemporalNeuralFrames(nn.Module):
    """Frames of one window from EEG and whatever frames of it are known; see `for_space` to make one.

    Parameters
    ----------
    settings : SurfaceSettings
    indices, values : tensor, of the mesh; see `normalised`
    place : tensor, shape (V, 4)
        Direction of each vertex from the sphere's centre and its hemisphere, -1 or 1; 0 off the cortex.
    positions : tensor, shape (C, 3), metres, of the electrodes
    bands : mapping from name to (low, high), Hz
    tr : float, seconds
    rate : float, Hz, of the EEG
    """

    place: Tensor
    positions: Tensor

    def __init__(
        self,
        settings: SurfaceSettings,
        indices: Tensor,
        values: Tensor,
        place: Tensor,
        positions: Tensor,
        bands: Mapping[str, tuple[float, float]],
        tr: float,
        rate: float,
    ) -> None:
        super().__init__()
        self.tr, self.rate, self.n_frames = tr, rate, settings.frames
        width, n_virtual = settings.width, settings.virtual_channels
        self.register_buffer("place", place)
        self.register_buffer("positions", positions)
        self.embedding = nn.Parameter(torch.randn(len(place), settings.embedding))
        self.encoder = EEGEncoder(width, filters=settings.filters, n_virtual=n_virtual, bands=bands)
        self.pattern = nn.Linear(self.n_frames, width)
        self.attention = Attention(width, width, settings.heads, optional=True)
        self.token_bias = TokenBias(settings.heads)
        self.norm = nn.LayerNorm(width)
        n_vertex = place.shape[1] + settings.embedding + self.n_frames
        self.graph = SurfaceGraphEncoder(indices, values, n_vertex, width + self.n_frames, width)
        self.decoder = CorticalVertexDecoder((width, 2 * width, width, 1), width)
        self.completer = NullSpaceCompleter()
        self.coherence = TemporalCoherence(settings.hidden)

    @classmethod
    def for_space(
        cls,
        space: str | CorticalSpace,
        *,
        channels: Sequence[str],
        rate: float,
        tr: float,
        positions: NDArray[np.floating] | None = None,
        bands: Mapping[str, tuple[float, float]] = BANDS,
        seed: int = 0,
        **settings: Any,
    ) -> Self:
        """The network of a cortex and an EEG, untrained: its weights are random.

        Parameters
        ----------
        space : "fsLR" (59,412 vertices), "fsaverage5" (20,484), or a CorticalSpace with a mesh
        channels : sequence of str, length C
        rate : float, Hz, of the EEG
        tr : float, seconds between frames
        positions : array, shape (C, 3), metres
            Of the electrodes; those of the standard 10-05 montage by default.
        bands : mapping from name to (low, high), Hz
            Whose power the EEG's tokens hold.
        seed : int
            The same seed gives the same weights.
        **settings
            Of `SurfaceSettings`: `frames` (K), `width`, ...

        Raises
        ------
        InputError
            If the space is unknown or has no mesh, a channel has no standard position, a band lies above
            the EEG's Nyquist frequency, or a setting is out of range.

        Examples
        --------
        >>> network = SpatiotemporalNeuralFrames.for_space(
        ...     "fsaverage5", channels=["Fz", "Cz", "Pz", "Oz"], rate=200, tr=0.8, frames=10, width=32
        ... )
        >>> eeg = 1e-5 * torch.randn(1, 4, network.n_samples)
        >>> known_indices, known_frames = torch.tensor([0, 9]), torch.randn(1, 20_484, 2)
        >>> network(eeg, known_indices, known_frames).shape
        torch.Size([1, 20484, 10])
        """
        from neuroframes.cortex.mesh import adjacency

        space = CorticalSpace.named(space) if isinstance(space, str) else space
        checked = SurfaceSettings(**settings)
        check_bands(rate, bands)
        at = torch.as_tensor(standard_positions(channels) if positions is None else positions).float()
        graph = normalised(adjacency(space))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return cls(checked, *graph, places(space), at, bands, tr, rate)

    @property
    def n_samples(self) -> int:
        """N of a window's EEG: from `EARLIEST` before its first frame to `LATEST` after its last."""
        return round((EARLIEST + (self.n_frames - 1) * self.tr + LATEST) * self.rate)

    def forward(self, eeg: Tensor, known_indices: Known, known_frames: Tensor) -> Tensor:
        """Frames (B, V, K), known ones as they are.

        Parameters
        ----------
        eeg : tensor, shape (B, C, N), volts
            Sample 0 is `EARLIEST` = 25 s before the centre of the first frame.
        known_indices : tensor of int (n,), tensor of bool (B, K), or AlongTime of M x K
            See `NullSpaceCompleter`; a mask (K,) is that of every sample.
        known_frames : tensor, shape (B, V, n), (B, V, K) or (B, V, M), z-scored

        Raises
        ------
        InputError
            If the shapes of the last two don't fit each other, or there is no frame of such a number.
        """
        known_indices = self._checked(known_indices, known_frames)
        nothing = known_frames.new_zeros(*known_frames.shape[:2], self.n_frames)
        given = self.completer(nothing, known_indices, known_frames)
        share = self.completer.share(known_indices, nothing)
        features = self.frame_features(eeg, share)
        vertex = torch.cat([self.place, self.embedding], dim=1).expand(len(given), -1, -1)
        h = self.graph(
            torch.cat([vertex, given], dim=2), torch.cat([features.mean(dim=1), share.to(features)], dim=1)
        )
        x = self.decoder(h, features).to(given.dtype)
        x = self.completer(x, known_indices, known_frames)
        x = self.coherence(x, share).to(given.dtype)
        return self.completer(x, known_indices, known_frames)

    def _checked(self, known: Known, frames: Tensor) -> Known:
        """What is known, as `NullSpaceCompleter` takes it, of frames (B, V, n), (B, V, K) or (B, V, M)."""
        n_frames, (batch, _, n_given) = self.n_frames, frames.shape
        if isinstance(known, AlongTime) and isinstance(known, Mask):
            # As numbers of frames it is exact.
            known = torch.from_numpy(known.measured.nonzero()[0]).to(frames.device)
        if isinstance(known, AlongTime):
            fits, expected = known.matrix.shape == (n_given, n_frames), f"an operator ({n_given}, {n_frames})"
        elif known.dtype == torch.bool:
            known = known.expand(batch, -1) if known.ndim == 1 else known
            fits = known.shape == (batch, n_frames) and n_given == n_frames
            expected = f"a mask of {batch} samples' {n_frames} frames, and as many frames"
        else:
            whole = not known.is_floating_point() and known.shape == (n_given,)
            fits = whole and bool(((known >= 0) & (known < n_frames)).all())
            expected = f"{n_given} numbers of frames, from 0 to {n_frames - 1}"
        if not fits:
            shape = known.matrix.shape if isinstance(known, AlongTime) else known.shape
            raise InputError(
                f"known frames of shape {tuple(frames.shape)} with what says which, of shape {tuple(shape)}; "
                f"expected {expected}"
            )
        return known

    def frame_features(self, eeg: Tensor, share: Tensor) -> Tensor:
        """Features of frames, (B, K, w), from EEG (B, C, N) and how much of each is measured (B, K)."""
        start = torch.full((len(eeg),), -EARLIEST, dtype=torch.float64, device=eeg.device)
        values, times = self.encoder(eeg, self.rate, self.positions, start)
        frame = torch.arange(self.n_frames, device=eeg.device)
        query = code(frame, values.shape[-1]) + self.pattern(share.float())[:, None]
        lag = (frame[:, None] * self.tr - times[:, None]).float()
        return self.norm(query + self.attention(query, values, self.token_bias(lag)))
