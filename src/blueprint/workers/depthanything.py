# pyright: reportMissingImports=false
"""Depth Anything 3 (depth_anything_3.api, https://github.com/ByteDance-Seed/Depth-Anything-3)."""

import contract
import numpy as np

TRAINING_FOCAL = 300.0  # DA3METRIC: metres = focal length [px] * output / 300 (its README)


def work(request, folder):
    import torch
    from depth_anything_3.api import DepthAnything3

    device = contract.device(request)
    model = contract.load(lambda: DepthAnything3.from_pretrained(request["checkpoint"])).to(device=torch.device(device))
    made = model.inference(contract.paths(request, folder))
    depth = np.asarray(made.depth, dtype=np.float64)
    height, width = depth.shape[1:]
    valid = np.isfinite(depth) & (depth > 0)
    if getattr(made, "sky", None) is not None:
        valid &= ~(np.asarray(made.sky) > 0.5)
    poses, metric = None, bool(getattr(made, "is_metric", False))
    if made.intrinsics is not None and made.extrinsics is not None:
        Ks = np.asarray(made.intrinsics, dtype=np.float64)
        rows = np.tile(np.eye(4), (len(depth), 1, 1))
        rows[:, :3] = np.asarray(made.extrinsics)[:, :3]  # world to camera
        poses = np.linalg.inv(rows)
    else:  # the monocular models know no camera
        if len(depth) > 1 or any(image.get("K") is None for image in request["images"]):
            raise contract.Trouble("input", "this checkpoint takes one photograph with known intrinsics")
        image = request["images"][0]
        Ks = np.diag([width / image["width"], height / image["height"], 1.0]) @ np.array(image["K"])
        if "metric" in request["checkpoint"].lower():
            depth, metric = depth * (Ks[0, 0] + Ks[1, 1]) / 2 / TRAINING_FOCAL, True
        Ks = Ks[None]
    return contract.views(list(depth), list(valid), list(Ks), poses, metric), {"package": "depth_anything_3"}


if __name__ == "__main__":
    contract.run(work)
