"""Synthetic RGB-D scenes with true boxes: household objects on tables and floors, rendered headless by MuJoCo."""

from training.scenes.catalogue import CLASSES
from training.scenes.colors import COLORS
from training.scenes.scene import Scene, is_groundable, render, render_views
from training.scenes.scene_config import SceneConfig
from training.scenes.seeds import DEMO_SEEDS, TEST_SEEDS, TRAIN_SEEDS, VALIDATION_SEEDS, check_seeds, parse_seeds

__all__ = [
    "CLASSES",
    "COLORS",
    "DEMO_SEEDS",
    "TEST_SEEDS",
    "TRAIN_SEEDS",
    "VALIDATION_SEEDS",
    "Scene",
    "SceneConfig",
    "check_seeds",
    "is_groundable",
    "parse_seeds",
    "render",
    "render_views",
]
