"""Learned models that can take part: how each is installed, and on what terms its weights may be used.

Licences as stated by the model cards and repositories when this table was written (sources: docs/learned_models.md).
They are facts to check, not legal advice; terms of gated checkpoints are those that you accept when you ask for access.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

UNKNOWN = "licence not known"


@dataclass(frozen=True)
class Checkpoint:
    """commercial: whether the terms permit commercial use; metric: its depth claims to be in metres."""

    name: str
    licence: str
    commercial: bool
    metric: bool = False
    note: str = ""


@dataclass(frozen=True)
class LearnedModel:
    """A model in an environment of its own. worker: file below workers/; package: what must be importable there.

    install: commands that make the environment; checkout: it is no package, and the path of its code is needed too;
    most_views: photographs it takes at once; the first checkpoint is the one used when none is named
    """

    name: str
    title: str
    worker: str
    package: str
    install: str
    checkpoints: tuple[Checkpoint, ...]
    most_views: int = 100
    checkout: bool = False

    def variable(self, what: str) -> str:
        """Environment variable: PYTHON (interpreter), CODE (checkout), DEVICE."""
        return f"BLUEPRINT_{self.name.upper()}_{what}"

    def chosen(self, checkpoints: Mapping[str, str]) -> Checkpoint:
        """What the settings name (`reconstruction.checkpoints`), else the first.

        A local path, or a name that the table lacks, has terms that nobody here knows (not commercial); whether it is
        metric, its own output says.
        """
        name = checkpoints.get(self.name) or self.checkpoints[0].name
        known = {c.name: c for c in self.checkpoints}
        return known.get(name) or Checkpoint(name, UNKNOWN, False, True, "not in the table; check its terms")


_NC = "CC BY-NC-SA 4.0"
_DA3 = "CC BY-NC 4.0"

MODELS: dict[str, LearnedModel] = {
    model.name: model
    for model in (
        LearnedModel(
            "moge",
            "MoGe-2",
            "moge.py",
            "moge",
            "python -m venv moge && moge/bin/pip install git+https://github.com/microsoft/MoGe.git",
            (
                Checkpoint("Ruicheng/moge-2-vitl-normal", "MIT", True, True),
                Checkpoint("Ruicheng/moge-2-vitl", "MIT", True, True),
                Checkpoint("Ruicheng/moge-2-vitb-normal", "MIT", True, True),
                Checkpoint("Ruicheng/moge-2-vits-normal", "MIT", True, True),
            ),
            most_views=1,
        ),
        LearnedModel(
            "depthanything",
            "Depth Anything 3",
            "depthanything.py",
            "depth_anything_3",
            "python -m venv da3 && da3/bin/pip install xformers torch torchvision "
            "git+https://github.com/ByteDance-Seed/Depth-Anything-3.git",
            (
                Checkpoint("depth-anything/DA3-BASE", "Apache-2.0", True),
                Checkpoint("depth-anything/DA3-SMALL", "Apache-2.0", True),
                Checkpoint("depth-anything/DA3METRIC-LARGE", "Apache-2.0", True, True, "one photograph, known focal"),
                Checkpoint("depth-anything/DA3MONO-LARGE", "Apache-2.0", True, note="one photograph"),
                Checkpoint("depth-anything/DA3-LARGE-1.1", _DA3, False),
                Checkpoint("depth-anything/DA3-GIANT-1.1", _DA3, False),
                Checkpoint("depth-anything/DA3NESTED-GIANT-LARGE-1.1", _DA3, False, True),
            ),
        ),
        LearnedModel(
            "vggt",
            "VGGT",
            "vggt.py",
            "vggt",
            "python -m venv vggt && vggt/bin/pip install git+https://github.com/facebookresearch/vggt.git",
            (
                Checkpoint("facebook/VGGT-1B", "VGGT research licence", False, note="non-commercial"),
                Checkpoint(
                    "facebook/VGGT-1B-Commercial", "VGGT commercial licence", True, note="gated; no military use"
                ),
            ),
        ),
        LearnedModel(
            "mast3r",
            "MASt3R and DUSt3R",
            "mast3r.py",
            "mast3r",
            "git clone --recursive https://github.com/naver/mast3r && python -m venv mast3r-env && "
            "mast3r-env/bin/pip install -r mast3r/requirements.txt -r mast3r/dust3r/requirements.txt",
            (
                Checkpoint(
                    "naver/MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric",
                    f"{_NC} and the terms of its data sets (map-free)",
                    False,
                ),
                Checkpoint("naver/DUSt3R_ViTLarge_BaseDecoder_512_dpt", _NC, False),
            ),
            most_views=20,  # all pairs are compared
            checkout=True,
        ),
        LearnedModel(
            "sam",
            "SAM, SAM 2, SAM 3",
            "sam.py",
            "transformers",
            "python -m venv sam && sam/bin/pip install torch torchvision transformers pillow",
            (
                Checkpoint("facebook/sam2.1-hiera-large", "Apache-2.0", True),
                Checkpoint("facebook/sam2.1-hiera-small", "Apache-2.0", True),
                Checkpoint("facebook/sam-vit-huge", "Apache-2.0", True),
                Checkpoint("facebook/sam3", "SAM License", True, note="gated; trade control and use limits"),
            ),
        ),
        LearnedModel(
            "sam3d",
            "SAM 3D Objects",
            "sam3d.py",
            "sam3d_objects",
            "git clone https://github.com/facebookresearch/sam-3d-objects and follow its doc/setup.md (CUDA, 32 GB)",
            (
                Checkpoint(
                    "checkpoints/hf/pipeline.yaml",
                    "SAM License (facebook/sam-3d-objects)",
                    True,
                    note="gated; trade control and use limits; a path inside the checkout",
                ),
            ),
            checkout=True,
        ),
    )
}
