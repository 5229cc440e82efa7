"""Laws of training on a finished dataset: only admitted data, the right frames, the same order for the same seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blueprint import verify
from blueprint.backends.signer_file import SignerFile, create_key
from blueprint.client.frames import Frames, LoaderConfig, admitted
from blueprint.core.errors import BlueprintError, InputError
from blueprint.formats.lerobot.convert import convert
from blueprint.formats.lerobot.read import open_dataset
from blueprint.formats.video.coding import gray_writer
from formats.lerobot_toys import FPS, KEY, LENGTHS, SIZE, TASKS, make_dataset
from toy_signed import POLICY, sign

PARTS = {"train": [0, 2], "val": [1], "test": []}
RNG = np.random.default_rng(7)
DEPTH_MM = [RNG.integers(0, 3000, (length, 8, 8)).astype(np.uint16) for length in LENGTHS]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, signer: SignerFile) -> Path:
    """v3.0, all episodes in one video, with splits, depth of a camera as video and labels of it as arrays; signed."""
    made = make_dataset(tmp_path_factory.mktemp("made"))
    depth, labels = made / "sidecar/depth/front", made / "sidecar/segmentation/front"
    for folder in (depth, labels):
        folder.mkdir(parents=True)
    for index, values in enumerate(DEPTH_MM):
        with gray_writer(depth / f"{index:06d}.mkv", width=8, height=8, fps=FPS) as video:
            for frame in values:
                video.add(frame)
        np.savez_compressed(labels / f"{index:06d}.npz", semantic=values // 3, instance=values // 2)
    (made / "sidecar/splits.json").write_text(json.dumps({"strategy": "random", "seed": 42, **PARTS}))
    sign(made, signer)
    return made


@pytest.fixture(scope="module")
def older(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in v2.1."""
    out = tmp_path_factory.mktemp("older") / "dataset"
    convert(open_dataset(root), out, "v2.1")
    return out


def all_pictures(root: Path) -> list[np.ndarray]:
    """Of each frame in order, (3, H, W) in [0, 1], decoded from the first to the last."""
    dataset = open_dataset(root)
    shown = [p for episode in dataset.episodes() for p in dataset.pictures(episode, KEY)]
    return [picture.transpose(2, 0, 1) / 255 for picture in shown]


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_every_frame_is_the_one_that_was_written(root: Path, older: Path, version: str) -> None:
    path = root if version == "v3.0" else older
    frames, pictures = Frames(path, LoaderConfig(horizon=1), "all"), all_pictures(path)
    assert len(frames) == sum(LENGTHS) == len(pictures)
    for index in np.random.default_rng(0).permutation(len(frames)).tolist():  # in no order that helps the decoder
        sample = frames[index]
        assert sample["index"] == index
        assert sample["action"].dtype == np.float32
        assert np.array_equal(sample["action"], sample["observation.state"] + 1)
        assert sample["task"] == TASKS[(int(sample["episode_index"]) + 1) % 2]
        assert sample[KEY].dtype == np.float32 and sample[KEY].shape == (3, SIZE, SIZE)
        np.testing.assert_allclose(sample[KEY], pictures[index], atol=1e-6)


def test_the_splits_are_those_of_the_sidecar(root: Path) -> None:
    for split, episodes in PARTS.items():
        if not episodes:
            with pytest.raises(InputError, match="no episode in split 'test'"):
                Frames(root, LoaderConfig(), split)
            continue
        frames = Frames(root, LoaderConfig(cameras=()), split)
        assert {int(frames[k]["episode_index"]) for k in range(len(frames))} == set(episodes)
        assert len(frames) == sum(LENGTHS[episode] for episode in episodes)


def test_windows_stay_in_their_episode_and_say_what_is_padded(root: Path) -> None:
    deltas = {"observation.state": [-2 / FPS, 0.0], KEY: [-1 / FPS, 0.0, 1 / FPS]}
    frames, pictures = Frames(root, LoaderConfig(horizon=4, deltas=deltas), "all"), all_pictures(root)
    states = [frames[k]["observation.state"][-1] for k in range(len(frames))]
    starts = np.cumsum([0, *LENGTHS])
    for episode, length in enumerate(LENGTHS):
        for frame in range(length):
            sample, first = frames[int(starts[episode]) + frame], int(starts[episode])
            rows = frame + np.arange(4)
            assert np.array_equal(sample["action_is_pad"], rows >= length)
            wanted = [states[first + min(row, length - 1)] + 1 for row in rows]
            assert np.array_equal(sample["action"], np.stack(wanted))
            assert np.array_equal(sample["observation.state"][0], states[first + max(frame - 2, 0)])
            assert sample["observation.state_is_pad"].tolist() == [frame < 2, False]
            shown = [pictures[first + min(max(frame + step, 0), length - 1)] for step in (-1, 0, 1)]
            np.testing.assert_allclose(sample[KEY], np.stack(shown), atol=1e-6)


def test_depth_is_in_metres_and_labels_are_those_of_their_frame(root: Path) -> None:
    config = LoaderConfig(cameras=("front",), depth=True, segmentation=True, deltas={"observation.depth.front": [0.0]})
    frames = Frames(root, config, "val")
    for frame, depth_mm in enumerate(DEPTH_MM[1]):
        sample = frames[frame]
        depth, labels = sample["observation.depth.front"], sample["observation.segmentation.front"]
        assert depth.shape == (1, 1, 8, 8) and depth.dtype == np.float32
        np.testing.assert_allclose(depth[0, 0], depth_mm / 1000, rtol=1e-6)
        assert np.array_equal(labels, depth_mm // 2) and labels.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cameras": ("wrist",)}, "no camera wrist"),
        ({"deltas": {"observation.state": [0.01]}}, "multiples of a frame"),
        ({"deltas": {"observation.force": [0.0]}}, "no sample holds"),
    ],
)
def test_what_the_dataset_does_not_hold_is_refused(root: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BlueprintError) as refused:
        Frames(root, LoaderConfig(**changes), "train")
    assert said in f"{refused.value.message} {refused.value.hint}"


def test_a_dataset_without_splits_or_depth_says_so(older: Path) -> None:
    with pytest.raises(InputError, match="no episode in split 'train'"):
        Frames(older, LoaderConfig())
    with pytest.raises(InputError, match="no depth"):
        Frames(older, LoaderConfig(depth=True), "all")
    with pytest.raises(IndexError):
        Frames(older, LoaderConfig(), "all")[sum(LENGTHS)]


# ------------------------------------------------------------------ who may train


def test_only_the_policy_s_data_is_admitted(root: Path, signer: SignerFile) -> None:
    assert admitted(root, POLICY, [signer.public_key]).policy == POLICY
    with pytest.raises(verify.Refused, match="policy production does not admit"):
        admitted(root, verify.DEFAULT_POLICY, [signer.public_key])


def test_without_a_key_nothing_is_admitted(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none is made in passing."""
    monkeypatch.setenv("BLUEPRINT_HOME", str(tmp_path))
    with pytest.raises(verify.Refused, match="no public key"):
        admitted(root, POLICY, ())
    create_key(tmp_path / "keys/signing.pem")
    with pytest.raises(verify.Refused, match="no signature by a trusted key"):
        admitted(root, POLICY, ())


# ------------------------------------------------------------------ with PyTorch


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: the loader needs it")


def order(root: Path, signer: SignerFile, **config: Any) -> list[int]:
    from blueprint.client import create_blueprint_dataloader

    given = {"batch_size": 4} | config
    loader = create_blueprint_dataloader(root, given, "all", policy=POLICY, keys=[signer.public_key])
    return [int(index) for batch in loader for index in batch["index"]]


def test_the_order_is_the_seed_s_and_not_the_workers(torch: Any, root: Path, signer: SignerFile) -> None:
    assert order(root, signer) == list(range(sum(LENGTHS)))  # only train is shuffled unless asked for
    first = order(root, signer, shuffle=True, seed=3)
    assert first == order(root, signer, shuffle=True, seed=3, workers=2) != order(root, signer, shuffle=True, seed=4)
    assert sorted(first) == list(range(sum(LENGTHS)))


def test_batches_of_workers_that_fork_from_a_process_with_open_videos(
    torch: Any, root: Path, signer: SignerFile
) -> None:
    from blueprint.client import LoaderConfig, create_blueprint_dataloader

    config = LoaderConfig(batch_size=3, workers=2, transform=lambda picture: picture * 2, depth=True)
    loader = create_blueprint_dataloader(root, config, "train", policy=POLICY, keys=[signer.public_key])
    frames, pictures = loader.dataset, all_pictures(root)
    assert len(frames) == LENGTHS[0] + LENGTHS[2] and frames[0]["index"] == 0  # opens the video here
    for _ in range(2):  # epochs
        seen = 0
        for batch in loader:
            for index, picture in zip(batch["index"], batch[KEY], strict=True):
                np.testing.assert_allclose(picture.numpy(), 2 * pictures[int(index)], atol=1e-5)
            count = len(batch["index"])
            assert batch["action"].shape == (count, 16, 3) and batch["action_is_pad"].dtype == torch.bool
            assert batch["observation.depth.front"].shape == (count, 1, 8, 8)
            assert len(batch["task"]) == count and set(batch["task"]) <= set(TASKS)
            seen += count
        assert seen == len(frames)


def test_a_loader_of_data_that_is_not_admitted_does_not_come_to_be(torch: Any, root: Path, signer: SignerFile) -> None:
    from blueprint.client import create_blueprint_dataloader

    with pytest.raises(verify.Refused, match="policy production does not admit"):
        create_blueprint_dataloader(root, keys=[signer.public_key])
