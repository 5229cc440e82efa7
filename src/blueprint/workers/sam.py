# pyright: reportMissingImports=false
"""SAM, SAM 2 and SAM 3 through transformers: masks of one picture, in boxes, by words, or of everything."""

import contract
import numpy as np


def work(request, folder):
    import transformers
    from PIL import Image

    device = contract.device(request)
    checkpoint = request["checkpoint"]
    kind = contract.load(lambda: transformers.AutoConfig.from_pretrained(checkpoint)).model_type
    image = Image.open(contract.paths(request, folder)[0]).convert("RGB")
    boxes, words = request.get("boxes") or [], request.get("words") or []
    if words:
        found = _by_words(transformers, checkpoint, kind, image, words, device)
    elif boxes:
        found = _in_boxes(transformers, checkpoint, kind, image, boxes, device)
    else:
        make = transformers.pipeline
        everything = contract.load(lambda: make("mask-generation", model=checkpoint, device=device))(image)
        masks = [np.asarray(mask, dtype=bool) for mask in everything["masks"]]
        found = masks, [float(s) for s in everything["scores"]], [-1] * len(masks)
    masks, scores, prompts = found
    empty = np.zeros((0, image.height, image.width), dtype=bool)
    arrays = {
        "masks": np.stack(masks) if len(masks) else empty,
        "scores": np.array(scores, dtype=np.float64),
        "prompts": np.array(prompts, dtype=np.int64),  # which box or word, -1 = none
    }
    return arrays, {"package": f"transformers {transformers.__version__}", "device": device, "kind": kind}


def _classes(transformers, checkpoint, kind, device):
    names = {"sam": "Sam", "sam2": "Sam2", "sam2_video": "Sam2", "sam3": "Sam3", "sam3_video": "Sam3"}
    if kind not in names:
        raise contract.Trouble("weights", f"{checkpoint} is a {kind} model, none of {', '.join(names)}")
    model = contract.load(lambda: getattr(transformers, names[kind] + "Model").from_pretrained(checkpoint))
    processor = contract.load(lambda: getattr(transformers, names[kind] + "Processor").from_pretrained(checkpoint))
    return model.to(device).eval(), processor


def _in_boxes(transformers, checkpoint, kind, image, boxes, device):
    import torch

    if kind.startswith("sam3"):
        raise contract.Trouble("input", "SAM 3 is asked by words here; for boxes choose a SAM 2 checkpoint")
    model, processor = _classes(transformers, checkpoint, kind, device)
    inputs = processor(images=image, input_boxes=[boxes], return_tensors="pt").to(device)
    with torch.no_grad():
        made = model(**inputs, multimask_output=False)
    sizes = (inputs["original_sizes"].cpu(),)
    if kind == "sam":
        sizes = (*sizes, inputs["reshaped_input_sizes"].cpu())
    post = processor.image_processor.post_process_masks if kind == "sam" else processor.post_process_masks
    masks = post(made.pred_masks.cpu(), *sizes)[0].numpy()[:, 0].astype(bool)
    scores = made.iou_scores[0].float().cpu().numpy()[:, 0]
    return list(masks), scores.tolist(), list(range(len(boxes)))


def _by_words(transformers, checkpoint, kind, image, words, device):
    import torch

    if not kind.startswith("sam3"):
        raise contract.Trouble("input", f"only SAM 3 understands words; {checkpoint} is {kind}")
    model, processor = _classes(transformers, checkpoint, kind, device)
    masks, scores, prompts = [], [], []
    for i, word in enumerate(words):
        inputs = processor(images=image, text=word, return_tensors="pt").to(device)
        with torch.no_grad():
            made = model(**inputs)
        sizes = inputs["original_sizes"].tolist()
        found = processor.post_process_instance_segmentation(made, threshold=0.5, target_sizes=sizes)[0]
        masks += [np.asarray(mask.cpu(), dtype=bool) for mask in found["masks"]]
        scores += [float(s) for s in found["scores"]]
        prompts += [i] * len(found["scores"])
    return masks, scores, prompts


if __name__ == "__main__":
    contract.run(work)
