"""Labels: those of the files, wherever the vertices lie in a frame, whatever the format."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, LabelAxis, ScalarAxis

from neuroframes.cortex.labels import ATLASES, labels
from neuroframes.cortex.space import PRIMARY, CorticalSpace, hcp_data
from neuroframes.errors import InputError

# Keys of 6 + 5 vertices; 0 and 9 are no region.
KEYS = {"L": [2, 1, 0, 2, 9, 1], "R": [3, 9, 3, 4, 0]}
NAMES = {0: "???", 4: "7Networks_RH_Vis_2", 1: "7Networks_LH_Vis_1", 2: "7Networks_LH_Vis_2"}
NAMES |= {3: "7Networks_RH_Vis_1", 9: "Background+FreeSurfer_Defined_Medial_Wall"}
BOTH = CorticalSpace.from_counts({"L": 6, "R": 5})


def write_gifti(path, keys, names=NAMES, side=None, dtype="int32"):
    table = nib.gifti.GiftiLabelTable()
    for key, name in names.items():
        entry = nib.gifti.GiftiLabel(key, 0.1, 0.2, 0.3, 1)
        entry.label = name
        table.labels.append(entry)
    meta = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": PRIMARY[side]} if side else {})
    array = nib.gifti.GiftiDataArray(
        np.array(keys, dtype), "NIFTI_INTENT_LABEL", f"NIFTI_TYPE_{dtype.upper()}"
    )
    nib.save(nib.GiftiImage(darrays=[array], labeltable=table, meta=meta), path)
    return path


def write_annot(path, keys, names=NAMES):
    place = {key: i for i, key in enumerate(names)}
    colours = np.array([[key, 20, 30, 0, 0] for key in names])
    nib.freesurfer.write_annot(path, np.array([place[key] for key in keys]), colours, [*names.values()], True)
    return path


def models(counts=(6, 5), used=(None, None)):
    vertices = [np.arange(n) if of is None else np.array(of) for n, of in zip(counts, used, strict=True)]
    left, right = (
        BrainModelAxis.from_surface(of, n, name=name)
        for of, n, name in zip(vertices, counts, ("CortexLeft", "CortexRight"), strict=True)
    )
    return left + right


def voxels(mask, affine=None):
    return BrainModelAxis.from_mask(mask, affine=np.eye(4) if affine is None else affine, name="brain_stem")


def write_cifti(path, keys, axis, names=NAMES, maps=1):
    table = {key: (name, (0, 0, 0, 1)) for key, name in names.items()}
    header = LabelAxis([f"map {i}" for i in range(maps)], [table] * maps)
    nib.save(Cifti2Image(np.array([keys] * maps, np.float32), (header, axis)), path)
    return path


def test_a_format_is_as_good_as_another(tmp_path):
    pairs = [
        [write_gifti(tmp_path / f"a.{side}.label.gii", KEYS[side], side=side) for side in "LR"],
        [write_annot(tmp_path / f"{side.lower()}h.a.annot", KEYS[side]) for side in "LR"],
        write_cifti(tmp_path / "a.dlabel.nii", KEYS["L"] + KEYS["R"], models()),
    ]
    for source in pairs:
        number, names = labels(source, BOTH)
        found = [names[i] if i >= 0 else "" for i in number]
        assert found == [NAMES[key] if key not in (0, 9) else "" for key in KEYS["L"] + KEYS["R"]]
    # Frames have the right hemisphere before some of the left, and no others.
    cut = models(used=([0, 4, 5], [3, 0]))
    number, names = labels(pairs[2], CorticalSpace.from_axis(cut[3:] + cut[:3]))
    assert [names[i] if i >= 0 else "" for i in number] == [NAMES[k] if k else "" for k in (4, 3, 2, 0, 1)]
    number, names = labels(pairs[0][1], CorticalSpace.from_counts({"R": 5}))
    assert (number.tolist(), len(names)) == ([number[0], -1, number[0], 1 - number[0], -1], 2)


def test_a_name_of_both_hemispheres_is_two_regions(tmp_path):
    table = {0: "unknown", 1: "insula", 2: "cuneus", 3: "corpuscallosum"}
    files = [write_annot(tmp_path / "lh.aparc.annot", [0, 1, 1, 2, 3, 3], table)]
    files += [write_annot(tmp_path / "rh.aparc.annot", [1, 0, 3, 3, 1], table)]
    number, names = labels(files, BOTH)
    assert names == ("L_insula", "cuneus", "R_insula")
    assert number.tolist() == [-1, 0, 0, 1, -1, -1, 2, -1, -1, -1, 2]


def test_voxels_have_labels_where_the_atlas_has_voxels(tmp_path):
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1] = True
    file = write_cifti(tmp_path / "a.dlabel.nii", [*KEYS["L"], *KEYS["R"], 1, 2, 0], models() + voxels(mask))
    mask[0, 0] = True
    number, names = labels(file, CorticalSpace.from_axis(models() + voxels(mask)))
    assert [names[i] if i >= 0 else "" for i in number[11:]] == ["", "", "", NAMES[1], NAMES[2], ""]
    with pytest.raises(InputError, match=r"a.dlabel.nii: its voxels are of another grid"):
        labels(file, CorticalSpace.from_axis(models() + voxels(mask, np.diag([2, 2, 2, 1]))))
    assert labels(file, BOTH)[0].tolist() == number[:11].tolist()


@pytest.mark.parametrize("atlas", ATLASES)
def test_atlases_by_name(atlas, cifti_space):
    space = CorticalSpace.fs_lr_32k()
    number, names = labels(atlas, space)
    with np.load(hcp_data(ATLASES[atlas])) as stored:
        of = dict(zip(stored["ids"].tolist(), stored["labels"].tolist(), strict=True))
        expected = [of[key] for key in stored["map_all"][: space.V].tolist()]
    assert [names[i] if i >= 0 else "" for i in number] == expected
    mask = np.ones((2, 2, 2), bool)
    number, _ = labels(atlas, CorticalSpace.from_axis(voxels(mask) + space.axis()))
    assert (number[:8] == -1).all() and [names[i] if i >= 0 else "" for i in number[8:]] == expected
    with pytest.raises(InputError, match=r"32,492 vertices of hemisphere L, .* 220; pass the atlas on this"):
        labels(atlas, cifti_space)


def test_what_is_no_atlas_of_the_frames(tmp_path):
    left, right = (write_gifti(tmp_path / f"{side}.label.gii", KEYS[side], side=side) for side in "LR")
    unnamed = [write_gifti(tmp_path / f"{i}.label.gii", KEYS["L"], side="LR"[i]) for i in range(2)]
    dense = write_cifti(tmp_path / "a.dlabel.nii", KEYS["L"] + KEYS["R"], models())
    two = write_cifti(tmp_path / "two.dlabel.nii", KEYS["L"] + KEYS["R"], models(), maps=2)
    scalars = tmp_path / "s.dlabel.nii"
    nib.save(Cifti2Image(np.zeros((1, 11), np.float32), (ScalarAxis(["a"]), models())), scalars)
    (tmp_path / "cut.label.gii").write_bytes(left.read_bytes()[:300])
    (tmp_path / "cut.dlabel.nii").write_bytes(dense.read_bytes()[:700])
    annot = write_annot(tmp_path / "whole.annot", KEYS["L"])
    (tmp_path / "cut.annot").write_bytes(annot.read_bytes()[:40])
    (tmp_path / "bare.annot").write_bytes(annot.read_bytes()[: 4 + 8 * 6] + bytes(8))
    (tmp_path / "empty.annot").write_bytes(b"")
    strange = write_gifti(tmp_path / "strange.label.gii", [1, 2, 77, 0, 0, 0])
    between = write_gifti(tmp_path / "between.label.gii", [1, 2, 0.5, 0, 0, 0], dtype="float32")
    no_names = write_gifti(tmp_path / "none.label.gii", KEYS["L"], {})
    alike = write_gifti(tmp_path / "alike.label.gii", [1, 2, 1, 2, 0, 0], {0: "", 1: "V1", 2: "V1"})
    empty = write_gifti(tmp_path / "empty.label.gii", [0] * 6)
    only_left = CorticalSpace.from_counts({"L": 6})
    for source, space, message in (
        (
            "yeo8",
            BOTH,
            "yeo8: no atlas that is known; expected mmp, yeo7, yeo17, cole-anticevic, one .dlabel",
        ),
        (tmp_path / "a.csv", BOTH, "a.csv: no atlas that is known"),
        (tmp_path / "absent.annot", BOTH, "absent.annot: no such file"),
        (["mmp", "yeo7"], BOTH, "mmp holds both hemispheres; pass it alone"),
        ([left, dense], BOTH, "a.dlabel.nii holds both hemispheres; pass it alone"),
        (left, BOTH, "L.label.gii: 1 for frames of hemisphere L and R; pass one file for each, left first"),
        ([empty, empty], BOTH, "empty.label.gii: passed for both hemispheres; pass each"),
        ([left, right], only_left, "2 for frames of hemisphere L; pass one file for each"),
        (
            [right, left],
            BOTH,
            "R.label.gii: passed as hemisphere L, but .* say R; pass each hemisphere's own",
        ),
        (unnamed[::-1], BOTH, "1.label.gii: passed as hemisphere L, but"),
        ([left, left], BOTH, "L.label.gii: passed as hemisphere R, but its name or metadata say L"),
        (left, CorticalSpace.from_counts({"L": 7}), "labels of 6 vertices .* on a mesh of 7; .*--to-sphere"),
        (left, CorticalSpace.from_parcels(3), "labels of vertices, but BOLD is of parcels; leave --parcels"),
        (left, CorticalSpace.from_mask(np.ones((1, 1, 1)), np.eye(4)), "of voxels; project it by --surface"),
        (two, BOTH, "two.dlabel.nii: 2 maps of labels; expected one: .*-cifti-merge"),
        (scalars, BOTH, "s.dlabel.nii: no CIFTI of labels"),
        (
            tmp_path / "cut.label.gii",
            only_left,
            "cut.label.gii: no labels that can be read .*export it again",
        ),
        (tmp_path / "cut.dlabel.nii", BOTH, "cut.dlabel.nii: no labels that can be read"),
        (
            tmp_path / "cut.annot",
            only_left,
            r"cut.annot: no labels that can be read \(6 vertices in 40 bytes",
        ),
        (tmp_path / "empty.annot", only_left, "empty.annot: no labels that can be read"),
        (tmp_path / "bare.annot", only_left, "bare.annot: 6 keys but no table of labels; .*export it as"),
        (no_names, only_left, "none.label.gii: 6 keys but no table of labels"),
        (
            strange,
            only_left,
            "strange.label.gii: no label for key 77; expected the keys of its table, 0, 4, 1",
        ),
        (between, only_left, "between.label.gii: no label for key 0.5"),
        (alike, only_left, "alike.label.gii: more than one label is called 'V1'; rename one"),
        (empty, only_left, "empty.label.gii: no value of a frame has a label"),
    ):
        with pytest.raises(InputError, match=message):
            labels(source, space)
