"""Generated scenes with exact truth, for demonstrations, tests and base weights.

spec -> placement (where) -> painting (how it looks) -> image and visible masks
        shapes, sprites      colours, textures
"""

from pipeline.scenes.catalogue import KINDS, Kind
from pipeline.scenes.scene import Scene, SceneObject, make_scene, make_scenes, scene_at
from pipeline.scenes.spec import DEMO, PRETRAINING, SceneSpec

__all__ = [
    "DEMO",
    "KINDS",
    "PRETRAINING",
    "Kind",
    "Scene",
    "SceneObject",
    "SceneSpec",
    "make_scene",
    "make_scenes",
    "scene_at",
]
