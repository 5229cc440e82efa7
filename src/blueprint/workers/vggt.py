# pyright: reportMissingImports=false
"""VGGT: cameras and depth of several photographs, up to scale (https://github.com/facebookresearch/vggt)."""

import contract
import numpy as np

SIDE = 518  # load_and_preprocess_images: width 518, height a multiple of 14, cut to the middle 518 rows
PATCH = 14
LEAST_CONFIDENCE = 1.5


def work(request, folder):
    import torch
    from vggt.models.vggt import VGGT
    from vggt.utils.load_fn import load_and_preprocess_images
    from vggt.utils.pose_enc import pose_encoding_to_extri_intri

    device = contract.device(request)
    model = contract.load(lambda: VGGT.from_pretrained(request["checkpoint"])).to(device).eval()
    loaded = load_and_preprocess_images(contract.paths(request, folder))
    pictures = (loaded[0] if isinstance(loaded, tuple) else loaded).to(device)
    with (
        torch.no_grad(),
        torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16, enabled=device != "cpu"),
    ):
        made = model(pictures[None])
    extrinsic, intrinsic = pose_encoding_to_extri_intri(made["pose_enc"].float(), pictures.shape[-2:])
    poses = np.tile(np.eye(4), (len(pictures), 1, 1))
    poses[:, :3] = contract.numbers(extrinsic)[0]
    depth, sure = contract.numbers(made["depth"])[0, ..., 0], contract.numbers(made["depth_conf"])[0]
    depths, valids, Ks = [], [], []
    for i, image in enumerate(request["images"]):
        height = round(image["height"] * SIDE / image["width"] / PATCH) * PATCH
        top = max(0, (height - SIDE) // 2)
        whole, known = contract.canvas(depth[i], sure[i] > LEAST_CONFIDENCE, height, SIDE, top, 0)
        K = contract.numbers(intrinsic)[0, i]
        K[1, 2] += top
        depths.append(whole)
        valids.append(known)
        Ks.append(K)
    return contract.views(depths, valids, Ks, np.linalg.inv(poses)), {"package": "vggt", "device": device}


if __name__ == "__main__":
    contract.run(work)
