"""The settings of rendered scenes, except the seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from n3d_core.errors import ConfigError
from training.scenes.catalogue import CLASSES, Place, classes_at
from training.scenes.colors import COLORS
from training.scenes.vocabulary import Vocabulary

Span = tuple[float, float]


@dataclass(frozen=True)
class SceneConfig:
    """Ranges that scenes are drawn from; a scene depends only on its seed and these.

    Attributes:
        width, height: size of the image in pixels.
        fov: field of view of the longer side in degrees.
        objects: minimum and maximum number of objects.
        table_share: share of tabletop scenes; the others are rooms seen from standing or robot height.
        twin_share: share of scenes with repeated classes, in which "all mugs" and "red mug" differ.
        table_elevation, floor_elevation: angle of the line of sight below the horizon in degrees.
        distance: distance to the middle of the objects, relative to the one that just frames them all.
        roll: maximum roll of the camera in degrees.
        light: strength of the main light; `ambient`: of the ambient light.
        light_tint: maximum relative difference of the light's channels.
        light_elevation: elevation of the main light above the horizon, in degrees.
        shadow_share: share of scenes with cast shadows.
        shadow_size: shadow map's width in texels.
        samples: multisampling of the colour image.
        noise: whether to simulate the sensor's colour and depth noise.
        depth_range: range of the depth sensor in metres.
        disparity_scale: focal length times baseline of the stereo sensor, in pixel metres at 640 px width; quantisation
            is the square of the distance divided by it.
        classes, colors: names of objects to draw.
        clutter_share: share of scenes with clutter of no class.
        household_share: share of objects that are household meshes, for classes with meshes (extra `household`).

    Raises:
        ConfigError: if a value is out of its range.
    """

    width: int = 256
    height: int = 192
    fov: Span = (46.0, 76.0)
    objects: tuple[int, int] = (1, 10)
    table_share: float = 0.64
    twin_share: float = 0.4
    table_elevation: Span = (18.0, 52.0)
    floor_elevation: Span = (8.0, 38.0)
    distance: Span = (0.55, 1.15)
    roll: float = 4.0
    light: Span = (0.40, 0.75)
    ambient: Span = (0.25, 0.45)
    light_tint: float = 0.08
    light_elevation: Span = (35.0, 80.0)
    shadow_share: float = 0.5
    shadow_size: int = 1024
    samples: int = 4
    noise: bool = True
    depth_range: Span = (0.25, 8.0)
    disparity_scale: float = 32.0
    classes: tuple[str, ...] = CLASSES
    colors: tuple[str, ...] = COLORS
    clutter_share: float = 0.0
    household_share: float = 0.0

    def __post_init__(self) -> None:
        if not (16 <= self.width <= 4096 and 16 <= self.height <= 4096):
            raise ConfigError(f"scene images must be 16 to 4096 pixels a side; got {self.width}x{self.height}")
        if not 1 <= self.objects[0] <= self.objects[1] <= 30:
            raise ConfigError(f"objects must satisfy 1 <= fewest <= most <= 30; got {self.objects}")
        for name in ("fov", "table_elevation", "floor_elevation", "distance", "light", "ambient", "depth_range"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ConfigError(f"{name} must be a rising range of positive numbers; got {low}..{high}")
        if self.fov[1] > 120:
            raise ConfigError(f"fov must be at most 120 degrees; got {self.fov}")
        shares = ("table_share", "twin_share", "shadow_share", "light_tint", "clutter_share", "household_share")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be a share between 0 and 1; got {getattr(self, name)}")
        for name, known in (("classes", CLASSES), ("colors", COLORS)):
            chosen = getattr(self, name)
            if not chosen or not set(chosen) <= set(known) or len(set(chosen)) < len(chosen):
                raise ConfigError(f"scenes: {name} must be different names out of {list(known)}; got {list(chosen)}")
        places: dict[Place, float] = {"table": self.table_share, "floor": 1 - self.table_share}
        for place, share in places.items():
            if share > 0 and not set(classes_at(place)) & set(self.classes):
                raise ConfigError(f"scenes: none of {list(self.classes)} is found on a {place}: add one of its classes")

    @classmethod
    def standard(cls, width: int = 640, height: int = 480) -> SceneConfig:
        """The standard suite for published figures: 3 to 10 objects, with sensor noise."""
        return cls(width=width, height=height, objects=(3, 10))

    def made_of(self, taught: Vocabulary) -> SceneConfig:
        """The same scenes with the objects that a model is trained on.

        Raises:
            ConfigError: if no scene is possible with them.
        """
        return replace(self, classes=taught.classes, colors=taught.colors)

    def shifted(self) -> SceneConfig:
        """The same scenes from camera heights and under lights outside of the training range."""
        return replace(
            self,
            table_elevation=(53.0, 64.0),
            floor_elevation=(40.0, 52.0),
            light=(0.78, 0.95),
            ambient=(0.14, 0.22),
            light_tint=0.18,
            light_elevation=(20.0, 33.0),
        )

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> SceneConfig:
        """Reads the contents of a YAML file; lists become ranges.

        Raises:
            ConfigError: if a key is unknown or a value invalid.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ConfigError(f"scenes: unknown keys {unknown}; known are {sorted(known)}")
        try:
            return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in data.items()})
        except TypeError as error:
            raise ConfigError(f"scenes: a value has the wrong type: {error}") from error

    def to_mapping(self) -> dict[str, Any]:
        """The form that `from_mapping` reads."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
