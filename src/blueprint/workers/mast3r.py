# pyright: reportMissingImports=false
"""MASt3R or DUSt3R: cameras and depth of one or more photographs (a checkout of https://github.com/naver/mast3r)."""

import copy

import contract
import numpy as np

SIZE = 512  # longer side; load_images then cuts to multiples of 16 about the middle
PATCH = 16
LEAST_CONFIDENCE = 1.5


def work(request, folder):
    import mast3r.utils.path_to_dust3r  # noqa: F401  makes dust3r importable

    device = contract.device(request)
    is_mast3r = "dust3r" not in request["checkpoint"].lower()
    if is_mast3r:
        from mast3r.model import AsymmetricMASt3R as Model
    else:
        from dust3r.model import AsymmetricCroCo3DStereo as Model
    from dust3r.image_pairs import make_pairs
    from dust3r.utils.image import load_images

    model = contract.load(lambda: Model.from_pretrained(request["checkpoint"])).to(device).eval()
    files = contract.paths(request, folder)
    pictures = load_images(files, size=SIZE, square_ok=True, verbose=False)
    if len(pictures) == 1:  # a pair of the picture with itself, as its demo does
        pictures = [pictures[0], copy.deepcopy(pictures[0])]
        pictures[1]["idx"] = 1
        pictures[1]["instance"] = "1"
        files = [files[0], files[0] + "_2"]
    pairs = make_pairs(pictures, scene_graph="complete", prefilter=None, symmetrize=True)
    shapes = [tuple(int(n) for n in picture["true_shape"][0]) for picture in pictures]
    align = _sparse if is_mast3r else _global
    K, poses, depth, sure = align(files, pairs, folder, model, device)
    depths, valids, Ks = [], [], []
    for i, image in enumerate(request["images"]):
        height, width, top, left = _crop(image["width"], image["height"], shapes[i])
        one, known = depth[i].reshape(shapes[i]), sure[i].reshape(shapes[i]) > LEAST_CONFIDENCE
        whole, known = contract.canvas(one, known & (one > 0), height, width, top, left)
        K[i][0, 2] += left
        K[i][1, 2] += top
        depths.append(whole)
        valids.append(known)
        Ks.append(K[i])
    # The checkpoint's point maps are metric, but the alignment fixes only their ratio: `metric` stays false.
    return contract.views(depths, valids, Ks, poses[: len(depths)]), {"package": "mast3r", "device": device}


def _crop(width, height, shape):
    """(height, width) of the resized picture and where (top, left) the cut of `shape` begins in it."""
    longest = max(width, height)
    w, h = round(width * SIZE / longest), round(height * SIZE / longest)
    return h, w, h // 2 - shape[0] // 2, w // 2 - shape[1] // 2


def _sparse(files, pairs, folder, model, device):
    from mast3r.cloud_opt.sparse_ga import sparse_global_alignment

    scene = sparse_global_alignment(files, pairs, str(folder), model, device=device)
    _, depth, sure = scene.get_dense_pts3d(clean_depth=True)
    Ks = [contract.numbers(K) for K in scene.intrinsics]
    poses = contract.numbers(scene.get_im_poses())
    return Ks, poses, [contract.numbers(d) for d in depth], [contract.numbers(c) for c in sure]


def _global(files, pairs, folder, model, device):
    from dust3r.cloud_opt import GlobalAlignerMode, global_aligner
    from dust3r.inference import inference

    output = inference(pairs, model, device, batch_size=1)
    few = len(files) == 2
    mode = GlobalAlignerMode.PairViewer if few else GlobalAlignerMode.PointCloudOptimizer
    scene = global_aligner(output, device=device, mode=mode)
    if not few:
        scene.compute_global_alignment(init="mst", niter=300, schedule="cosine", lr=0.01)
    Ks = [contract.numbers(K) for K in scene.get_intrinsics()]
    depth, sure = scene.get_depthmaps(), scene.im_conf
    poses = np.stack([contract.numbers(pose) for pose in scene.get_im_poses()])
    return Ks, poses, [contract.numbers(d) for d in depth], [contract.numbers(c) for c in sure]


if __name__ == "__main__":
    contract.run(work)
