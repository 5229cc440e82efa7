"""Data packs: every stream of a recording agrees with the others and with physics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.spatial.transform import Rotation

import toy_episodes
import toy_gripper
from blueprint.backends.renderer_mujoco import RendererMujoco
from blueprint.backends.renderer_raster import RendererRaster
from blueprint.backends.signals_mujoco import without_jumps
from blueprint.core.errors import InputError
from blueprint.formats.images import read_color
from blueprint.formats.lerobot.check import check_dataset
from blueprint.formats.lerobot.doctor import examine
from blueprint.formats.video.coding import decode_color, probe
from blueprint.geometry.depth import project
from blueprint.model.artifacts import Dataset, Episodes, Recording, Workcell
from blueprint.model.capture import Camera
from blueprint.model.episode import RecordedEpisode
from blueprint.model.packs import PACKS, STREAMS
from blueprint.stages.dataset import DatasetConfig, dataset
from blueprint.stages.recording import RecordingConfig, recording
from exr_reader import read_exr

FRAMES = 8
Inputs = tuple[Workcell, Episodes]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    workcell = toy_gripper.make_workcell(folder / "workcell")
    taskset = toy_gripper.make_taskset(folder / "taskset")
    return workcell, toy_gripper.make_episodes(folder / "episodes", workcell, taskset, FRAMES)


def record(inputs: Inputs, out: Path, **settings: object) -> Recording:
    cfg = RecordingConfig.model_validate({"width": 96, "height": 64, "samples": 1, **settings})
    renderer = RendererMujoco() if cfg.look == "none" else RendererRaster()  # looks may have textures
    return recording.function(*inputs, renderer, cfg, out).save(out)


@pytest.fixture(scope="module")
def full(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(inputs, tmp_path_factory.mktemp("full"), pack="full", cameras=("scene", "wrist", "side"))


@pytest.fixture(scope="module")
def episode(full: Recording) -> RecordedEpisode:
    return full.episodes[0]


def side(made: Recording, episode: RecordedEpisode, kind: str) -> Path:
    return made.path(episode.sides[kind])


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in loaded.files}


def seen(made: Recording, episode: RecordedEpisode, camera: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """depth, instance, semantic (T, H, W) of a camera."""
    track = episode.tracks[camera]
    labels = arrays(made.path(track.segmentation or ""))
    return arrays(made.path(track.depth or ""))["depth"], labels["instance"], labels["semantic"]


def corners_of(box: dict) -> np.ndarray:
    """(8, 3) in the camera frame."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    return Rotation.from_quat(box["quat_wxyz"], scalar_first=True).apply(signs * box["size"]) + box["center"]


def test_each_pack_holds_the_one_before_and_nothing_that_is_not_its_own(inputs: Inputs, tmp_path: Path) -> None:
    assert PACKS["core"] < PACKS["plus"] < PACKS["full"] == set(STREAMS)
    core = record(inputs, tmp_path / "core", pack="core")
    assert {path.name for path in core.root.glob("episodes/000000/*")} == {
        "scene.mp4", "wrist.mp4", "poses.npz", "calibration.json", "episode.json",
    }  # fmt: skip
    plus = record(inputs, tmp_path / "plus", pack="plus")
    kinds = {side.partition("/")[0] for side in plus.episodes[0].sides}
    assert kinds == {"bbox_2d", "bbox_3d", "calibration", "goal_images", "point_cloud"}
    assert {name.rpartition(".")[2] for name in plus.vectors} == {"velocity", "effort", "wrench", "tool_pose"}
    assert arrays(side(plus, plus.episodes[0], "point_cloud"))["points"].shape == (FRAMES, 10_000, 3)
    assert not plus.failures and not plus.episodes[0].tactile


def test_two_full_recordings_are_equal_in_bytes(inputs: Inputs, full: Recording, tmp_path: Path) -> None:
    record(inputs, tmp_path, pack="full", cameras=("scene", "wrist", "side"))
    files = [path.relative_to(full.root) for path in sorted(full.root.rglob("*.*")) if path.is_file()]
    assert len(files) > 100
    for file in files:
        if file.name != ".finished":
            assert (tmp_path / file).read_bytes() == (full.root / file).read_bytes(), file


def test_features_are_the_signals_of_the_states(full: Recording, episode: RecordedEpisode) -> None:
    values = arrays(full.path(episode.vectors or ""))
    assert {name: rows.shape for name, rows in values.items()} == {
        name: (FRAMES, len(names)) for name, names in full.vectors.items()
    }
    assert full.vectors["observation.wrench"][:2] == ("force_x", "force_y")
    assert full.vectors["observation.gripper_force"] == ("left", "right")
    assert values["observation.gripper_force"][-1].min() > 10


def test_the_tool_pose_is_that_of_the_tool_frame_in_the_world(
    inputs: Inputs, full: Recording, episode: RecordedEpisode
) -> None:
    workcell, qpos = inputs[0], arrays(side(full, episode, "privileged_state"))["qpos"]
    values = arrays(full.path(episode.vectors or ""))["observation.tool_pose"]
    model = mujoco.MjModel.from_xml_path(str(workcell.path(workcell.mjcf)))
    data = mujoco.MjData(model)
    assert full.vectors["observation.tool_pose"] == ("tool_x", "tool_y", "tool_z", *(f"tool_q{a}" for a in "wxyz"))
    for row, value in zip(qpos, values, strict=True):
        data.qpos[:] = row
        mujoco.mj_forward(model, data)
        tool = data.site(workcell.robot.gripper.site)
        np.testing.assert_allclose(value[:3], tool.xpos, atol=1e-6)
        turned = Rotation.from_quat(value[3:], scalar_first=True).as_matrix()
        np.testing.assert_allclose(turned, tool.xmat.reshape(3, 3), atol=1e-6)
    assert (np.sum(values[1:, 3:] * values[:-1, 3:], axis=1) > 0.9).all()


def test_quaternions_keep_their_rotation_and_lose_their_jumps() -> None:
    turns = Rotation.from_rotvec(np.linspace(0, 2 * np.pi, 50)[:, None, None] * np.array([[0, 0, 1], [0.6, 0, 0.8]]))
    smooth = turns.as_quat(scalar_first=True)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(50, 2, 1))
    assert np.abs(np.diff(signs * smooth, axis=0)).max() > 1
    np.testing.assert_allclose(np.abs(np.diff(without_jumps(signs * smooth), axis=0)).max(), 0.064, atol=0.002)
    np.testing.assert_allclose(np.abs(np.sum(without_jumps(signs * smooth) * smooth, axis=-1)), 1.0)
    assert (without_jumps(signs * smooth)[0, :, 0] > 0).all()


def test_2d_boxes_are_tight_around_their_masks_and_within_the_whole(full: Recording, episode: RecordedEpisode) -> None:
    things = 0
    for c, track in enumerate(episode.tracks):
        coco = json.loads(side(full, episode, f"bbox_2d/{track.camera}").read_text())
        _, instance, semantic = seen(full, episode, c)
        names = {row["id"]: row["name"] for row in coco["categories"]}
        assert len(coco["images"]) == FRAMES
        for row in coco["annotations"]:
            v, u = np.nonzero(instance[row["image_id"]] == row["instance_id"])
            x, y, width, height = row["bbox"]
            assert (x, y, x + width, y + height) == (u.min(), v.min(), u.max() + 1, v.max() + 1)
            assert row["area"] == len(u)
            assert (semantic[row["image_id"], v, u] == row["category_id"]).all()
            kind = full.instances[row["instance_id"]]
            assert kind.category == names[row["category_id"]] and kind.thing
            if row["amodal_bbox"] is not None:
                ax, ay, aw, ah = row["amodal_bbox"]
                assert ax < x + 1 and ay < y + 1 and ax + aw > x + width - 1 and ay + ah > y + height - 1
            things += 1
        assert {"carton", "ball", "robot"} <= set(names.values())
    assert things > 2 * FRAMES


def test_3d_boxes_hold_the_points_of_their_instance(full: Recording, episode: RecordedEpisode) -> None:
    for c, track in enumerate(episode.tracks):
        depth, instance, _ = seen(full, episode, c)
        frames = json.loads(side(full, episode, f"bbox_3d/{track.camera}").read_text())["frames"]
        for t in (0, FRAMES - 1):
            box = next(box for box in frames[t]["boxes"] if box["body"] == "box")
            np.testing.assert_allclose(box["size"], 0.04, atol=1e-6)
            points = backprojected(depth[t], full.cameras[c], instance[t] == box["instance_id"])
            own = Rotation.from_quat(box["quat_wxyz"], scalar_first=True).inv().apply(points - box["center"])
            assert len(points) > 3 and np.abs(own).max() < 0.02 + 1e-3
            u, v = project(corners_of(box), full.cameras[c]).T
            rows, columns = np.nonzero(instance[t] == box["instance_id"])
            assert u.min() - 1 < columns.min() and columns.max() < u.max() + 1
            assert v.min() - 1 < rows.min() and rows.max() < v.max() + 1


def backprojected(depth: np.ndarray, camera: Camera, mask: np.ndarray) -> np.ndarray:
    v, u = np.nonzero(mask)
    z = depth[v, u]
    return np.stack([(u - camera.cx) / camera.fx * z, (v - camera.cy) / camera.fy * z, z], axis=1)


def test_cloud_points_lie_on_the_depth_pictures(full: Recording, episode: RecordedEpisode) -> None:
    cloud, poses = arrays(side(full, episode, "point_cloud")), arrays(full.path(episode.poses))["camera_poses"]
    assert cloud["points"].shape == (FRAMES, 20_000, 3)
    for c, camera in enumerate(full.cameras):
        depth, instance, _ = seen(full, episode, c)
        for t in (0, FRAMES - 1):
            own = cloud["camera"][t] == c
            turn = Rotation.from_quat(poses[t, c, 3:], scalar_first=True)
            points = turn.inv().apply(cloud["points"][t, own] - poses[t, c, :3])
            u, v = np.rint(project(points, camera)).astype(int).T
            assert own.sum() > 1000
            assert np.abs(depth[t, v, u] - points[:, 2]).max() < 1e-3
            np.testing.assert_array_equal(instance[t, v, u], cloud["instance"][t, own])
            normals = turn.inv().apply(cloud["normals"][t, own])
            known = np.linalg.norm(normals, axis=1) > 0
            assert known.mean() > 0.9 and ((normals * points).sum(axis=1)[known] < 1e-3).all()


def test_normals_are_of_unit_length_and_face_the_camera(full: Recording, episode: RecordedEpisode) -> None:
    for c, track in enumerate(episode.tracks):
        files = sorted(side(full, episode, f"normals/{track.camera}").iterdir())
        assert [file.name for file in files] == [f"{t:06d}.exr" for t in range(FRAMES)]
        normals, (depth, _, _) = read_exr(files[-1]).astype(float), seen(full, episode, c)
        length = np.linalg.norm(normals, axis=2)
        known = length > 0
        assert known[depth[-1] > 0].mean() > 0.95 and not known[depth[-1] == 0].any()
        np.testing.assert_allclose(length[known], 1.0, atol=1e-3)
        camera = full.cameras[c]
        rays = backprojected(np.ones(depth.shape[1:]), camera, np.ones(depth.shape[1:], bool))
        assert ((normals.reshape(-1, 3) * rays).sum(axis=1)[known.ravel()] < 1e-2).all()


def test_velocities_of_objects_are_the_change_of_their_poses(full: Recording, episode: RecordedEpisode) -> None:
    poses = arrays(full.path(episode.poses))
    ball = {name: value for value, name in full.segment_names.items()}["ball"]
    moved = np.diff(poses["body_poses"][:, ball, 2]) * toy_gripper.FPS
    middle = (poses["body_velocity"][1:, ball, 2] + poses["body_velocity"][:-1, ball, 2]) / 2
    np.testing.assert_allclose(moved[:5], middle[:5], rtol=0.02, atol=0.02)
    assert poses["body_acceleration"][2, ball, 2] == pytest.approx(-9.81, abs=1e-6)


def test_contacts_say_who_presses_on_whom_where_and_how_hard(full: Recording, episode: RecordedEpisode) -> None:
    rows = pq.read_table(side(full, episode, "contacts")).to_pylist()
    held = [row for row in rows if row["frame_index"] == FRAMES - 1 and "box" in (row["body_a"], row["body_b"])]
    assert {row["body_a"] for row in held} | {row["body_b"] for row in held} == {"left", "right", "box"}
    on_box = sum(np.array(row["force"]) * (1 if row["body_b"] == "box" else -1) for row in held)
    assert on_box[2] == pytest.approx(toy_gripper.MASS_KG * 9.81, rel=0.05), "the fingers carry the box"
    assert all(row["distance"] < 1e-4 and len(row["position"]) == 3 for row in held)


def test_tactile_videos_and_arrays_have_a_reading_per_frame(full: Recording, episode: RecordedEpisode) -> None:
    assert [track.camera for track in episode.tactile] == ["tactile_left", "tactile_right"]
    for track, finger in zip(episode.tactile, ("left", "right"), strict=True):
        video = probe(full.path(track.video))
        assert (video.width, video.height, len(video.times)) == (320, 240, FRAMES)
        reading = arrays(side(full, episode, f"tactile/{finger}"))
        assert reading["depth_map"].shape == (FRAMES, 240, 320)
        assert reading["markers"].shape == (FRAMES, 121, 2)
        assert reading["force"][-1, 2] < -10 and reading["area"][-1] > 1e-4


def test_privileged_state_sets_the_simulation_up_again(full: Recording, episode: RecordedEpisode) -> None:
    state = arrays(side(full, episode, "privileged_state"))
    at = dict(zip(state["joint"].tolist(), state["joint_qpos"].tolist(), strict=True))
    box = {name: value for value, name in full.segment_names.items()}["box"]
    poses = arrays(full.path(episode.poses))["body_poses"]
    np.testing.assert_allclose(state["qpos"][:, at["box"] : at["box"] + 3], poses[:, box, :3], atol=1e-12)
    assert state["body_mass"][state["body"].tolist().index("box")] == toy_gripper.MASS_KG


def test_calibration_places_still_cameras_at_the_base_and_hanging_ones_at_the_tool(
    full: Recording, episode: RecordedEpisode
) -> None:
    content = json.loads(side(full, episode, "calibration").read_text())
    poses = arrays(full.path(episode.poses))["camera_poses"]
    scene, wrist = content["cameras"]["scene"], content["cameras"]["wrist"]
    pose = poses[0, 0] * ([1, 1, 1] + [np.sign(poses[0, 0, 3])] * 4)  # of the two quaternions of a rotation
    np.testing.assert_allclose(scene["T_base_camera"], pose, atol=1e-6)  # the toy's base is the world's origin
    assert not scene["moving"] and scene["fx"] == pytest.approx(full.cameras[0].fx)
    assert wrist["moving"] and wrist["T_base_camera"] is None and wrist["T_world_camera"] is None
    assert np.linalg.norm(wrist["T_tool_camera"][:3]) == pytest.approx(np.hypot(0.15, 0.06), abs=1e-6)


def test_goal_pictures_are_the_last_ones(full: Recording, episode: RecordedEpisode) -> None:
    for track in episode.tracks:
        goal = read_color(side(full, episode, f"goal_images/{track.camera}")).astype(float)
        *_, last = decode_color(full.path(track.video))
        assert np.abs(goal - last).mean() < 6  # the video is lossy


def test_failed_attempts_are_recorded_apart(full: Recording) -> None:
    assert [(e.index, e.attempt) for e in full.failures] == [(1, 0)]
    assert full.failures[0].frames == FRAMES and not any(k.startswith("goal") for k in full.failures[0].sides)
    assert [(e.index, e.attempt) for e in full.episodes] == [(0, None), (1, None)]


def test_siblings_share_states_and_differ_in_looks(inputs: Inputs, tmp_path: Path) -> None:
    made = record(inputs, tmp_path, looks=2, look="medium", seed=3)
    assert [(e.index, e.look_index) for e in made.episodes] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    looks = [e.look for e in made.episodes]
    assert len({look.model_dump_json() for look in looks if look}) == 4
    bodies = [arrays(made.path(e.poses))["body_poses"] for e in made.episodes]
    assert all(np.array_equal(bodies[0], other) for other in bodies[1:])
    videos = {made.path(e.tracks[0].video).read_bytes() for e in made.episodes}
    assert len(videos) == 4 and made.episodes[0].cameras != made.episodes[1].cameras, "intrinsics belong to a look"


def test_noise_is_the_sensor_s_and_the_same_every_time(inputs: Inputs, tmp_path: Path) -> None:
    settings = {"look": "high", "pack": "plus", "cameras": ("scene",)}
    one, two = (record(inputs, tmp_path / name, **settings) for name in "ab")
    depths = [arrays(made.path(made.episodes[0].tracks[0].depth or ""))["depth"] for made in (one, two)]
    np.testing.assert_array_equal(*depths)
    assert np.diff(depths[0], axis=0)[depths[0][1:] > 0].std() > 1e-4, "still parts differ from frame to frame"


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"cameras": ("top",)}, "it has: scene, wrist, side"), ({"looks": 3}, "equal ones")],
)
def test_what_cannot_be_recorded_is_said(inputs: Inputs, tmp_path: Path, settings: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        record(inputs, tmp_path, **settings)


# ------------------------------------------------------------------ datasets


@pytest.fixture(scope="module")
def dataset_of_full(inputs: Inputs, full: Recording, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made_dataset(inputs, full, tmp_path_factory.mktemp("dataset"))


def made_dataset(inputs: Inputs, drawn: Recording, out: Path) -> Dataset:
    workcell, episodes = inputs
    taskset = toy_gripper.make_taskset(out / "taskset")
    return dataset.function(
        workcell, taskset, episodes, drawn, toy_episodes.make_licences(), DatasetConfig(), out
    ).save(out)


def test_a_full_dataset_and_its_failures_are_sound(dataset_of_full: Dataset) -> None:
    made = dataset_of_full
    assert made.failures == "failures"
    for folder, episodes in ((made.folder, 2), ("failures", 1)):
        assert check_dataset(made.path(folder), decode=True) == []
        lines = [json.loads(line) for line in made.path(f"{folder}/sidecar/episodes.jsonl").read_text().splitlines()]
        assert len(lines) == episodes and all(line["success"] == (folder == made.folder) for line in lines)
        card = made.path(f"{folder}/README.md").read_text()
        assert ("None of these attempts" in card) == (folder == "failures") != ("accepted by a checker" in card)
    assert lines[0]["attempts"][lines[0]["attempt"]]["cause"] == "dropped"


def test_signals_are_features_of_the_dataset(dataset_of_full: Dataset, full: Recording) -> None:
    made = dataset_of_full
    info = json.loads(made.path(f"{made.folder}/meta/info.json").read_text())
    rows = pq.read_table(made.path(f"{made.folder}/data/chunk-000/file-000.parquet"))
    for name, names in full.vectors.items():
        assert info["features"][name]["names"] == list(names)
        expected = np.concatenate([arrays(full.path(e.vectors or ""))[name] for e in full.episodes])
        np.testing.assert_array_equal(np.array(rows[name].to_pylist(), np.float32).reshape(expected.shape), expected)
    assert info["features"]["observation.images.tactile_left"]["shape"] == [240, 320, 3]
    assert made.cameras == ("scene", "wrist", "side")


def test_side_files_of_a_pack_lie_where_the_page_says(dataset_of_full: Dataset, full: Recording) -> None:
    root = dataset_of_full.path("dataset/sidecar")
    page = (root / "README.md").read_text()
    kinds = {path.relative_to(root).parts[0] for path in root.glob("*/*")}
    assert kinds == {
        "depth", "segmentation", "bbox_2d", "bbox_3d", "normals", "point_cloud", "goal_images", "poses", "contacts",
        "tactile", "privileged_state", "calibration", "simulation",
    }  # fmt: skip
    assert all(f"`{kind}/" in page for kind in kinds) and "NEWTONS" not in page
    columns = pq.read_schema(root / "poses/000001.parquet").names
    assert {"segment", "body/box", "velocity/box", "acceleration/box", "camera/side"} <= set(columns)
    assert read_exr(root / "normals/scene/000001/000007.exr").shape == (64, 96, 3)
    line = json.loads((root / "episodes.jsonl").read_text().splitlines()[1])
    assert [span["name"] for span in line["segments"]] == ["grasp", "lift"]
    assert line["segments"][-1]["to_frame"] == FRAMES


@pytest.mark.parametrize(
    "harm", ["tactile/left/000000.npz", "normals/scene/000000/000003.exr", "bbox_2d/side/000001.json"]
)
def test_the_check_finds_what_is_missing_of_a_pack(dataset_of_full: Dataset, tmp_path: Path, harm: str) -> None:
    root = tmp_path / "dataset"
    shutil.copytree(dataset_of_full.path("dataset"), root)
    (root / "sidecar" / harm).unlink()
    assert {finding.rule for finding in check_dataset(root)} == {"sidecar"}


def test_the_dataset_says_which_episodes_are_siblings(inputs: Inputs, tmp_path: Path) -> None:
    drawn = record(inputs, tmp_path / "drawn", looks=3, look="low")
    made = made_dataset(inputs, drawn, tmp_path / "made")
    lines = [json.loads(line) for line in made.path("dataset/sidecar/episodes.jsonl").read_text().splitlines()]
    assert [(line["trajectory_index"], line["look_index"]) for line in lines] == [
        (t, k) for t in (0, 1) for k in range(3)
    ]
    assert len({json.dumps(line["look"]) for line in lines}) == 6
    root = made.path("dataset")
    double = lambda: [one.where for one in examine(root) if one.rule == "duplicate"]  # noqa: E731
    assert double() == ["episode 3", "episode 4", "episode 5"], "of another toy trajectory, not siblings"
    (root / "sidecar/episodes.jsonl").write_text("".join(json.dumps(line | {"look": None}) + "\n" for line in lines))
    assert len(double()) == 5, "unless nobody says so"
    parts = json.loads(made.path("dataset/sidecar/splits.json").read_text())
    assert parts["train"] == list(range(6)) and parts["seed"] == 42
    assert check_dataset(made.path("dataset")) == []
    assert "| lift the box | 6 |" in made.path("dataset/README.md").read_text()


PAGE = Path(__file__).parents[2] / "docs/data_packs.md"


def test_every_line_of_code_on_the_page_reads_something(dataset_of_full: Dataset) -> None:
    text = PAGE.read_text()
    preamble = text.partition("```python\n")[2].partition("```")[0]
    scope: dict[str, Any] = {}
    exec(preamble.replace('"outputs/dataset"', repr(str(dataset_of_full.path("dataset")))), scope)
    streams = text.partition("## Other formats")[0]
    table = [line for line in streams.splitlines() if line.startswith("| ") and "`" in line]
    snippets = [line.rstrip("| ").rpartition("| `")[2].rstrip("`") for line in table]
    assert len(snippets) >= 24
    for snippet in snippets:
        if "OpenEXR" not in snippet:  # not among the project's packages
            exec(f"found = {snippet}", scope)
            assert scope["found"] is not None and np.size(scope["found"]) > 0, snippet
