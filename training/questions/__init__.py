"""Questions about scenes: grounding queries, and spatial questions with their answers and chains of thought."""

from training.questions.fill import fill, groundable
from training.questions.grounding import SceneObjects, Vocabulary, grounding_samples
from training.questions.samples import GroundingSample, Mark, SpatialSample
from training.questions.spatial import spatial_samples

__all__ = [
    "GroundingSample",
    "Mark",
    "SceneObjects",
    "SpatialSample",
    "Vocabulary",
    "fill",
    "groundable",
    "grounding_samples",
    "spatial_samples",
]
