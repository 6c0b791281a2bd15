"""How well a text describes a mask: CLIP's similarity of the two.

FastSAM's way to be asked in words (Zhao et al., "Fast Segment Anything", 2023): what a mask shows is cut out on white
and described by CLIP's image encoder (Radford et al., "Learning transferable visual models from natural language
supervision", ICML 2021); the text's description is compared with all of them. Masks are described once, when their
image is encoded; a question costs one run of the text encoder.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from connectors.promptable.weights import restore
from connectors.ultralytics.faults import translated
from connectors.ultralytics.runtime import pick_device
from connectors.ultralytics.weights import weights_by_name
from pipeline.domain.geometry import Image
from pipeline.domain.mask import Mask
from pipeline.errors import ConfigError, MissingExtra

__all__ = ["Descriptions", "Words", "build_words"]

Descriptions = npt.NDArray[np.float32]
"""`float32 (n, d)`, each row of length 1."""

_BATCH = 32
_WHITE = 255


class Words:
    """A CLIP model, its tokenizer and its preprocessing. Keeps nothing of any image; safe from many threads.

    `scale` is what the model multiplies cosines by before it takes a softmax. `digest` is that of the weights.
    """

    def __init__(self, model: Any, tokenize: Any, prepare: Callable[[Any], Any], device: Any, digest: str) -> None:
        self._model = model
        self._tokenize = tokenize
        self._prepare = prepare
        self._device = device
        self.scale = float(model.logit_scale.exp())
        self.digest = digest

    def of_masks(self, image: Image, masks: Sequence[Mask]) -> Descriptions:
        """One row for each mask, none of them empty."""
        import torch
        from PIL.Image import fromarray

        rows = []
        for start in range(0, len(masks), _BATCH):
            crops = [self._prepare(fromarray(_cut_out(image, mask))) for mask in masks[start : start + _BATCH]]
            with torch.inference_mode():
                rows.append(_unit(self._model.encode_image(torch.stack(crops).to(self._device))))
        return np.concatenate(rows) if rows else np.zeros((0, 1), dtype=np.float32)

    def of_texts(self, texts: Sequence[str]) -> Descriptions:
        """One row for each text."""
        import torch

        with torch.inference_mode():
            return _unit(self._model.encode_text(self._tokenize(list(texts)).to(self._device)))


def build_words(
    model: str, weights: str, sha256: str | None, find: Callable[[str], Path], *, device: str
) -> Words:
    """The model that open_clip knows by this name, with weights from a file; nothing is ever downloaded.

    Raises MissingExtra, ConfigError for a name that open_clip does not know or a tokenizer that it does not bring
    along, and WeightsUnavailable for weights that are missing, damaged, unsafe, of another digest or model.
    """
    if importlib.util.find_spec("open_clip") is None:
        raise MissingExtra("text", needed_by="fastsam's text_weights", package="open_clip")
    import open_clip

    structure = open_clip.get_model_config(model) if model in open_clip.list_models() else None
    if structure is None:
        raise ConfigError(
            f"open_clip knows no model {model!r}: ViT-B-32 and MobileCLIP-S1 are among those it knows",
            key="segmenter.text_model",
        )
    if "siglip" in model.lower() or {"hf_tokenizer_name", "hf_model_name"} & set(structure["text_cfg"]):
        raise ConfigError(
            f"the tokenizer of {model!r} would have to be downloaded: take ViT-B-32 or MobileCLIP-S1, whose is there",
            key="segmenter.text_model",
        )
    found = weights_by_name(weights, sha256, find)
    with translated("fastsam", "load weights"):
        clip = _structure(structure)
        restore(clip, model, found.path)
        where = pick_device(device)
        clip.eval().requires_grad_(False).to(where)
        return Words(clip, open_clip.get_tokenizer(model), _preparation(model, clip), where, found.sha256)


def _structure(described: dict[str, Any]) -> Any:
    """As `open_clip.create_model` builds it, which would complain aloud that it was given no weights."""
    import torch
    from open_clip.model import CLIP, CustomTextCLIP

    kind = CustomTextCLIP if described.pop("custom_text", False) else CLIP
    if "timm_model_name" in described["vision_cfg"]:
        described["vision_cfg"]["timm_model_pretrained"] = False
    with torch.random.fork_rng(devices=[]):
        return kind(**described)


def _preparation(model: str, clip: Any) -> Callable[[Any], Any]:
    """How the model's published weights want their images: size, crop, mean and deviation."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
    from open_clip.transform import PreprocessCfg, image_transform_v2

    published = list_pretrained_tags_by_model(model)
    said = get_pretrained_cfg(model, published[0]) if published else {}
    known = {key: said[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in said}
    prepare: Callable[[Any], Any] = image_transform_v2(
        PreprocessCfg(size=clip.visual.image_size, **known), is_train=False
    )
    return prepare


def _cut_out(image: Image, mask: Mask) -> Image:
    """The mask's tight box of the image, white around the mask."""
    (left, top), inside = mask.crop()
    rows, columns = slice(int(top), int(top) + inside.shape[0]), slice(int(left), int(left) + inside.shape[1])
    return np.where(inside[..., None], image[rows, columns], np.uint8(_WHITE))


def _unit(rows: Any) -> Descriptions:
    import torch

    unit: Descriptions = torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()
    return unit
