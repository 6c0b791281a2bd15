"""`pipeline segment`: one object of one image, and every way to ask for what cannot be."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.domain.mask import Mask
from pipeline.formats.image import read_image
from tests.integration.commands import TINY, json_of, pipeline

DISC = np.zeros((60, 90), dtype=np.uint8)
cv2.circle(DISC, (40, 30), 18, 1, thickness=-1)
TRUTH = Mask.from_bitmap(DISC)
BOX = ("--box", "21,11,60,50", "--segmenter", "grabcut")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(20, 60, (60, 90, 3), dtype=np.uint8)
    image[DISC > 0] = (60, 190, 230)
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    return tmp_path / "photo.png"


def mask_in(path: Path) -> Mask:
    return Mask.from_bitmap(read_image(path).image[..., 0] == 255)


def test_a_box_gives_a_mask_and_a_picture_of_it(photo: Path) -> None:
    out, preview = photo.with_name("mask.png"), photo.with_name("preview.png")
    told = pipeline("segment", photo, *BOX, "--point", "60,12,-", "--out", out, "--preview", preview)
    assert told.exit_code == 0, told.output
    assert "predicted IoU" in told.stdout
    assert f"mask: {out}" in told.stdout
    assert mask_in(out).iou(TRUTH) > 0.9
    pixels = cv2.imread(str(out), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert pixels.shape == (60, 90)
    assert set(np.unique(pixels)) == {0, 255}
    assert read_image(preview).image.shape[1] == 640, "small images are enlarged"


def test_json_tells_every_candidate_and_the_mask_can_be_gone_on_from(photo: Path) -> None:
    out = photo.with_name("mask.png")
    told = json_of(pipeline("segment", photo, *BOX, "--multimask", "--out", out, "--json"))
    assert told["segmenter"].startswith("grabcut-")
    assert told["mask"] == str(out)
    best, *others = told["candidates"]
    assert len(others) == 2
    assert all(one["predicted_iou"] <= best["predicted_iou"] for one in others)
    mask = Mask.from_rle(best["rle"]["counts"], tuple(best["rle"]["size"]))
    assert (mask.area_px, mask) == (best["area_px"], mask_in(out))
    again = pipeline("segment", photo, "--mask", out, "--point", "40,30,+", "--segmenter", "grabcut", "--json")
    [refined] = json_of(again)["candidates"]
    assert Mask.from_rle(refined["rle"]["counts"], (60, 90)).iou(TRUTH) > 0.9


def test_without_multimask_only_the_best_is_told(photo: Path) -> None:
    told = pipeline("segment", photo, "--point", "40,30", "--segmenter", "grabcut", "--json")
    assert len(json_of(told)["candidates"]) == 1


def test_masks_are_cut_as_asked(photo: Path) -> None:
    told = json_of(pipeline("segment", photo, *BOX, "--threshold", "1", "--json"))
    assert (told["candidates"][0]["area_px"], told["candidates"][0]["box"]) == (0, None)
    wide, narrow = (
        json_of(pipeline("segment", photo, *BOX, "--mask-threshold", value, "--json"))["candidates"][0]["area_px"]
        for value in ("-3", "3")
    )
    assert narrow < wide


def test_settings_are_spelt_with_and_without_their_section(photo: Path) -> None:
    for key in ("device", "segmenter.device"):
        told = pipeline("segment", photo, "--box", "1,2,30,40", "--segmenter", "mobile_sam", "--set", f"{key}=[]")
        assert told.exit_code == 2
        assert "segmenter.device" in told.stderr


@pytest.mark.parametrize(
    ("words", "exit_code", "says"),
    [
        ((), 2, "an empty prompt: give --box"),
        (("--point", "200,30,+"), 1, "outside the image"),
        (("--point", "40,30,1"), 1, "+ is on the object"),
        (("--point", "40"), 1, "is not x,y,+"),
        (("--point", "nan,3,+"), 1, "finite"),
        (("--box", "50,10,20,40"), 1, "20,10,50,40 is meant"),
        (("--box", "20,10,20,40"), 1, "no area"),
        (("--box", "20,10,nan,40"), 1, "finite"),
        (("--box", "20,10,40"), 1, "a box is x1,y1,x2,y2"),
        (("--box", "300,10,400,40"), 1, "outside the image"),
        (("--box", "1,2,3,4", "--box", "1,2,3,5"), 2, "one object"),
        (("--text", "a disc"), 1, "no text"),
        (("--box", "1,2,30,40", "--segmenter", "grabcat"), 2, "did you mean 'grabcut'?"),
        (("--box", "1,2,30,40", "--set", "bandwidth=2"), 2, "unknown key"),
        (("--box", "1,2,30,40", "--set", "bandwidth"), 2, "dotted.key=value"),
        (("--box", "1,2,30,40", "--threshold", "2"), 2, "less than or equal to 1"),
        (("--box", "1,2,30,40", "--max-hole-area", "-1"), 2, "greater than or equal to 0"),
        (("--box", "1,2,30,40", "--warm"), 2, "--warm: only with a CONFIG"),
        (("--box", "1,2,30,40", "--out", "mask.jpg"), 2, "does not end in .png"),
        (("--box", "1,2,30,40", "--out", "x.png", "--preview", "x.png"), 2, "must be different files"),
        (("--mask", "nowhere.png"), 1, "nowhere.png: no such file"),
    ],
)
def test_what_cannot_be_is_said_with_what_to_do(
    photo: Path, words: tuple[str, ...], exit_code: int, says: str
) -> None:
    chosen = () if "--segmenter" in words else ("--segmenter", "grabcut")
    told = pipeline("segment", photo, *words, *chosen)
    assert told.exit_code == exit_code, told.output
    assert says in " ".join(told.stderr.split())
    assert "Traceback" not in told.output


def test_the_image_is_never_overwritten(photo: Path) -> None:
    before = photo.read_bytes()
    assert pipeline("segment", photo, *BOX, "--out", photo).exit_code == 2
    assert photo.read_bytes() == before


def test_files_that_are_no_images_or_of_another_size(photo: Path) -> None:
    def written(name: str, *shape: int, value: int = 0) -> Path:
        path = photo.with_name(name)
        cv2.imwrite(str(path), np.full(shape, value, dtype=np.uint8))
        return path

    def refused(*words: str | Path) -> str:
        told = pipeline("segment", *words)
        assert told.exit_code == 1
        return told.stderr

    assert "pixel" in refused(written("one.png", 1, 1, 3), *BOX)
    assert "no such file" in refused(photo.with_name("none.png"), *BOX)
    assert "all black" in refused(photo, "--mask", written("black.png", 60, 90), *BOX)
    assert "(50, 90)" in refused(photo, "--mask", written("small.png", 50, 90, value=255), *BOX[2:])


def test_weights_that_are_missing_or_damaged(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ultralytics", reason="pip install 'maskloop[ultralytics]'")
    monkeypatch.delenv("MASKLOOP_WEIGHTS", raising=False)
    words = ("segment", photo, "--box", "1,2,30,40", "--segmenter", "mobile_sam")
    missing = pipeline(*words)
    assert missing.exit_code == 1
    assert "mobile_sam.pt" in missing.stderr
    torn = photo.with_name("torn.pt")
    torn.write_bytes(b"PK\x03\x04 no more than this")
    damaged = pipeline(*words, "--set", f"weights={torn}")
    assert damaged.exit_code == 1
    assert "torn.pt" in damaged.stderr
    assert "wanted" in pipeline(*words, "--set", f"weights={torn}", "--set", f"sha256={'f' * 64}").stderr


def test_a_configuration_runs_the_stage_and_takes_no_prompt(tmp_path: Path) -> None:
    told = pipeline("segment", TINY, "--workspace", tmp_path / "run")
    assert told.exit_code == 2
    assert "has not finished 'ingest' yet" in told.stderr
    wrong = pipeline("segment", TINY, "--box", "1,2,3,4")
    assert wrong.exit_code == 2
    assert "--box: only with an image" in wrong.stderr
    assert "--set segment.threshold=" in pipeline("segment", TINY, "--threshold", "0.5").stderr
    assert "--queue goes with --warm" in pipeline("segment", TINY, "--queue").stderr


def test_warming_says_where_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert pipeline("ingest", TINY, "--workspace", tmp_path / "run").exit_code == 0
    told = pipeline("segment", TINY, "--warm", "--workspace", tmp_path / "run")
    assert told.exit_code == 0
    assert "costs next to nothing" in told.stdout
    none = pipeline("segment", TINY, "--warm", "--workspace", tmp_path / "run", "--set", "encodings.budget_gb=0")
    assert none.exit_code == 2
    assert "encodings.budget_gb" in none.stderr


def test_warming_makes_what_is_missing_and_tells_what_it_will_take(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="pip install 'maskloop[ultralytics]'")
    place = ("--workspace", tmp_path / "run", "--set", "segmenter={kind: nano_sam}")
    assert pipeline("ingest", TINY, *place).exit_code == 0
    early = pipeline("segment", "--warm", "--queue", TINY, *place)
    assert early.exit_code == 1
    assert "no selection yet" in early.stderr
    first = pipeline("segment", "--warm", TINY, *place)
    assert first.exit_code == 0, first.output
    assert "MB that encodings may take" in first.stderr or "GB that encodings may take" in first.stderr
    count = len(list((tmp_path / "run" / "encodings").rglob("*.safetensors")))
    assert "encodings made, 1 found" in first.stdout, "the estimate has made one"
    again = json_of(pipeline("segment", "--warm", "--json", TINY, *place))
    assert (again["made"], again["found"], again["failed"]) == (0, count, {})
    assert again["estimate"]["images"] == count > 1
