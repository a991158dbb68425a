"""Readers of annotated collections, on small files in their published forms."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from n3d_core.depth import DepthUnit
from n3d_core.errors import CameraError
from n3d_core.geometry import Camera
from n3d_core.geometry.image_file import read_color
from training.lift import masks
from training.lift.lift_config import LiftConfig, OutputConfig, SourceConfig
from training.lift.object_mask import ObjectMask
from training.lift.observation import check_depth, observe
from training.lift.problems import ImageProblem, SourceError
from training.lift.record import Problems, Record, safe_key
from training.lift.sources import read_source


def read(problems: Problems | None = None, **settings: object) -> list[Record]:
    return list(read_source(SourceConfig(**settings), problems if problems is not None else Problems()))


def picture(path: Path, width: int = 40, height: int = 30) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def coco_json(path: Path, annotations: list[dict], **more: object) -> None:
    images = [{"id": 5, "file_name": "a.jpg", "width": 40, "height": 30}]
    categories = [{"id": 1, "name": "mug"}, {"id": 2, "name": "wine glass"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories, **more}))


def entry(identity: int, **more: object) -> dict:
    return {"id": identity, "image_id": 5, "category_id": 1, "bbox": [10, 5, 8, 6], "iscrowd": 0, **more}


def test_coco_polygons_and_both_kinds_of_run_lengths_give_the_same_mask(tmp_path: Path) -> None:
    mask = np.zeros((30, 40), bool)
    mask[5:11, 10:18] = True
    flat = mask.T.ravel()
    runs = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(flat.astype(int))) + 1, [flat.size]])).tolist()
    polygon = [10, 5, 18, 5, 18, 11, 10, 11]
    rle = masks.encode(ObjectMask.from_image(mask), 30, 40)
    coco_json(
        tmp_path / "i.json",
        [
            entry(1, segmentation=[polygon]),
            entry(2, segmentation={"size": [30, 40], "counts": runs}, iscrowd=1),
            entry(3, segmentation=rle, category_id=2),
        ],
    )
    (record,) = read(kind="coco", images="x", annotations=str(tmp_path / "i.json"))
    assert record.key == "coco_5"
    assert [a.label for a in record.annotations] == ["mug", "mug", "wine glass"]
    assert [a.crowd for a in record.annotations] == [False, True, False]
    assert record.annotations[0].box == (10.0, 5.0, 18.0, 11.0)
    for annotation in record.annotations:
        assert np.array_equal(masks.decode(annotation.mask, 30, 40).to_image(30, 40), mask)
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_a_mask_of_another_size_is_a_problem_that_names_both() -> None:
    rle = masks.encode(ObjectMask(0, 0, np.ones((5, 5), bool)), 30, 40)
    with pytest.raises(ImageProblem, match=r"\[30, 40\] but the image \[60, 80\]"):
        masks.decode(rle, 60, 80)


def test_objects365_is_read_as_a_stream_and_found_in_its_patches(tmp_path: Path) -> None:
    picture(tmp_path / "img" / "patch3" / "o_1.jpg")
    images = [{"id": 9, "file_name": "images/v1/patch3/o_1.jpg", "width": 40, "height": 30}]
    annotations = [
        {"id": 2, "image_id": 9, "category_id": 7, "bbox": [1.5, 2, 3, 4], "iscrowd": 1},
        {"id": 1, "image_id": 9, "category_id": 7, "bbox": [5, 6, 7, 8]},
        {"id": 1, "image_id": 9, "category_id": 7, "bbox": [5, 6, 7, 8]},
        {"id": 3, "image_id": 9, "category_id": 70, "bbox": [5, 6, 7, 8]},
        {"id": 4, "image_id": 9, "category_id": 7, "bbox": [5, 6, 7]},
    ]
    data = {"images": images, "annotations": annotations, "categories": [{"id": 7, "name": "Stool"}]}
    (tmp_path / "o.json").write_text(json.dumps(data))
    problems = Problems()
    (record,) = read(problems, kind="objects365", images=str(tmp_path / "img"), annotations=str(tmp_path / "o.json"))
    assert record.image == str(tmp_path / "img" / "patch3" / "o_1.jpg")
    assert [(a.id, a.label, a.box, a.crowd) for a in record.annotations] == [
        ("1", "Stool", (5.0, 6.0, 12.0, 14.0), False),
        ("2", "Stool", (1.5, 2.0, 4.5, 6.0), True),
    ]
    assert problems.counts == {"duplicate_annotation": 1, "unknown_category": 1, "annotation_damaged": 1}


def test_a_cut_objects365_file_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text('{"categories": [{"id": 7, "name": "Stool"}], "images": [{"id"')
    with pytest.raises(SourceError, match="not readable as JSON"):
        read(kind="objects365", images="x", annotations=str(tmp_path / "o.json"))


def test_openimages_tables_become_pixels_and_find_their_masks(tmp_path: Path) -> None:
    picture(tmp_path / "img" / "0a.jpg", 200, 100)
    (tmp_path / "c.csv").write_text("/m/1,Coffee cup\n/m/2,Person\n")
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    header += "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    rows = [
        "0a,x,/m/1,1,0.10,0.30,0.20,0.60,0,0,0,0,0",
        "0a,x,/m/2,1,0,1,0,1,0,0,1,0,0",
        "0a,x,/m/2,1,0,0.5,0,1,0,0,0,1,0",
        "0a,x,/m/9,1,0,0.5,0,1,0,0,0,0,0",
        "0b,x,/m/1,1,0,0.5,0,1,0,0,0,0,0",
    ]
    (tmp_path / "b.csv").write_text(header + "\n".join(rows) + "\n")
    mask_header = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
    (tmp_path / "m.csv").write_text(mask_header + "0a_m.png,0a,/m/1,ff,0.1001,0.3,0.2,0.6,0.8,\n")
    problems = Problems()
    record, missing = read(
        problems,
        kind="openimages",
        images=str(tmp_path / "img"),
        annotations=str(tmp_path / "b.csv"),
        classes=str(tmp_path / "c.csv"),
        masks=str(tmp_path / "masks"),
        mask_table=str(tmp_path / "m.csv"),
    )
    assert record.width == 0  # no picture was opened
    cup, group = record.in_pixels(200, 100).annotations
    assert (cup.label, group.label, group.crowd) == ("Coffee cup", "Person", True)
    np.testing.assert_allclose(cup.box, (20, 20, 60, 60))
    assert cup.mask_file == str(tmp_path / "masks" / "0a_m.png")
    assert group.mask_file == ""
    assert problems.counts == {"depiction": 1, "unknown_category": 1}
    assert missing.image == str(tmp_path / "img" / "0b.jpg")  # a worker will miss it


@pytest.mark.parametrize("form", ["refs(unc).p", "refs.json"])
def test_refcoco_phrases_reach_their_objects(tmp_path: Path, form: str) -> None:
    coco_json(tmp_path / "instances.json", [entry(1), entry(2, category_id=2)])
    refs = [
        {
            "image_id": 5,
            "ann_id": 2,
            "split": "train",
            "sentences": [{"sent": "the tall glass"}, {"sent": "right one"}],
        },
        {"image_id": 5, "ann_id": 2, "split": "train", "sentences": [{"sent": "right one"}]},
        {"ann_id": 2},
    ]
    path = tmp_path / form
    path.write_bytes(pickle.dumps(refs) if form.endswith(".p") else json.dumps(refs).encode())
    problems = Problems()
    (record,) = read(problems, kind="refcoco", images="x", annotations=str(path))
    assert [a.phrases for a in record.annotations] == [(), ("the tall glass", "right one")]
    assert problems.counts == {"annotation_damaged": 1}


def test_a_prepared_pickle_runs_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    coco_json(tmp_path / "instances.json", [entry(1)])
    (tmp_path / "refs.p").write_bytes(pickle.dumps([Trap()]))
    with pytest.raises(SourceError, match="only lists, dictionaries, texts and numbers"):
        read(kind="refcoco", images="x", annotations=str(tmp_path / "refs.p"))
    assert not (tmp_path / "ran").exists()


def test_a_plain_folder_with_boxes_masks_and_camera(tmp_path: Path) -> None:
    picture(tmp_path / "b.png")
    picture(tmp_path / "a" / "one.jpg")
    picture(tmp_path / "a" / "one_mask.png")
    objects = [{"label": "mug", "box": [1, 2, 30, 20], "mask": "one_mask.png", "phrases": ["my mug"]}]
    camera = {"fx": 30.0, "fy": 31.0, "cx": 19.5, "cy": 14.5}
    (tmp_path / "a" / "one.json").write_text(json.dumps({"objects": objects, "camera": camera}))
    (tmp_path / "b.json").write_text('{"objects": [{"label": "mug"}]}')
    problems = Problems()
    records = read(problems, kind="folder", images=str(tmp_path))
    assert [r.key for r in records] == ["folder_a_one", "folder_b"]
    assert records[0].camera == Camera(40, 30, 30.0, 31.0, 19.5, 14.5)
    assert records[0].annotations[0].mask_file.endswith("one_mask.png")
    assert records[1].annotations == ()
    assert problems.counts == {"annotation_damaged": 1}


def test_tum_pairs_are_the_nearest_in_time(tmp_path: Path) -> None:
    (tmp_path / "rgb.txt").write_text("# colour\n1.000 rgb/1.png\n1.100 rgb/2.png\n9.0 rgb/3.png\nbroken\n")
    (tmp_path / "depth.txt").write_text("0.990 depth/a.png\n1.005 depth/b.png\n1.110 depth/c.png\n")
    problems = Problems()
    records = read(problems, kind="tum", images=str(tmp_path))
    assert [Path(r.depth.path).name for r in records] == ["b.png", "c.png"]
    assert records[0].depth.unit == "tum"
    assert records[0].camera == Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    assert problems.counts == {"depth_missing": 1, "annotation_damaged": 1}


def test_open3d_pairs_take_their_intrinsics_and_the_boxes_of_a_coco_file(tmp_path: Path) -> None:
    picture(tmp_path / "color" / "a.jpg")
    picture(tmp_path / "color" / "b.jpg")
    picture(tmp_path / "depth" / "a.png")
    intrinsic = {"width": 40, "height": 30, "intrinsic_matrix": [30.0, 0, 0, 0, 31.0, 0, 19.5, 14.5, 1]}
    (tmp_path / "camera_intrinsic.json").write_text(json.dumps(intrinsic))
    coco_json(tmp_path / "i.json", [entry(1)])
    problems = Problems()
    (record,) = read(problems, kind="open3d", images=str(tmp_path), annotations=str(tmp_path / "i.json"))
    assert record.camera == Camera(40, 30, 30.0, 31.0, 19.5, 14.5)
    assert record.annotations[0].label == "mug"
    assert problems.counts == {"depth_missing": 1}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPG"])
def test_sunrgbd_frames_with_polygons_gravity_and_rotated_bits(tmp_path: Path, suffix: str) -> None:
    frame = tmp_path / "kv1" / "b3do" / "img_1"
    picture(frame / "image" / f"i{suffix}")
    picture(frame / "depth_bfx" / "i.png")
    (frame / "intrinsics.txt").write_text("30 0 19.5\n0 31 14.5\n0 0 1\n")
    tilt = np.radians(20)
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    (frame / "extrinsics").mkdir()
    np.savetxt(frame / "extrinsics" / "1.txt", np.concatenate([turn, np.zeros((3, 1))], axis=1))
    (frame / "annotation2Dfinal").mkdir()
    polygons = [{"object": 0, "x": [10, 18, 18, 10], "y": [5, 5, 11, 11]}, {"object": 4, "x": [1], "y": [1]}]
    data = {"objects": [{"name": "Bed"}], "frames": [{"polygon": polygons}]}
    (frame / "annotation2Dfinal" / "index.json").write_text(json.dumps(data))
    problems = Problems()
    (record,) = read(problems, kind="sunrgbd", images=str(tmp_path))
    assert record.key == "sunrgbd_kv1_b3do_img_1"
    assert record.depth.unit == "sun"
    assert record.annotations[0].label == "bed"
    assert masks.decode(record.annotations[0].mask, 30, 40).area == 48
    np.testing.assert_allclose(np.linalg.norm(record.down), 1.0, atol=1e-9)
    assert record.down[1] == pytest.approx(np.cos(tilt))
    assert problems.counts == {"annotation_damaged": 1}


def test_keys_are_safe_short_and_still_different() -> None:
    assert safe_key("coco", "a/b c.d") == "coco_a_b_c_d"
    long = [safe_key("x" * 200 + str(i)) for i in range(3)]
    assert len(set(long)) == 3
    assert all(len(k) <= 88 for k in long)


def test_double_keys_are_counted_once_kept(tmp_path: Path) -> None:
    picture(tmp_path / "a b.jpg")
    picture(tmp_path / "a_b.jpg")
    problems = Problems()
    assert len(read(problems, kind="folder", images=str(tmp_path))) == 1
    assert problems.counts == {"duplicate_id": 1}


def test_one_damaged_entry_costs_itself_and_not_the_file(tmp_path: Path) -> None:
    far = [[1e12, 5, 18, 5, 18, 11, 10, 11]]
    annotations = [
        entry(1),
        {"id": 2, "image_id": 5, "bbox": [1, 1, 5, 5]},
        entry([3]),
        entry(4, image_id=[5]),
        entry(5, category_id={"id": 1}),
        entry(6, segmentation=far),
        entry(7, segmentation=[[float("nan")] * 8]),
        entry(8, segmentation="runs"),
        entry(9, phrases=3),
        entry(10, bbox=[1, 2, 3]),
        "no entry",
    ]
    coco_json(tmp_path / "i.json", annotations)
    data = json.loads((tmp_path / "i.json").read_text())
    data["images"] += [
        {"id": 6, "file_name": "b.jpg", "width": "wide", "height": None},
        {"id": [7], "file_name": "c.jpg"},
        {"id": 8, "file_name": ""},
    ]
    data["categories"] += [{"id": 3, "name": ""}]
    (tmp_path / "i.json").write_text(json.dumps(data))
    problems = Problems()
    records = read(problems, kind="coco", images="x", annotations=str(tmp_path / "i.json"))
    assert [(r.key, r.width) for r in records] == [("coco_5", 40), ("coco_6", 0)]
    assert [a.id for a in records[0].annotations] == ["1"]
    assert problems.counts == {"annotation_damaged": 13}


def test_texts_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "a.json").write_text('{"objects": [{"label": "mug \\ud800", "box": [1, 2, 30, 20]}]}')
    picture(tmp_path / "b.jpg")
    problems = Problems()
    assert [r.key for r in read(problems, kind="folder", images=str(tmp_path))] == ["folder_b"]
    assert problems.counts == {"annotation_damaged": 1}
    problems.add("odd", "name \udcff")
    assert json.dumps(problems.examples, ensure_ascii=False).encode()


def test_depth_is_paired_by_path_and_never_by_a_name_that_two_pictures_have(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "b/1.jpg", "b/2.jpg", "c/1.jpg"):
        picture(tmp_path / "img" / name)
    for name in ("a/1.png", "b/1.png", "2.depth.png"):
        picture(tmp_path / "depth" / name)
    records = read(kind="folder", images=str(tmp_path / "img"), depth=str(tmp_path / "depth"))
    found = {r.key: r.depth and str(Path(r.depth.path).relative_to(tmp_path / "depth")) for r in records}
    assert found == {"folder_a_1": "a/1.png", "folder_b_1": "b/1.png", "folder_b_2": "2.depth.png", "folder_c_1": None}


@pytest.mark.parametrize("kind", ["openimages", "objects365", "refcoco"])
def test_depth_images_are_found_for_annotations_of_every_kind(tmp_path: Path, kind: str) -> None:
    name = {"openimages": "a.jpg", "objects365": "patch8/a.jpg", "refcoco": "a.jpg"}[kind]
    picture(tmp_path / "img" / name)
    picture((tmp_path / "depth" / name).with_suffix(".png"))
    images = [{"id": 5, "file_name": f"images/v1/{name}" if kind == "objects365" else name, "width": 40, "height": 30}]
    coco_json(tmp_path / "instances.json", [entry(1)], images=images)
    (tmp_path / "refs.json").write_text(json.dumps([{"image_id": 5, "ann_id": 1, "sentences": [{"sent": "a mug"}]}]))
    (tmp_path / "boxes.csv").write_text(
        "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf,IsDepiction\na,/m/01,0.2,0.4,0.2,0.5,-1,-1\n"
    )
    (tmp_path / "classes.csv").write_text("LabelName,DisplayName\n/m/01,Mug\n")
    files = {"openimages": "boxes.csv", "objects365": "instances.json", "refcoco": "refs.json"}
    more = {"classes": str(tmp_path / "classes.csv")} if kind == "openimages" else {}
    (record,) = read(kind=kind, images=str(tmp_path / "img"), annotations=str(tmp_path / files[kind]),
                     depth=str(tmp_path / "depth"), **more)  # fmt: skip
    assert record.depth is not None
    assert Path(record.depth.path) == (tmp_path / "depth" / name).with_suffix(".png")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pictures_and_depth_images_may_share_a_folder(tmp_path: Path, suffix: str) -> None:
    for name in ("frame-000000", "frame-000020"):
        picture(tmp_path / f"{name}.color{suffix}")
        cv2.imwrite(str(tmp_path / f"{name}.depth.png"), np.full((30, 40), 900, np.uint16))
    shared = {"images": str(tmp_path), "depth": str(tmp_path)}
    found = read(kind="folder", **shared)
    assert [Path(r.image).name for r in found] == [f"frame-000000.color{suffix}", f"frame-000020.color{suffix}"]
    assert [Path(r.depth.path).name for r in found if r.depth] == ["frame-000000.depth.png", "frame-000020.depth.png"]
    images = [{"id": 5, "file_name": f"frame-000020.color{suffix}", "width": 40, "height": 30}]
    coco_json(tmp_path / "i.json", [entry(1)], images=images)
    (record,) = read(kind="coco", annotations=str(tmp_path / "i.json"), **shared)
    assert record.depth is not None
    assert Path(record.depth.path).name == "frame-000020.depth.png"


def test_a_depth_folder_among_the_pictures_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "z" / "a.png")
    monkeypatch.chdir(tmp_path)
    for depth in ("z", str(tmp_path / "z")):  # as it is written does not matter
        assert [r.image for r in read(kind="folder", images=".", depth=depth)] == ["a.png"]


@pytest.mark.parametrize("kind", ["frames", "open3d", "tum"])
def test_recordings_without_intrinsics_take_those_of_the_configuration(tmp_path: Path, kind: str) -> None:
    names = {"frames": ("0.color.png", "0.depth.png"), "open3d": ("color/0.png", "depth/0.png"),
             "tum": ("rgb/1.0.png", "depth/1.0.png")}[kind]  # fmt: skip
    picture(tmp_path / names[0])
    (tmp_path / names[1]).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / names[1]), np.full((30, 40), 5000, np.uint16))
    for name in ("rgb", "depth"):
        (tmp_path / f"{name}.txt").write_text(f"# timestamp filename\n1.0 {name}/1.0.png\n")
    coco_json(tmp_path / "i.json", [entry(1)], images=[{"id": 5, "file_name": Path(names[0]).name}])
    shared = {"kind": kind, "images": str(tmp_path), "annotations": str(tmp_path / "i.json")}
    source = SourceConfig(**shared, camera="36,37,19,14", depth_unit="mm")
    (record,) = read_source(source, Problems())
    seen = observe(record, LiftConfig(source, OutputConfig(str(tmp_path / "out"))))
    assert (seen.camera, seen.camera_origin) == (Camera(40, 30, 36.0, 37.0, 19.0, 14.0), "given")
    if kind == "tum":
        assert read(**shared)[0].camera == Camera(640, 480, 525.0, 525.0, 319.5, 239.5)  # its default Kinect
    else:
        with pytest.raises(CameraError, match=r"no camera.yaml .* set source.camera"):
            read(**shared)


def test_a_mask_hides_only_the_picture_that_it_is(tmp_path: Path) -> None:
    for name in ("a/one.jpg", "a/mask.png", "b/mask.png"):
        picture(tmp_path / name)
    objects = [{"label": "mug", "box": [1, 2, 30, 20], "mask": "mask.png"}]
    (tmp_path / "a" / "one.json").write_text(json.dumps({"objects": objects}))
    assert [r.key for r in read(kind="folder", images=str(tmp_path))] == ["folder_a_one", "folder_b_mask"]


def test_run_lengths_of_no_kind_are_a_damaged_mask() -> None:
    for wrong in ({}, {"size": [30, 40]}, {"size": 3, "counts": "x"}, {"size": [30, 40], "counts": [1, 2]}):
        with pytest.raises(ImageProblem) as caught:
            masks.decode(wrong, 30, 40)
        assert caught.value.reason == "mask_damaged"


def test_objects365_numbers_that_do_not_fit_cost_one_annotation(tmp_path: Path) -> None:
    box = {"image_id": 9, "category_id": 7, "bbox": [1, 2, 3, 4]}
    annotations = [{**box, "id": 1}, {**box, "id": 2, "category_id": 2**40}, {**box, "id": 3, "image_id": "x"}]
    images = [{"id": 9, "file_name": "a.jpg"}, {"id": "x", "file_name": "b.jpg"}, {"id": 10}]
    categories = [{"id": 7, "name": "Stool"}, {"name": "Chair"}]
    (tmp_path / "o.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    problems = Problems()
    records = read(problems, kind="objects365", images="x", annotations=str(tmp_path / "o.json"))
    assert [(r.key, [a.id for a in r.annotations]) for r in records] == [("objects365_9", ["1"])]
    assert problems.counts == {"annotation_damaged": 5}


def test_openimages_ids_keep_their_zeros_and_empty_cells_are_counted(tmp_path: Path) -> None:
    picture(tmp_path / "img" / "0012.jpg", 200, 100)
    (tmp_path / "c.csv").write_text("/m/1,Coffee cup\n")
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf,IsDepiction\n"
    (tmp_path / "b.csv").write_text(header + "0012,/m/1,0.1,0.3,0.2,0.6,0,0\n0012,/m/1,0.1,,0.2,0.6,0,0\n")
    problems = Problems()
    (record,) = read(
        problems,
        kind="openimages",
        images=str(tmp_path / "img"),
        annotations=str(tmp_path / "b.csv"),
        classes=str(tmp_path / "c.csv"),
    )
    assert record.key == "openimages_0012"
    assert len(record.annotations) == 1
    assert problems.counts == {"annotation_damaged": 1}


def test_refcoco_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    coco_json(tmp_path / "instances.json", [entry(1)])
    # {'image_id': 5, 'ann_id': 1, 'sentences': [{'sent': 'caf\xc3\xa9 mug'}]} as Python 2 writes it
    old = b"(lp0\n(dp1\nS'image_id'\np2\nI5\nsS'ann_id'\np3\nI1\nsS'sentences'\np4\n(lp5\n(dp6\nS'sent'\np7\n"
    old += b"S'caf\\xc3\\xa9 mug'\np8\nsasa."
    (tmp_path / "refs.p").write_bytes(old)
    (record,) = read(kind="refcoco", images="x", annotations=str(tmp_path / "refs.p"))
    assert record.annotations[0].phrases == ("caf\u00e9 mug",)


def test_sunrgbd_polygons_without_points_or_names_cost_only_themselves(tmp_path: Path) -> None:
    frame = tmp_path / "img_1"
    picture(frame / "image" / "i.jpg")
    picture(frame / "depth" / "i.png")
    (frame / "intrinsics.txt").write_text("30 0 19.5\n0 31 14.5\n0 0 1\n")
    (frame / "annotation2Dfinal").mkdir()
    whole = {"object": 0, "x": [10, 18, 18, 10], "y": [5, 5, 11, 11]}
    polygons = [{"object": 0, "x": [], "y": []}, whole, {**whole, "object": 1}, None]
    data = {"objects": [{"name": "Bed"}, {"name": None}], "frames": [{"polygon": polygons}]}
    (frame / "annotation2Dfinal" / "index.json").write_text(json.dumps(data))
    problems = Problems()
    (record,) = read(problems, kind="sunrgbd", images=str(tmp_path))
    assert [a.id for a in record.annotations] == ["1"]
    assert problems.counts == {"annotation_damaged": 3}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e300"])
def test_a_box_of_no_pixels_costs_itself_and_not_its_shard(tmp_path: Path, number: str) -> None:
    coco_json(tmp_path / "i.json", [entry(1), entry(2)])
    text = (tmp_path / "i.json").read_text()
    (tmp_path / "i.json").write_text(text.replace('"bbox": [10, 5', f'"bbox": [{number}, 5', 1))
    picture(tmp_path / "folder/a.png")
    objects = f'[{{"label": "mug", "box": [1, 2, {number}, 9]}}, {{"label": "can", "box": [1, 2, 8, 9]}}]'
    (tmp_path / "folder/a.json").write_text(f'{{"objects": {objects}}}')
    for settings in (
        {"kind": "coco", "images": "x", "annotations": str(tmp_path / "i.json")},
        {"kind": "folder", "images": str(tmp_path / "folder")},
    ):
        problems = Problems()
        (record,) = read(problems, **settings)
        assert [a.id for a in record.annotations] == ["2" if settings["kind"] == "coco" else "1"]
        assert problems.counts["annotation_damaged"] == 1


def test_a_sidecar_camera_without_a_size_is_of_the_picture(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 64, 48)
    k = {"fx": 46.128, "fy": 46.152, "cx": 34.5, "cy": 24.2}  # a principal point off the middle
    (tmp_path / "a.json").write_text(json.dumps({"objects": [], "camera": k}))
    (record,) = read(kind="folder", images=str(tmp_path))
    assert record.camera == Camera(64, 48, **k)


def test_a_coco_file_with_depth_takes_its_camera_from_the_configuration(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    (tmp_path / "depth").mkdir()
    depth = np.tile(np.arange(900, 940, dtype=np.uint16), (30, 1))
    cv2.imwrite(str(tmp_path / "depth/a.png"), depth)
    coco_json(tmp_path / "i.json", [entry(1)])
    source = SourceConfig(
        "coco", str(tmp_path), str(tmp_path / "i.json"), depth=str(tmp_path / "depth"), camera="37.5,37.5,20.5,14.5"
    )
    (record,) = read_source(source, Problems())
    seen = observe(record, LiftConfig(source, OutputConfig(str(tmp_path / "out"))))
    assert (seen.camera, seen.camera_origin) == (Camera(40, 30, 37.5, 37.5, 20.5, 14.5), "given")
    with pytest.raises(ImageProblem, match=r"source\.camera or source\.fov"):
        observe(record, LiftConfig(replace(source, camera=""), OutputConfig(str(tmp_path / "out"))))


def test_whole_centimetres_are_taken_where_the_unit_is_given_and_doubted_where_it_is_not(tmp_path: Path) -> None:
    v, u = np.mgrid[:60, :80]
    depth = DepthUnit.parse("mm").to_metres((np.round((1.2 + 0.012 * u + 0.008 * v) * 100) * 10).astype(np.uint16))
    with pytest.raises(ImageProblem, match="whole centimetres"):
        check_depth(depth, "a")
    check_depth(depth, "a", unit_is_given=True)


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_the_orientation_in_a_picture_turns_nothing(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    (tmp_path / "a.json").write_text(json.dumps({"objects": [{"label": "mug", "box": [1, 1, 30, 30]}]}))
    source = SourceConfig("folder", str(tmp_path), fov=60, depth=str(tmp_path / "depth"))
    (tmp_path / "depth").mkdir()
    np.save(tmp_path / "depth/a.npy", np.full((64, 64), 1.5, np.float32))
    (record,) = read_source(source, Problems())
    color = observe(record, LiftConfig(source, OutputConfig(str(tmp_path / "out")))).color
    for seen in (color, read_color(tmp_path / "a.jpg")):
        assert seen[8, 8].min() > 200
        assert seen[8, 56].max() < 50
        assert seen[56, 8].max() < 50
    assert read_color(tmp_path / "a.jpg", upright=True)[8, 8].max() < 50  # of a picture alone, on request
