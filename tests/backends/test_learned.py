"""Laws of the learned backends: the contract with stubs that answer recorded output; real classes where there are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from blueprint.apps import doctor
from blueprint.backends.completer_sam3d import complete
from blueprint.backends.protocols import ReconstructorConfig
from blueprint.backends.reconstruction import learned
from blueprint.backends.reconstruction.checkpoints import MODELS, UNKNOWN
from blueprint.backends.reconstruction.learned import LearnedReconstructor
from blueprint.backends.reconstruction.learned_run import WORKERS, run_worker
from blueprint.backends.reconstructor_depthanything import ReconstructorDepthanything
from blueprint.backends.reconstructor_mast3r import ReconstructorMast3r
from blueprint.backends.reconstructor_moge import ReconstructorMoge
from blueprint.backends.reconstructor_vggt import ReconstructorVggt
from blueprint.core.errors import BackendError, InputError
from blueprint.core.report import reporting
from blueprint.formats import images
from blueprint.formats.obj import read_obj
from blueprint.geometry.transforms import pose_to_matrix, transform_points
from blueprint.model.artifacts import Capture, Reconstruction
from blueprint.model.capture import ScaleAnchor, UserBox
from toy_learned import photographs, project, record, record_views, stub, torch_python
from toy_service import Events
from toy_table import BLUE, CAMERA, RED, Box, Shot, shoot

CFG = ReconstructorConfig()
ALL = (ReconstructorMoge, ReconstructorDepthanything, ReconstructorVggt, ReconstructorMast3r)


@pytest.fixture(scope="module")
def shot() -> Shot:
    return shoot()


def environ(program: Path, *names: str, **more: str) -> dict[str, str]:
    return {f"BLUEPRINT_{name.upper()}_PYTHON": str(program) for name in names} | more


def rebuild(backend: LearnedReconstructor, capture: Capture, out: Path, **cfg: object) -> Reconstruction:
    out.mkdir()
    return backend.reconstruct(capture, CFG.model_copy(update=cfg), out).save(out)


def heights(made: Reconstruction) -> list[float]:
    """Of every instance above the support [m], sorted: the 97th percentile of what the first view measured."""
    view = made.views[0]
    depth, labels = np.load(made.path(view.depth)), images.read_labels(made.path(view.labels))
    v, u = np.nonzero(depth > 0)
    z = depth[v, u]
    camera = view.camera
    points = np.column_stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z])
    world = transform_points(view.T_world_camera, points)
    tops = {i.label: world[labels[v, u] == i.label, 2] for i in made.instances}
    return sorted(float(np.percentile(points, 97)) for points in tops.values())


TRUE = [BLUE.high[2], RED.high[2]]


def points_anchor(shot: Shot) -> ScaleAnchor:
    """Two marks on the table, 0.3 m apart."""
    ends = (project(shot, (-0.15, -0.2, 0.0)), project(shot, (0.15, -0.2, 0.0)))
    return ScaleAnchor(type="points", size_m=0.3, frame="0", pixels=ends)


@dataclass(frozen=True)
class Metric:
    """MoGe's recorded depth of the shot, reconstructed once."""

    made: Reconstruction
    backend: ReconstructorMoge
    warnings: list[str]
    request: dict


@pytest.fixture(scope="module")
def metric(shot: Shot, tmp_path_factory: pytest.TempPathFactory) -> Metric:
    folder = tmp_path_factory.mktemp("metric")
    program = stub(folder / "env")
    record_views(program.parent, "moge", [shot], metric=True)
    backend, events = ReconstructorMoge(environ(program, "moge")), Events()
    with reporting(events):
        made = rebuild(backend, photographs(folder / "in", [shot]), folder / "out")
    warnings = [fields["message"] for kind, fields in events.seen if kind == "warning"]
    return Metric(made, backend, warnings, json.loads((program.parent / "seen.json").read_text()))


def test_metric_depth_of_one_photograph_becomes_objects_and_is_marked_as_a_guess(metric: Metric) -> None:
    assert heights(metric.made) == pytest.approx(TRUE, abs=0.006)
    assert metric.made.scale_source == "guessed by Ruicheng/moge-2-vitl-normal"
    assert any("guesses" in text for text in metric.warnings)
    assert metric.made.licences == {"Ruicheng/moge-2-vitl-normal: MIT": True}
    assert "moge-2-vitl-normal" in metric.backend.version
    assert metric.request["worker"] == "moge.py" and metric.request["images"][0]["K"][0][0] == CAMERA.fx


def scale_of(capture: Capture, program: Path) -> tuple[float, str]:
    """Metres per unit that MoGe's recorded answer gets."""
    frames = [(frame, capture.path(frame.color)) for frame in capture.frames]
    ran = run_worker(MODELS["moge"], frames, {}, {}, environ(program, "moge"))
    views = [view for i, (frame, _) in enumerate(frames) if (view := learned._view(capture, frame, ran, i))]
    return learned._metres(views, capture, CFG, ran)


def test_an_anchor_outranks_what_the_model_guesses(tmp_path: Path, shot: Shot) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], unit_m=0.4, metric=True)  # it guesses wrong
    metres, source = scale_of(photographs(tmp_path / "in", [shot], points_anchor(shot)), program)
    assert metres == pytest.approx(0.4, rel=0.02) and "two points" in source


def test_several_photographs_up_to_scale_become_metric_by_an_anchor(tmp_path: Path, shot: Shot) -> None:
    shots = [shot, shoot(eye=(0.35, -0.55, 0.5), seed=1)]
    program = stub(tmp_path / "env")
    record_views(program.parent, "vggt", shots, unit_m=2.5)
    backend = ReconstructorVggt(environ(program, "vggt"))
    made = rebuild(backend, photographs(tmp_path / "in", shots, points_anchor(shot)), tmp_path / "out")
    assert heights(made) == pytest.approx(TRUE, abs=0.008)
    assert len(made.views) == 2
    assert made.licences == {"facebook/VGGT-1B: VGGT research licence": False}


@pytest.mark.parametrize("kind", [ReconstructorVggt, ReconstructorMast3r, ReconstructorDepthanything])
def test_without_an_anchor_what_is_up_to_scale_is_refused_before_it_runs(
    tmp_path: Path, shot: Shot, kind: type
) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, kind.name, [shot], unit_m=2.5)
    with pytest.raises(InputError, match="no scale"):
        rebuild(kind(environ(program, kind.name)), photographs(tmp_path / "bare", [shot]), tmp_path / "none")
    assert not (program.parent / "seen.json").exists()


def test_a_checkpoint_whose_metres_are_unknown_is_believed_only_if_its_output_claims_them(
    tmp_path: Path, shot: Shot
) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "vggt", [shot], metric=False)
    names = environ(program, "vggt")
    own = {"vggt": "/my/model"}
    with pytest.raises(InputError, match="no scale"):
        rebuild(ReconstructorVggt(names), photographs(tmp_path / "bare", [shot]), tmp_path / "none", checkpoints=own)


def lay_marker(shot: Shot, corner: tuple[float, float], side_m: float) -> Shot:
    """The shot with a marker (and its white rim) on the table. corner: of the rim, the lowest x and y."""
    words = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
    sheet = np.pad(cv2.aruco.generateImageMarker(words, 7, 120), 30, constant_values=255)
    x, y, whole = *corner, side_m * 180 / 120
    world = [(x, y + whole, 0.0), (x + whole, y + whole, 0.0), (x + whole, y, 0.0), (x, y, 0.0)]
    pixels = np.array([project(shot, point) for point in world], dtype=np.float32)
    turn = cv2.getPerspectiveTransform(np.array([(0, 0), (180, 0), (180, 180), (0, 180)], np.float32) - 0.5, pixels)
    size = (CAMERA.width, CAMERA.height)
    drawn = cv2.warpPerspective(sheet, turn, size, flags=cv2.INTER_AREA)
    there = cv2.warpPerspective(np.full_like(sheet, 255), turn, size) > 127
    color = np.where(there[..., None], drawn[..., None], shot.color).astype(np.uint8)
    return Shot(color, shot.depth, shot.labels, shot.T_world_camera)


def test_a_marker_in_one_photograph_gives_the_scale(tmp_path: Path) -> None:
    shot = lay_marker(shoot(eye=(0.0, -0.25, 0.85)), (-0.06, -0.24), 0.1)
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], unit_m=3.0, metric=True)
    anchor = ScaleAnchor(type="marker", size_m=0.1, dictionary="DICT_4X4_50")
    metres, _ = scale_of(photographs(tmp_path / "in", [shot], anchor), program)
    assert metres == pytest.approx(3.0, rel=0.03)
    with pytest.raises(InputError, match="no marker"):
        scale_of(photographs(tmp_path / "bare", [shoot()], anchor), program)


@pytest.mark.parametrize("kind", ALL)
def test_without_its_environment_it_says_how_to_make_one(tmp_path: Path, shot: Shot, kind: type) -> None:
    capture = photographs(tmp_path / "in", [shot], points_anchor(shot))
    with pytest.raises(BackendError, match=f"BLUEPRINT_{kind.name.upper()}_PYTHON") as caught:
        rebuild(kind({}), capture, tmp_path / "out")
    assert "pip install" in caught.value.hint and "export BLUEPRINT_" in caught.value.hint
    with pytest.raises(BackendError, match="is no program"):
        rebuild(kind(environ(tmp_path / "absent", kind.name)), capture, tmp_path / "again")


@pytest.mark.parametrize(
    ("told", "error", "word", "hint"),
    [
        ({"kind": "package", "message": "No module named 'moge'"}, BackendError, "No module", "pip install"),
        ({"kind": "weights", "message": "401 gated"}, BackendError, "gated", "hf auth login"),
        ({"kind": "input", "message": "the pictures differ"}, InputError, "differ", "learned_models"),
        ({"kind": "failure", "message": "CUDA out of memory"}, BackendError, "out of memory", "log"),
        ({"unexpected": 1}, BackendError, "exit code 1", ""),
    ],
)
def test_what_fails_over_there_is_told_here(
    tmp_path: Path, shot: Shot, told: dict, error: type, word: str, hint: str
) -> None:
    program = stub(tmp_path / "env")
    (program.parent / "error.json").write_text(json.dumps(told))
    with pytest.raises(error, match=word) as caught:
        rebuild(ReconstructorMoge(environ(program, "moge")), photographs(tmp_path / "in", [shot]), tmp_path / "out")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        ({"T_world_camera": 2 * np.eye(4)[None]}, "no rotation"),
        ({"K": np.zeros((1, 3, 3))}, "no camera"),
        ({"depth": np.zeros((1, 5))}, "no picture"),
        ({"depth": np.zeros((1, 240, 100)), "valid": np.ones((1, 240, 100), bool)}, "hardly|no depth"),
        ({"depth": np.array([{}], dtype=object)}, "can be read"),
        ({"depth": np.full((1, 240, 320), np.nan)}, "no depth"),
    ],
)
def test_a_worker_that_breaks_the_contract_is_refused(tmp_path: Path, shot: Shot, damage: dict, word: str) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], metric=True)
    with np.load(program.parent / "moge.npz") as stored:
        arrays = {k: v for k, v in stored.items() if k != "meta"}
    record(program.parent, "moge", **(arrays | damage))
    with pytest.raises((BackendError, InputError), match=word):
        rebuild(ReconstructorMoge(environ(program, "moge")), photographs(tmp_path / "in", [shot]), tmp_path / "out")


def test_too_many_pictures_and_other_captures_are_refused(tmp_path: Path, shot: Shot) -> None:
    with pytest.raises(InputError, match="at most 1"):
        rebuild(ReconstructorMoge({}), photographs(tmp_path / "two", [shot, shot]), tmp_path / "a")
    scene = Capture(name="s", kind="scene", frames=()).save(tmp_path / "scene")
    with pytest.raises(InputError, match="no pictures"):
        rebuild(ReconstructorMoge({}), scene, tmp_path / "b")


def test_a_checkpoint_that_nobody_knows_is_not_commercial(tmp_path: Path, shot: Shot) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], metric=True)
    names = environ(program, "moge")
    capture = photographs(tmp_path / "in", [shot])
    own = {"moge": "/my/model.pt"}
    ran = run_worker(MODELS["moge"], [(capture.frames[0], capture.path("color/0.png"))], {}, own, names)
    assert ran.licences == {f"/my/model.pt: {UNKNOWN}": False}
    assert json.loads((program.parent / "seen.json").read_text())["checkpoint"] == "/my/model.pt"


@pytest.mark.parametrize("kind", [*ALL, None], ids=lambda kind: kind.name if kind else "sam")
def test_a_worker_never_stands_in_the_way_of_its_package(tmp_path: Path, shot: Shot, kind: type | None) -> None:
    """workers/moge.py is found first by `import moge`, unless the worker sees to it."""
    model = kind.model if kind else MODELS["sam"]
    for name in (model.package, "torch"):
        (tmp_path / "site" / name).mkdir(parents=True)
        body = "" if name == "torch" else f"raise ImportError('reached {name}')"
        (tmp_path / "site" / name / "__init__.py").write_text(body)
    (tmp_path / "site/torch/__init__.py").write_text(
        "def manual_seed(seed): pass\nclass cuda:\n    is_available = staticmethod(lambda: False)\n"
    )
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    capture = photographs(tmp_path / "in", [shot])
    with pytest.raises(BackendError, match=f"reached {model.package}"):
        run_worker(model, [(capture.frames[0], capture.path("color/0.png"))], {}, {}, environ(program, model.name))


def test_every_model_has_a_worker_and_terms() -> None:
    for model in MODELS.values():
        assert (WORKERS / model.worker).is_file() and model.install
        assert all(
            c.licence and c.commercial == ("NC" not in c.licence and "non" not in c.note) for c in model.checkpoints
        )


def test_the_terms_of_every_checkpoint_stand_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs/learned_models.md").read_text()
    for model in MODELS.values():
        for c in model.checkpoints:
            assert f"| `{c.name}` | {c.licence} | {'yes' if c.commercial else '**no**'} |" in page


def test_doctor_shows_environments_and_terms(tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexit 0\n")  # finds every package
    program.chmod(0o755)
    found = {f["name"]: f for f in doctor.learned(environ(program, "moge") | environ(tmp_path / "absent", "vggt"))}
    assert found["MoGe-2"]["ok"] is True and "MIT, commercial use" in found["MoGe-2"]["found"]
    assert found["VGGT"]["ok"] is False and "pip install" in found["VGGT"]["hint"]
    mast3r = found["MASt3R and DUSt3R"]
    assert mast3r["ok"] is None and "NOT commercial" in mast3r["found"] and "BLUEPRINT_MAST3R_PYTHON" in mast3r["found"]


# ------------------------------------------------------------------ masks by SAM


def test_masks_of_sam_in_the_users_boxes_carry_the_users_names(tmp_path: Path, shot: Shot) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], metric=True)
    truth = np.stack([shot.labels == 1, shot.labels == 2])
    record(program.parent, "sam", masks=truth, scores=np.array([0.9, 0.8]), prompts=np.array([0, 1]))
    boxes = tuple(
        UserBox(frame="0", label=label, name=name, xyxy=(0, 0, 319, 239))
        for label, name in ((5, "cereal_box"), (9, "mug"))
    )
    names = environ(program, "moge", "sam")
    capture = photographs(tmp_path / "in", [shot], boxes=boxes)
    made = rebuild(ReconstructorMoge(names), capture, tmp_path / "out", boxes="boxes.json", segmenter="sam")
    assert {i.text for i in made.instances} == {"cereal box", "mug"}
    assert {i.mask_source for i in made.instances} == {"model"}
    labels = images.read_labels(made.path(made.views[0].labels))
    for number, label in ((1, 5), (2, 9)):
        inside = (labels == label) & (shot.labels == number)
        assert inside.sum() > 0.9 * max((labels == label).sum(), (shot.labels == number).sum())
    assert "facebook/sam2.1-hiera-large: Apache-2.0" in made.licences


def test_of_all_that_sam_finds_only_what_stands_on_the_support_is_kept(tmp_path: Path, shot: Shot) -> None:
    program = stub(tmp_path / "env")
    record_views(program.parent, "moge", [shot], metric=True)
    table = shot.labels == 0
    half = (shot.labels == 1) & (np.arange(240)[:, None] < np.nonzero(shot.labels == 1)[0].mean())
    flat = np.zeros_like(table)
    flat[180:200, 100:140] = True  # a sheet on the table
    masks = np.stack([table, half, shot.labels == 1, shot.labels == 2, flat])
    record(program.parent, "sam", masks=masks, scores=np.array([0.99, 0.9, 0.9, 0.9, 0.9]), prompts=np.full(5, -1))
    names = environ(program, "moge", "sam")
    made = rebuild(ReconstructorMoge(names), photographs(tmp_path / "in", [shot]), tmp_path / "out", segmenter="sam")
    assert len(made.instances) == 2
    assert heights(made) == pytest.approx(TRUE, abs=0.006)


# ------------------------------------------------------------------ what workers make of their model's conventions

FAKE_TORCH = """
def manual_seed(seed): pass
def device(name): return name
class cuda:
    is_available = staticmethod(lambda: False)
"""
FAKE_DA3 = """
import json, numpy as np
from pathlib import Path
from types import SimpleNamespace
class DepthAnything3:
    @classmethod
    def from_pretrained(cls, name): return cls()
    def to(self, device): return self
    def inference(self, files):
        said = np.load(Path(__file__).parent / "said.npz")
        get = lambda name: said[name] if name in said.files else None
        return SimpleNamespace(depth=said["depth"], intrinsics=get("intrinsics"), extrinsics=get("extrinsics"),
                               sky=get("sky"), is_metric=0)
"""
FAKE_VGGT = """
import torch
class VGGT:
    @classmethod
    def from_pretrained(cls, name): return cls()
    def to(self, device): return self
    def eval(self): return self
    def __call__(self, pictures):
        _, n, _, h, w = pictures.shape
        depth = pictures.mean(dim=2)[..., None]  # brightness plays depth, so what is where can be told
        return {"pose_enc": torch.zeros(1, n, 9), "depth": depth, "depth_conf": torch.full((1, n, h, w), 2.0)}
def load_and_preprocess_images(files):
    # as VGGT's README describes its own: 518 wide, height a multiple of 14, at most the middle 518 rows
    import numpy as np
    from PIL import Image
    made = []
    for file in files:
        image = Image.open(file).convert("RGB")
        height = round(image.height * 518 / image.width / 14) * 14
        pixels = np.asarray(image.resize((518, height))) / 255
        top = max(0, (height - 518) // 2)
        made.append(torch.tensor(pixels[top : top + 518]).permute(2, 0, 1).float())
    return torch.stack(made)
def pose_encoding_to_extri_intri(enc, size):
    n = enc.shape[1]
    extrinsic = torch.eye(4)[:3].repeat(1, n, 1, 1)
    extrinsic[..., 0, 3] = 0.5  # world to camera
    K = torch.tensor([[500.0, 0, 259], [0, 500, 259], [0, 0, 1]])
    return extrinsic, K.repeat(1, n, 1, 1)
"""


def packages(folder: Path, **files: str) -> Path:
    """A folder of modules, `a__b=text` for a/b.py."""
    for name, text in files.items():
        path = folder.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_depth_anythings_world_to_camera_is_turned_round_and_its_metres_follow_the_focal_length(
    tmp_path: Path, shot: Shot
) -> None:
    site = packages(tmp_path / "site", torch=FAKE_TORCH, depth_anything_3__api=FAKE_DA3)
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    capture = photographs(tmp_path / "in", [shot])
    frames = [(capture.frames[0], capture.path("color/0.png"))]
    depth = np.full((1, 120, 160), 1.5, np.float32)
    sky = np.zeros((1, 120, 160))
    sky[0, :10] = 1
    names = environ(program, "depthanything")
    np.savez(site / "depth_anything_3/said.npz", depth=depth, sky=sky)
    with pytest.raises(InputError, match="known intrinsics"):
        guessed = capture.frames[0].model_copy(update={"intrinsics": "guessed"})
        run_worker(MODELS["depthanything"], [(guessed, frames[0][1])], {}, {}, names)
    metric = {"depthanything": "depth-anything/DA3METRIC-LARGE"}
    ran = run_worker(MODELS["depthanything"], frames, {}, metric, names)
    assert bool(ran.arrays["metric"]) and ran.arrays["K"][0, 0, 0] == CAMERA.fx / 2  # of the half-size picture
    assert np.allclose(ran.arrays["depth"], 1.5 * CAMERA.fx / 2 / 300)
    assert not ran.arrays["valid"][0, :10].any() and ran.arrays["valid"][0, 10:].all()
    T = np.eye(4)[None]
    T[0, :3, 3] = (0.1, 0.2, 0.3)
    K = np.array([[[80.0, 0, 80], [0, 80, 60], [0, 0, 1]]])
    np.savez(site / "depth_anything_3/said.npz", depth=depth, intrinsics=K, extrinsics=T[:, :3])
    ran = run_worker(MODELS["depthanything"], frames, {}, {}, names)
    assert not bool(ran.arrays["metric"]) and np.allclose(ran.arrays["T_world_camera"][0, :3, 3], (-0.1, -0.2, -0.3))


def test_vggts_cut_is_put_back_where_it_was(tmp_path: Path) -> None:
    """A portrait picture loses its top and bottom; the depth of what is left lies where the picture shows it."""
    python = torch_python("torch")
    code = packages(
        tmp_path / "code",
        vggt__models__vggt=FAKE_VGGT,
        vggt__utils__load_fn=FAKE_VGGT,
        vggt__utils__pose_enc=FAKE_VGGT,
    )
    ramp = np.repeat(np.linspace(10, 250, 400).astype(np.uint8)[:, None], 300, axis=1)
    shot = Shot(np.repeat(ramp[..., None], 3, axis=2), np.ones((400, 300)), np.zeros((400, 300)), np.eye(4))
    camera = CAMERA.model_copy(update={"width": 300, "height": 400})
    capture = photographs(tmp_path / "in", [Shot(shot.color, shot.depth, shot.labels, np.eye(4), camera)])
    names = dict(os.environ) | environ(Path(python), "vggt", BLUEPRINT_VGGT_CODE=str(code))
    ran = run_worker(MODELS["vggt"], [(capture.frames[0], capture.path("color/0.png"))], {}, {}, names)
    depth, valid = ran.arrays["depth"][0], ran.arrays["valid"][0]
    assert depth.shape == (686, 518) and valid.sum() == 518 * 518
    rows = np.nonzero(valid[:, 0])[0]
    shown = np.interp((rows + 0.5) * 400 / 686 - 0.5, np.arange(400), ramp[:, 0]) / 255
    assert np.abs(depth[rows, 100] - shown).max() < 0.01
    assert ran.arrays["K"][0, 1, 2] == 259 + rows[0]
    assert ran.arrays["T_world_camera"][0, 0, 3] == pytest.approx(-0.5)


# ------------------------------------------------------------------ complete meshes by SAM 3D


def box_in_camera(box: Box, shot: Shot) -> trimesh.Trimesh:
    extents, middle = np.subtract(box.high, box.low), np.add(box.high, box.low) / 2
    mesh = trimesh.creation.box(extents, trimesh.transformations.translation_matrix(middle))
    return mesh.apply_transform(np.linalg.inv(shot.T_world_camera))


def test_a_complete_mesh_is_taken_only_where_the_measured_points_lie_on_it(
    tmp_path: Path, shot: Shot, metric: Metric
) -> None:
    program = stub(tmp_path / "env")
    out = shutil.copytree(metric.made.root, tmp_path / "out")
    order = [RED if "red" in i.text else BLUE for i in metric.made.instances]
    meshes = [box_in_camera(box, shot) for box in order]
    meshes[1].apply_translation([0.05, 0, 0])
    arrays = {
        f"{what}_{k}": np.asarray(getattr(m, what)) for k, m in enumerate(meshes) for what in ("vertices", "faces")
    }
    record(program.parent, "sam3d", **arrays, colors_0=np.full((8, 3), (200, 40, 40), np.uint8))
    made, ran = complete(metric.made, out, CFG, environ(program, "sam3d"))
    made.save(out)
    assert [i.given is not None for i in made.instances] == [True, False]
    given = made.instances[0].given
    assert given is not None
    mesh = read_obj(made.path(given.parts[0].mesh))
    world = transform_points(pose_to_matrix(given.pose), mesh.vertices)
    assert world[:, 2].min() == pytest.approx(0, abs=0.005)
    assert world[:, 2].max() == pytest.approx(order[0].high[2], abs=0.005)
    assert mesh.uv is not None
    picture = images.read_color(made.path(str(given.parts[0].texture)))
    u, v = (64 * mesh.uv[0, 0]).astype(int)
    assert np.abs(picture[63 - v, u].astype(int) - (200, 40, 40)).max() <= 9
    assert "pipeline.yaml" in ran.said and any("SAM License" in text for text in ran.licences)


FAKE_SAM3D = """
import json, numpy as np, trimesh
from pathlib import Path
from PIL import Image
def load_image(path):
    return np.array(Image.open(path))
class Inference:
    def __init__(self, config, compile): pass
    def __call__(self, image, mask, seed, pointmap):
        said = json.loads((Path(__file__).parent / "pose.json").read_text())
        local = np.array(said["local"])
        glb = trimesh.Trimesh(local @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]), [[0, 1, 2]], process=False)
        t = np.nanmedian(pointmap[mask], axis=0)  # as its own camera sees the points: x left, y up
        return {"glb": glb, "rotation": np.array([said["quat"]]), "scale": np.array([said["scale"]]),
                "translation": t[None]}
"""


def test_the_worker_of_sam3d_undoes_the_frames_of_its_exporter_and_camera(tmp_path: Path, shot: Shot) -> None:
    """A pose as PyTorch3D applies it (rows: scale, rotate, translate) ends in our camera frame."""
    code = tmp_path / "code"
    (code / "notebook").mkdir(parents=True)
    (code / "notebook/inference.py").write_text(FAKE_SAM3D)
    (code / "checkpoints/hf").mkdir(parents=True)
    (code / "checkpoints/hf/pipeline.yaml").write_text("")
    turn = Rotation.from_euler("xyz", (20, -50, 70), degrees=True)
    local = np.array([[0.5, 0, 0], [0, 0.3, 0], [0, 0, 0.2]])
    said = {"local": local.tolist(), "quat": turn.as_quat(scalar_first=True).tolist(), "scale": [0.4] * 3}
    (code / "notebook/pose.json").write_text(json.dumps(said))
    (tmp_path / "site").mkdir()
    (tmp_path / "site/torch.py").write_text(
        "class T:\n    def __init__(self, a): self.a = a\n    def float(self): return self.a\nfrom_numpy = T\n"
    )
    program = tmp_path / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/site exec {sys.executable} "$@"\n')
    program.chmod(0o755)
    capture = photographs(tmp_path / "in", [shot])
    frames = [(capture.frames[0], capture.path("color/0.png"))]
    points = np.full((240, 320, 3), np.nan, np.float32)
    points[100:120, 100:120] = (0.1, -0.2, 0.8)  # right, up, ahead
    given = {"pointmap": points, "masks": np.isfinite(points[None, ..., 0])}
    names = dict(os.environ) | environ(program, "sam3d", BLUEPRINT_SAM3D_CODE=str(code))
    ran = run_worker(MODELS["sam3d"], frames, {}, {}, names, given)
    expected = (0.4 * local @ turn.as_matrix()) * (-1, -1, 1) + (0.1, -0.2, 0.8)
    assert ran.arrays["vertices_0"] == pytest.approx(expected, abs=1e-6)


# ------------------------------------------------------------------ real classes with tiny random weights

TINY_SAM = """
import sys, torch
from transformers import SamConfig, SamImageProcessor, SamMaskDecoderConfig, SamModel, SamProcessor
from transformers import SamPromptEncoderConfig, SamVisionConfig
torch.manual_seed(0)
vision = SamVisionConfig(hidden_size=16, output_channels=8, num_hidden_layers=1, num_attention_heads=2, image_size=128,
                         patch_size=16, mlp_dim=32, global_attn_indexes=[0], window_size=0, num_pos_feats=4)
prompt = SamPromptEncoderConfig(hidden_size=8, image_size=128, patch_size=16, mask_input_channels=4)
decoder = SamMaskDecoderConfig(hidden_size=8, mlp_dim=16, num_hidden_layers=1, num_attention_heads=2,
                               iou_head_hidden_dim=16)
model = SamModel(SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict(),
                           mask_decoder_config=decoder.to_dict()))
model.save_pretrained(sys.argv[1])
processor = SamImageProcessor(size={"longest_edge": 128}, pad_size={"height": 128, "width": 128})
SamProcessor(processor).save_pretrained(sys.argv[1])
"""

TINY_MOGE = """
import sys, torch
sys.path.insert(0, sys.argv[2])
from moge.model.v2 import MoGeModel
torch.manual_seed(0)
sides = [8, 8, 8, 8, 8]
def stack(*out, dim_in=sides):
    return dict(dim_in=dim_in, dim_out=list(out), dim_res_blocks=sides, num_res_blocks=0, res_block_in_norm="none",
                res_block_hidden_norm="none", resamplers=["bilinear"] * 4)
config = dict(
    encoder=dict(backbone="dinov2_vits14", intermediate_layers=[11], dim_out=8),
    neck=stack(None, None, None, None, None, dim_in=[10, 2, 2, 2, 2]),
    points_head=stack(None, None, None, None, 3), mask_head=stack(None, None, None, None, 1),
    scale_head=dict(dims=[384, 1]), remap_output="exp", num_tokens_range=[40, 60])
model = MoGeModel(**config)
torch.save({"model_config": config, "model": model.state_dict()}, sys.argv[1])
"""


def test_the_worker_of_sam_runs_the_real_classes(tmp_path: Path, shot: Shot) -> None:
    """Config -> save_pretrained -> from_pretrained -> processor -> model -> masks of the picture's size."""
    python = torch_python("torch, transformers")
    subprocess.run([python, "-c", TINY_SAM, str(tmp_path / "tiny")], check=True, timeout=120)
    names, tiny = dict(os.environ) | environ(Path(python), "sam"), {"sam": str(tmp_path / "tiny")}
    capture = photographs(tmp_path / "in", [shot])
    frames = [(capture.frames[0], capture.path("color/0.png"))]
    ran = run_worker(MODELS["sam"], frames, {"boxes": [[10, 20, 100, 120], [150, 60, 300, 200]]}, tiny, names)
    assert ran.arrays["masks"].shape == (2, 240, 320) and ran.arrays["masks"].dtype == bool
    assert ran.arrays["prompts"].tolist() == [0, 1] and np.isfinite(ran.arrays["scores"]).all()
    with pytest.raises(BackendError, match="cannot run") as caught:
        run_worker(MODELS["sam"], frames, {"boxes": []}, {"sam": str(tmp_path / "none")}, names)
    assert "reconstruction.checkpoints.sam" in caught.value.hint
    with pytest.raises(InputError, match="only SAM 3"):
        run_worker(MODELS["sam"], frames, {"words": ["mug"]}, tiny, names)


def test_the_worker_of_moge_runs_the_real_class(tmp_path: Path, shot: Shot) -> None:
    """Its code is no package on an index: BLUEPRINT_TEST_MOGE_CODE names a folder with `moge` and `utils3d`."""
    code = os.environ.get("BLUEPRINT_TEST_MOGE_CODE", "")
    if not code:
        pytest.skip("set BLUEPRINT_TEST_MOGE_CODE to a folder that holds the packages moge and utils3d")
    python = torch_python("torch, moge.model.v2", code)
    subprocess.run([python, "-c", TINY_MOGE, str(tmp_path / "model.pt"), code], check=True, timeout=120)
    names = dict(os.environ) | environ(Path(python), "moge", BLUEPRINT_MOGE_CODE=code)
    own, capture = {"moge": str(tmp_path / "model.pt")}, photographs(tmp_path / "in", [shot])
    ran = run_worker(MODELS["moge"], [(capture.frames[0], capture.path("color/0.png"))], {}, own, names)
    assert ran.arrays["depth"].shape == (1, 240, 320) and bool(ran.arrays["metric"])
    K = ran.arrays["K"][0]
    assert K[0, 0] == pytest.approx(CAMERA.fx, rel=1e-4)  # the known field of view was used
    assert K[:2, 2] == pytest.approx([160, 120]) and K[1, 1] == pytest.approx(K[0, 0], rel=1e-4)
