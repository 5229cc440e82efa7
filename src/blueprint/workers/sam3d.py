# pyright: reportMissingImports=false
"""SAM 3D Objects: a complete mesh per mask (a checkout of https://github.com/facebookresearch/sam-3d-objects)."""

import sys
from pathlib import Path

import contract
import numpy as np

# Its exporter turns the local frame y-up; the pose is of the local frame (get_mesh in its inference_utils.py).
LOCAL_FROM_GLB = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])


def work(request, folder):
    import torch

    code = Path(request["code"])
    sys.path.insert(0, str(code / "notebook"))
    from inference import Inference, load_image

    config = code / request["checkpoint"]
    if not config.is_file():
        raise contract.Trouble("weights", f"no {config}")
    inference = contract.load(lambda: Inference(str(config), compile=False))
    image = load_image(contract.paths(request, folder)[0])
    arrays, told = {}, []
    with np.load(folder / "arrays.npz", allow_pickle=False) as given:
        pointmap, masks = given["pointmap"], given["masks"]
    # PyTorch3D's camera has x left, y up, z forward; a point that is not known is NaN
    points = torch.from_numpy(pointmap * np.array([-1, -1, 1])).float()
    for i, mask in enumerate(masks):
        made = inference(image, mask, seed=request.get("seed", 0), pointmap=points)
        mesh = made.get("glb")
        if mesh is None:
            told.append(f"mask {i}: no mesh")
            continue
        turn = _matrix(contract.numbers(made["rotation"]).reshape(4))
        local = np.asarray(mesh.vertices) @ LOCAL_FROM_GLB.T * contract.numbers(made["scale"]).reshape(-1)
        camera = local @ turn + contract.numbers(made["translation"]).reshape(3)  # points are rows in PyTorch3D
        arrays[f"vertices_{i}"] = camera * np.array([-1, -1, 1])
        arrays[f"faces_{i}"] = np.asarray(mesh.faces, dtype=np.int64)
        colors = getattr(mesh.visual, "vertex_colors", None)
        if colors is not None and len(colors) == len(camera):
            arrays[f"colors_{i}"] = np.asarray(colors)[:, :3].astype(np.uint8)
    return arrays, {"package": "sam3d_objects", "told": told}


def _matrix(quat_wxyz):
    """Rotation matrix of a quaternion, as pytorch3d.transforms.quaternion_to_matrix."""
    w, x, y, z = quat_wxyz / np.linalg.norm(quat_wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


if __name__ == "__main__":
    contract.run(work)
