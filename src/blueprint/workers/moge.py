# pyright: reportMissingImports=false
"""MoGe-2: metric depth and camera from one photograph (moge.model.v2, https://github.com/microsoft/MoGe)."""

import contract
import numpy as np


def work(request, folder):
    import torch
    from moge.model.v2 import MoGeModel
    from PIL import Image

    device = contract.device(request)
    model = contract.load(lambda: MoGeModel.from_pretrained(request["checkpoint"])).to(device).eval()
    depths, valids, Ks = [], [], []
    for image, path in zip(request["images"], contract.paths(request, folder), strict=True):
        pixels = np.array(Image.open(path).convert("RGB"))
        height, width = pixels.shape[:2]
        tensor = torch.tensor(pixels / 255, dtype=torch.float32, device=device).permute(2, 0, 1)
        known = image.get("K")
        fov_x = float(np.degrees(2 * np.arctan(width / (2 * known[0][0])))) if known else None
        found = model.infer(tensor, fov_x=fov_x, use_fp16=device != "cpu")
        depth = contract.numbers(found["depth"])
        depths.append(np.where(np.isfinite(depth), depth, 0))
        valids.append(np.isfinite(depth))
        Ks.append(np.diag([width, height, 1.0]) @ contract.numbers(found["intrinsics"]))  # it is in shares of the size
    metric = hasattr(model, "scale_head")
    return contract.views(depths, valids, Ks, metric=metric), {"package": "moge 2", "device": device}


if __name__ == "__main__":
    contract.run(work)
