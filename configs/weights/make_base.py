"""Train the small base weights from nothing: `python configs/weights/make_base.py`; see README.md beside it.

Scenes are generated, written as an Ultralytics dataset into a temporary folder, and learned as one class,
`object`. Nothing is downloaded. The result, without optimizer state and in half precision, is `base-seg.pt`.
"""

import argparse
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.scenes import DEMO, PRETRAINING, SceneSpec, make_scenes

HERE = Path(__file__).resolve().parent
SIZE_PX = 160
RECIPE: dict[str, Any] = {
    "imgsz": SIZE_PX,
    "batch": 16,
    "nbs": 16,
    "optimizer": "AdamW",
    "lr0": 0.002,
    "lrf": 0.02,
    "cos_lr": True,
    "warmup_epochs": 0.5,
    "warmup_bias_lr": 0.002,
    "weight_decay": 0.01,
    "mask_ratio": 2,  # masks are learned at 80 x 80: thin parts survive
    "mosaic": 0.0,  # scenes are endless: there is no need to cut new ones out of old ones
    "scale": 0.25,
    "translate": 0.05,
    "flipud": 0.5,
    "hsv_h": 0.0,
    "hsv_s": 0.2,
    "hsv_v": 0.2,
    "erasing": 0.0,
}


def write_dataset(folder: Path, spec: SceneSpec, count: int, seed: int) -> None:
    """Write `count` scenes as PNG files with YOLO segment labels (one line per object, class 0)."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index, (image, objects) in enumerate(make_scenes(spec, count, seed)):
        cv2.imwrite(str(folder / "images" / f"{index:05}.png"), image[:, :, ::-1])
        outlines = [outline(thing.visible).ravel() for thing in objects]
        lines = [f"0 {' '.join(f'{value:.6f}' for value in line)}\n" for line in outlines]
        (folder / "labels" / f"{index:05}.txt").write_text("".join(lines))


def outline(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 2) one closed polygon in [0, 1] around all parts and holes of a mask, joined by seams of no area.

    It runs an eighth of a pixel inside the object's edge: filled by OpenCV after truncation to whole pixels,
    as Ultralytics does, it gives the mask back, and its bounding box is the mask's within that eighth.
    """
    from ultralytics.data.converter import merge_multi_segment

    finer = np.repeat(np.repeat(mask.astype(np.uint8), 4, axis=0), 4, axis=1)
    contours, _ = cv2.findContours(finer, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = [contour.reshape(-1, 2).astype(np.float64) for contour in contours if len(contour) > 2]
    joined = np.concatenate(merge_multi_segment(parts)) if len(parts) > 1 else parts[0]
    return (joined + 0.5) / (finer.shape[1], finer.shape[0])


def train(work: Path, scenes: int, epochs: int, seed: int) -> Path:
    """Train in the folder `work`, from which names in the checkpoint are relative; return the checkpoint."""
    from ultralytics import YOLO

    write_dataset(work / "train", PRETRAINING, scenes, seed)
    write_dataset(work / "val", PRETRAINING, 16, seed + 1)  # Ultralytics validates once, asked or not
    (work / "base-seg.yaml").write_bytes((HERE / "base-seg.yaml").read_bytes())
    (work / "data.yaml").write_text("train: train/images\nval: val/images\nnames: [object]\n")
    os.chdir(work)
    model = YOLO("base-seg.yaml", task="segment")
    model.add_callback("on_train_start", _use_the_processor_well)
    model.train(
        data="data.yaml", epochs=epochs, seed=seed, device="cpu", val=False, plots=False,
        project=str(work / "runs"), name="base", **RECIPE,
    )  # fmt: skip
    return Path(model.trainer.last)


def _use_the_processor_well(trainer: Any) -> None:
    """Ultralytics leaves one core idle; and channels-last convolutions take two thirds of the time."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    trainer.model.to(memory_format=torch.channels_last)


def publish(checkpoint: Path, out: Path) -> None:
    """Write the checkpoint's model alone: what `YOLO(path)` needs, and nothing of where or when it was made."""
    import torch

    trained = torch.load(checkpoint, map_location="cpu", weights_only=False)
    network, arguments = trained["model"], dict(trained["train_args"], project=None, name="base")
    network.args = {key: value for key, value in dict(network.args).items() if key != "save_dir"} | arguments
    network.criterion = None
    kept = {key: trained[key] for key in ("version", "license", "docs", "epoch")}
    torch.save(kept | {"model": network.half(), "ema": None, "train_args": arguments}, out)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    out.with_name("SHA256SUMS").write_text(f"{digest}  {out.name}\n")


def measure(weights: Path, work: Path, spec: SceneSpec, count: int, seed: int) -> dict[str, float]:
    """Box and mask AP of the weights on scenes that no training saw, all objects counted as one class."""
    from ultralytics import YOLO

    write_dataset(work / "held_out", spec, count, seed)
    data = work / "held_out.yaml"
    data.write_text(f"path: {work}\ntrain: held_out/images\nval: held_out/images\nnames: [object]\n")
    found = YOLO(weights).val(
        data=data, imgsz=SIZE_PX, plots=False, device="cpu", verbose=False,
        project=str(work / "runs"),
    )  # fmt: skip
    return {
        "box_map50": float(found.box.map50),
        "box_map50_95": float(found.box.map),
        "mask_map50": float(found.seg.map50),
        "mask_map50_95": float(found.seg.map),
    }


def main() -> None:
    """Make `base-seg.pt` and its line in SHA256SUMS, and print what it can do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "base-seg.pt", help="file to write")
    parser.add_argument("--scenes", type=int, default=5000, help="how many scenes to learn from")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out = args.out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        publish(train(Path(folder, "train"), args.scenes, args.epochs, args.seed), out)
        for number, (name, spec) in enumerate((("PRETRAINING", PRETRAINING), ("DEMO", DEMO)), start=1):
            figures = measure(out, Path(folder, name), spec, 300, args.seed + number)
            print(name, " ".join(f"{key}={value:.3f}" for key, value in figures.items()))
        os.chdir(HERE)


if __name__ == "__main__":
    main()
