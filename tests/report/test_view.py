"""The page is decoded again and compared with the files; Chromium, where there is one, draws it."""

import base64
import gzip
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, SeriesAxis

from neuroframes.cortex.mesh import cortical_vertices, sulcal_depth, surface
from neuroframes.cortex.space import CorticalSpace
from neuroframes.errors import InputError
from neuroframes.recording.bold import write_bold
from neuroframes.recording.sidecar import write_sidecar
from neuroframes.report.view import view

K, TR = 6, 0.8
MESH = 10_242  # vertices of a hemisphere of fsaverage5


class Page(HTMLParser):
    """A page's tags, and its embedded blocks by id."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.scripts, self.style, self._open = [], {}, "", None
        self.feed(path.read_text(encoding="utf-8"))
        self.meta = json.loads(self.scripts["meta"])

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._open = dict(attributes).get("id", tag) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open:
            self.scripts[self._open] = self.scripts.get(self._open, "") + data

    def array(self, name, dtype):
        return np.frombuffer(gzip.decompress(base64.b64decode(self.scripts[name])), dtype)

    def codes(self, what):
        return self.array(f"{what}-codes", np.uint8).reshape(len(self.meta["frames"]), -1)


@pytest.fixture
def frames():
    return np.random.default_rng(0).normal(500, 20, (K, 2 * MESH)).astype(np.float32)


@pytest.fixture
def result(tmp_path, frames):
    """A completed GIFTI run with its standard deviation and sidecar, as `complete` leaves it."""
    path = tmp_path / "sub-01_hemi-L_space-fsaverage5_desc-completed_bold.func.gii"
    deviation = path.with_name(path.name.replace("desc-completed", "desc-completed_stat-std"))
    measured = np.array([True, True, False, False, True, True])
    space = CorticalSpace.fsaverage5()
    write_bold(path, frames, space, tr=TR)
    values = np.abs(frames - 500) / 2
    write_bold(deviation, np.where(measured[:, None], 0, values).astype(np.float32), space, tr=TR)
    write_sidecar(
        path,
        {
            "NeuroframesMeasured": measured,
            "NeuroframesStandardDeviation": deviation.name,
            "NeuroframesModel": "gaussian",
            "NeuroframesVersion": "0.1.0",
            "Sources": ["bids::sub-01/func/raw.nii.gz"],
            "Description": "</script><script>alert(1)</script>",
        },
    )
    return path


def standardized(data):
    return (data - data.mean(axis=0)) / data.std(axis=0)


def test_the_page_carries_the_standardized_frames(result, frames, tmp_path):
    page = Page(view(result, tmp_path / "page.html"))
    codes, limit = page.codes("signal"), page.meta["signal_limit"]
    z = standardized(frames.astype(np.float64))
    assert codes.shape == (K, 2 * MESH) and codes.min() >= 1
    shown = (codes.astype(np.float64) - 128) / 127 * limit
    # Half a code's step, beyond the rounding of a float32 z.
    np.testing.assert_allclose(shown, np.clip(z, -limit, limit), atol=limit / 254 + 1e-4)
    assert np.mean(np.abs(z) > limit) < 0.002


def test_the_page_carries_the_standard_deviation_in_the_same_units(result, frames, tmp_path):
    page = Page(view(result, tmp_path / "page.html"))
    codes, limit = page.codes("deviation"), page.meta["deviation_limit"]
    expected = np.abs(frames - 500) / 2 / frames.std(axis=0)
    expected[[0, 1, 4, 5]] = 0
    shown = (codes.astype(np.float64) - 1) / 254 * limit
    np.testing.assert_allclose(shown, np.clip(expected, 0, limit), atol=limit / 508 + 1e-4)
    assert (codes[[0, 1, 4, 5]] == 1).all()


def test_frames_in_z_units_are_shown_as_they_are(result, frames, tmp_path):
    stated = json.loads(result.with_name(result.name.replace(".func.gii", ".json")).read_text())
    write_sidecar(result, stated | {"NeuroframesUnits": "z"}, overwrite=True)
    space, std_name = CorticalSpace.fsaverage5(), stated["NeuroframesStandardDeviation"]
    z = 0.07 * standardized(frames).astype(np.float32) + 0.02  # as little as EEG may tell
    z[:, 5], z[1, 6] = 0, 4
    write_bold(result, z, space, tr=TR, overwrite=True)
    write_bold(tmp_path / std_name, np.full_like(z, 0.9), space, tr=TR, overwrite=True)
    page = Page(view(result, tmp_path / "page.html"))
    assert page.meta["signal_limit"] == 3 and page.meta["share"]["signal"] == pytest.approx(2 / 3)
    codes = page.codes("signal").astype(float)
    assert (codes[:, 5] == 0).all() and codes[1, 6] == 255
    alive = np.arange(2 * MESH) != 5
    shown = (codes - 128) / 127 * 3
    np.testing.assert_allclose(shown[:, alive], np.clip(z, -3, 3)[:, alive], atol=3 / 254 + 1e-4)
    deviation = (page.codes("deviation")[:, alive].astype(float) - 1) / 254 * page.meta["deviation_limit"]
    np.testing.assert_allclose(deviation, 0.9, atol=1e-2)
    assert "training part" in page.meta["shown"]["signal"]


def test_the_page_carries_the_mesh(result, tmp_path):
    page = Page(view(result, tmp_path / "page.html"))
    for side, hemi in (("left", "L"), ("right", "R")):
        coordinates, faces = surface("fsaverage5", "inflated", hemi)
        np.testing.assert_array_equal(page.array(f"{side}-positions", "<f4").reshape(-1, 3), coordinates)
        np.testing.assert_array_equal(page.array(f"{side}-faces", "<u2").reshape(-1, 3), faces)
        deep = page.array(f"{side}-sulci", np.uint8) > 128
        depth = sulcal_depth("fsaverage5", hemi)
        assert deep[depth > 0.1].all() and not deep[depth < -0.1].any()


def test_the_page_says_where_a_run_pauses(tmp_path):
    space, data = CorticalSpace.fsaverage5(), np.random.default_rng(0).standard_normal((4, 20_484))
    paths = write_bold(tmp_path / "x_bold.func.gii", data, space, tr=TR)
    for path in paths:
        write_sidecar(path, {"VolumeTiming": [0, TR, 3 * TR, 4 * TR]})
    meta = Page(view(paths[0], tmp_path / "page.html")).meta
    assert meta["measured"] == meta["acquired"] == [True, True, False, True, True]
    notes = " ".join(meta["notes"])
    assert "pauses at 1 of 5 frames: they have no volume" in notes and "reconstructed" not in notes


def test_the_page_says_which_frames_were_measured_and_when(result, tmp_path):
    meta = Page(view(result, tmp_path / "page.html")).meta
    assert meta["measured"] == [True, True, False, False, True, True]
    assert meta["frames"] == list(range(K)) and meta["n_frames"] == K
    np.testing.assert_allclose(meta["times"], TR * np.arange(K))
    notes = " ".join(meta["notes"])
    assert "2 of 6 frames were reconstructed" in notes
    for said in ("Model: gaussian", "neuroframes: 0.1.0", "raw.nii.gz", "</script><script>alert(1)</script>"):
        assert said in notes
    assert "no sidecar" not in meta["facts"]


def test_the_right_hemispheres_file_shows_the_same(result, tmp_path):
    left = view(result, tmp_path / "left.html")
    right = view(result.with_name(result.name.replace("hemi-L", "hemi-R")), tmp_path / "right.html")
    assert left.read_bytes() == right.read_bytes()


def test_nothing_is_loaded_from_elsewhere(result, tmp_path):
    page = Page(view(result, tmp_path / "page.html"))
    assert (
        len(page.scripts) == 11
    )  # style, meta, 3 arrays a hemisphere, 2 of codes, the program: none injected
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert attributes.get("href", "data:,") == "data:,"
    program = page.scripts["script"] + page.scripts["style"]
    assert not re.search(
        r"https?:|//\w+\.|url\(|@import|\bimport\b|fetch\(|XMLHttpRequest|WebSocket", program
    )


def test_without_a_sidecar_all_frames_are_measured_and_the_page_says_so(frames, tmp_path):
    path = tmp_path / "sub-01_hemi-L_bold.func.gii"
    write_bold(path, frames, CorticalSpace.fsaverage5(), tr=TR)
    page = Page(view(path, tmp_path / "page.html"))
    assert page.meta["measured"] == [True] * K
    assert "no sidecar" in page.meta["facts"] and "deviation-codes" not in page.scripts
    write_sidecar(path, {"RepetitionTime": TR})
    meta = Page(view(path, tmp_path / "page.html", overwrite=True)).meta
    assert any("doesn't say which frames were measured" in note for note in meta["notes"])


def test_thinning_never_hides_a_reconstructed_frame(result, frames, tmp_path):
    measured = np.ones(K, bool)
    measured[[1, 3]] = False
    write_sidecar(result, {"NeuroframesMeasured": measured}, overwrite=True)
    page = Page(view(result, tmp_path / "page.html", max_frames=4))
    assert page.meta["frames"] == [0, 1, 2, 3, 4]
    assert "one frame in 2 and every reconstructed one shown" in page.meta["facts"]


def test_a_long_run_is_thinned_and_the_page_says_so(result, frames, tmp_path):
    write_sidecar(result, {"NeuroframesMeasured": [True] * K}, overwrite=True)
    page = Page(view(result, tmp_path / "page.html", max_frames=4))
    assert page.meta["frames"] == [0, 2, 4] and len(page.meta["measured"]) == K
    np.testing.assert_allclose(page.meta["times"], [0, 2 * TR, 4 * TR])
    assert "one frame in 2 shown" in page.meta["facts"]
    # Standardised by all frames of the file, not by those shown.
    everything = Page(view(result, tmp_path / "all.html"))
    shown, full = (
        (p.codes("signal").astype(float) - 128) / 127 * p.meta["signal_limit"] for p in (page, everything)
    )
    np.testing.assert_allclose(shown, full[::2], atol=0.03)


def test_dead_vertices_medial_wall_and_subcortex(tmp_path):
    cortex = [
        BrainModelAxis.from_surface(cortical_vertices("fsLR-32k", hemi), 32_492, name=name)
        for hemi, name in (("L", "CortexLeft"), ("R", "CortexRight"))
    ]
    voxels = BrainModelAxis.from_mask(np.ones((2, 3, 4), bool), name="thalamus_left", affine=np.eye(4))
    data = np.random.default_rng(1).normal(size=(K, 59_412 + 24)).astype(np.float32)
    data[:, 0], data[:, 29_696], data[3, 5] = 7, np.nan, np.nan
    axes = (SeriesAxis(0, TR, K), cortex[0] + cortex[1] + voxels)
    nib.save(Cifti2Image(data, axes), tmp_path / "sub-01_bold.dtseries.nii")
    page = Page(view(tmp_path / "sub-01_bold.dtseries.nii", tmp_path / "page.html"))
    notes = " ".join(page.meta["notes"])
    assert "24 subcortical grayordinates" in notes
    assert "2 of 59,412 cortical vertices are constant or NaN" in notes
    codes = page.codes("signal")
    left, right = cortical_vertices("fsLR-32k", "L"), cortical_vertices("fsLR-32k", "R")
    alive = np.zeros((K, 2 * 32_492), bool)
    alive[:, left], alive[:, 32_492 + right] = True, True
    alive[:, left[0]], alive[:, 32_492 + right[0]], alive[3, left[5]] = False, False, False
    np.testing.assert_array_equal(codes > 0, alive)
    # The right hemisphere's second grayordinate is where its mesh index says.
    z, limit = standardized(data[:, 29_697].astype(np.float64)), page.meta["signal_limit"]
    shown = (codes[:, 32_492 + right[1]].astype(float) - 128) / 127 * limit
    np.testing.assert_allclose(shown, np.clip(z, -limit, limit), atol=limit / 254 + 1e-4)


def test_a_missing_standard_deviation_is_said_not_fatal(result, tmp_path):
    for file in tmp_path.glob("*stat-std*"):
        file.unlink()
    page = Page(view(result, tmp_path / "page.html"))
    assert any("no longer beside the result" in note for note in page.meta["notes"])


def test_a_sidecar_that_leads_elsewhere_is_refused(result, tmp_path):
    stated = json.loads(result.with_name(result.name.replace(".func.gii", ".json")).read_text())
    (tmp_path / "elsewhere").mkdir()
    for file in tmp_path.glob("*stat-std*.gii"):
        file.rename(tmp_path / "elsewhere" / file.name)
    moved = tmp_path / "elsewhere" / stated["NeuroframesStandardDeviation"]
    for name in (str(moved), f"elsewhere/{moved.name}", f"../{tmp_path.name}/elsewhere/{moved.name}"):
        write_sidecar(result, stated | {"NeuroframesStandardDeviation": name}, overwrite=True)
        with pytest.raises(InputError, match="expected the name of a file in the same folder"):
            view(result, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_space_without_a_mesh_is_refused_with_those_that_can_be_viewed(tmp_path):
    np.savez(tmp_path / "bold.npz", bold=np.random.default_rng(0).random((K, 5)), tr=TR)
    with pytest.raises(InputError, match="can be viewed: fsLR-32k, fsaverage5, and volumes"):
        view(tmp_path / "bold.npz", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.fixture
def volume(tmp_path):
    """A completed volume with its standard deviation, its x axis to the left; its frames, shape (K, V)."""
    space = CorticalSpace.from_mask(np.ones((8, 7, 6), bool), np.diag([-2.0, 2.0, 2.0, 1.0]))
    data = np.random.default_rng(0).normal(500, 20, (K, space.V)).astype(np.float32)
    data[:, 10], data[3, 20] = 7, np.nan
    path, deviation = tmp_path / "filled_bold.nii.gz", tmp_path / "filled_stat-std_bold.nii.gz"
    write_bold(path, data, space, tr=TR)
    write_bold(deviation, np.abs(data - 500) / 2, space, tr=TR)
    about = {"NeuroframesMeasured": np.arange(K) != 2, "NeuroframesStandardDeviation": deviation.name}
    write_sidecar(path, about)
    return path, data


def test_a_volume_is_shown_as_slices(volume, tmp_path):
    path, data = volume
    page = Page(view(path, tmp_path / "page.html"))
    meta, inside = page.meta, page.array("inside", np.uint8).astype(bool)
    assert meta["facts"].startswith("6 of 6 axial slices")
    assert meta["measured"] == [frame != 2 for frame in range(K)]
    assert meta["shown"]["signal"].startswith("Each voxel minus its mean")
    notes = " ".join(meta["notes"])
    assert "1 of 336 voxels are constant" in notes and "Hemisphere" not in notes
    assert page.codes("deviation").shape == page.codes("signal").shape == (K, len(inside))
    # Of frame 0 the lowest slice: x to the left in the file, so turned; y upwards on the page.
    shown = page.codes("signal")[0, :56].reshape(meta["slices"]["size"]).astype(float)
    lowest = data.reshape(K, 8, 7, 6)[..., 0].astype(np.float64)
    expected, limit = standardized(lowest)[0, ::-1, ::-1].T, meta["signal_limit"]
    assert meta["slices"] == {"size": [7, 8], "pixel": [2, 2], "heights": [0, 2, 4, 6, 8, 10]}
    np.testing.assert_allclose(
        (shown - 128) / 127 * limit, np.clip(expected, -limit, limit), atol=limit / 254 + 1e-3
    )
    no_data = (page.codes("signal")[:, inside] == 0).sum(axis=1)
    assert no_data.tolist() == [1, 1, 1, 2, 1, 1]  # a constant voxel, and a value that is NaN


def test_a_mask_leaves_voxels_out(volume, tmp_path):
    path, _ = volume
    (tmp_path / "filled_bold.json").unlink()
    mask = np.zeros((8, 7, 6), np.uint8)
    mask[2:6, 2:5, 1:3] = 1
    nib.save(nib.Nifti1Image(mask, np.diag([-2.0, 2.0, 2.0, 1.0])), tmp_path / "mask.nii.gz")
    page = Page(view(path, tmp_path / "page.html", mask=tmp_path / "mask.nii.gz"))
    assert page.array("inside", np.uint8).sum() == 24 and page.meta["facts"].startswith("2 of 2 axial")


def test_what_does_not_fit_is_refused(result, frames, tmp_path):
    out = tmp_path / "page.html"
    sidecar = result.with_name(result.name.replace(".func.gii", ".json"))
    stated = json.loads(sidecar.read_text())
    write_sidecar(result, stated | {"NeuroframesMeasured": [True, False]}, overwrite=True)
    with pytest.raises(InputError, match="for 2 frames .* has 6"):
        view(result, out)
    write_sidecar(result, stated, overwrite=True)
    deviation = tmp_path / stated["NeuroframesStandardDeviation"]
    write_bold(deviation, frames[:3], CorticalSpace.fsaverage5(), tr=TR, overwrite=True)
    with pytest.raises(InputError, match="has 3 frames but .* has 6"):
        view(result, out)
    sidecar.unlink()
    with pytest.raises(InputError, match="max_frames is 0"):
        view(result, out, max_frames=0)
    write_bold(result, np.ones_like(frames), CorticalSpace.fsaverage5(), tr=TR, overwrite=True)
    with pytest.raises(InputError, match="every vertex is constant or NaN"):
        view(result, out)
    write_bold(result, frames[:1], CorticalSpace.fsaverage5(), tr=TR, overwrite=True)
    with pytest.raises(InputError, match="at least 2"):
        view(result, out)
    assert not out.exists()


def test_outputs_are_not_replaced_unasked(result, tmp_path):
    out = tmp_path / "page.html"
    out.write_text("mine")
    with pytest.raises(InputError, match="--overwrite"):
        view(result, out)
    assert out.read_text() == "mine"
    view(result, out, overwrite=True)
    with pytest.raises(InputError, match="is a folder"):
        view(result, tmp_path, overwrite=True)
    assert out.exists()


CHROMIUM = shutil.which("chromium")
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# Presses what a person would press, and leaves what the page then says in <pre id="log">.
PRESSING = """<script>
const log = [], wait = ms => new Promise(done => setTimeout(done, ms));
const say = async () => {
  await wait(100);
  log.push(["seconds", "badge", "high"].map(id => $(id).textContent).join(" "));
};
(async () => {
  while (!document.body.dataset.ready) await wait(50);
  await say();
  $("time").value = 0; $("time").dispatchEvent(new Event("input")); await say();
  log.push(["fade", "deviation"].map(id => $(id).ariaPressed).join(" ")); $("fade").click(); await wait(100);
  log.push($("fade").ariaPressed + $("shown").textContent);
  $("time").value = 2; $("time").dispatchEvent(new Event("input"));
  $("deviation").click(); await say();
  $("play").click(); await wait(300); $("play").click(); await say();
  const pre = document.createElement("pre");
  pre.id = "log"; pre.textContent = log.join("|"); document.body.append(pre);
})();
</script>"""


def chromium(page, tmp_path, *options):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}", *options]
    return subprocess.run([*command, page], check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_chromium_opens_plays_and_toggles_the_page(result, tmp_path):
    out = view(result, tmp_path / "page.html")
    # Chromium's virtual time, which makes the run short, ticks timers but no animation frames.
    ticking = "<script>window.requestAnimationFrame = draw => setTimeout(draw, 16);</script>"
    page = out.read_text().replace("<head>", "<head>" + ticking).replace("</body>", PRESSING + "</body>")
    out.write_text(page)
    dom = chromium(out.as_uri(), tmp_path, *WEBGL, "--virtual-time-budget=30000", "--dump-dom")
    assert 'data-ready="yes"' in dom
    log = re.search(r'<pre id="log">(.*?)</pre>', dom).group(1).split("|")
    opened, first, faded, plain, deviation, played = log
    assert opened.startswith("1.60 s RECONSTRUCTED +") and opened.endswith(" SD")
    assert first.startswith("0.00 s MEASURED +")
    assert faded == "true false" and plain.startswith("falseEach vertex") and "Light grey" not in plain
    assert re.fullmatch(r"1\.60 s RECONSTRUCTED \d\.\d SD", deviation)
    assert float(played.split()[0]) > 1.6  # 300 ms at four times real time: one TR of 0.8 s, or a little more


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_chromium_draws_each_hemisphere_in_its_place(tmp_path):
    from PIL import Image

    # In frame 1 the left hemisphere is high (red) and the right one low (blue).
    ramp = np.array([-1, 1, 0], np.float32)[:, None]
    data = np.hstack([np.tile(ramp, MESH), np.tile(-ramp, MESH)])
    write_bold(tmp_path / "sub-01_hemi-L_bold.func.gii", data, CorticalSpace.fsaverage5(), tr=TR)
    out = view(tmp_path / "sub-01_hemi-L_bold.func.gii", tmp_path / "page.html")
    shot = tmp_path / "page.png"
    options = ["--window-size=1200,800", "--virtual-time-budget=20000", f"--screenshot={shot}"]
    chromium(f"{out.as_uri()}#frame=1", tmp_path, *WEBGL, *options)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)[50:600]
    red, blue = pixels[..., 0] - pixels[..., 2] > 60, pixels[..., 2] - pixels[..., 0] > 30
    # Columns: left's panels, above the middle line each hemisphere on its side, right's panels.
    assert red[:, :600].sum() > 40_000 and blue[:, 600:].sum() > 40_000
    assert not red[:, 600:].any() and not blue[:, :600].any()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_chromium_draws_left_on_the_left_without_webgl(tmp_path):
    from PIL import Image

    # In frame 1 the left half is high (red) and the right one low (blue); the x axis runs to the left.
    space = CorticalSpace.from_mask(np.ones((8, 8, 2), bool), np.diag([-2.0, 2.0, 2.0, 1.0]))
    side = np.where(space.vertex < 64, -1, 1)
    data = np.array([-1, 1, 0], np.float32)[:, None] * side
    write_bold(tmp_path / "b_bold.nii.gz", data.astype(np.float32), space, tr=TR)
    out, shot = view(tmp_path / "b_bold.nii.gz", tmp_path / "page.html"), tmp_path / "page.png"
    options = ["--disable-3d-apis", "--window-size=1200,800", "--virtual-time-budget=20000"]
    chromium(f"{out.as_uri()}#frame=1", tmp_path, *options, f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)[50:600]
    red, blue = pixels[..., 0] - pixels[..., 2] > 60, pixels[..., 2] - pixels[..., 0] > 30
    columns = np.arange(1200)
    # Two slices side by side, each red on its left.
    for half in (columns < 600, columns >= 600):
        reds, blues = (np.flatnonzero(each.any(axis=0) & half) for each in (red, blue))
        assert len(reds) > 100 and len(blues) > 100 and reds.max() < blues.min()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_without_webgl_the_page_says_so(result, tmp_path):
    out = view(result, tmp_path / "page.html")
    options = ["--disable-webgl", "--disable-3d-apis", "--virtual-time-budget=10000", "--dump-dom"]
    dom = chromium(out.as_uri(), tmp_path, *options)
    assert 'data-ready="failed"' in dom and "draws with WebGL 2, which this browser" in dom


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_chromium_fades_what_is_as_uncertain_as_the_vertex_varies(tmp_path):
    from PIL import Image

    path, space = tmp_path / "sub-01_hemi-L_bold.func.gii", CorticalSpace.fsaverage5()
    frames = np.tile(np.array([[-2], [2]], np.float32), 2 * MESH)
    deviation = np.repeat(np.array([[0, 1], [0, 1]], np.float32), MESH, axis=1)  # left known, right not
    write_bold(path, frames, space, tr=TR)
    write_bold(tmp_path / "sub-01_hemi-L_stat-std_bold.func.gii", deviation, space, tr=TR)
    about = {"NeuroframesStandardDeviation": "sub-01_hemi-L_stat-std_bold.func.gii", "NeuroframesUnits": "z"}
    write_sidecar(path, {"NeuroframesMeasured": [False, False], **about})
    shot = tmp_path / "page.png"
    options = ["--window-size=1200,800", "--virtual-time-budget=20000", f"--screenshot={shot}"]
    chromium(f"{view(path, tmp_path / 'page.html').as_uri()}#frame=1", tmp_path, *WEBGL, *options)
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)[50:600]
    red = pixels[..., 0] - pixels[..., 2] > 60
    assert red[:, :600].sum() > 40_000 and not red[:, 600:].any()


def test_a_page_is_written_as_html(tmp_path):
    with pytest.raises(InputError, match="a page is written as .html"):
        view(tmp_path / "x_bold.dtseries.nii", tmp_path / "mine.py", overwrite=True)
