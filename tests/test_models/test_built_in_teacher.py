"""The tiny open_clip model that ships with the package, and the tool that makes it."""

from pathlib import Path

import open_clip
import pytest
import torch
from lfi.datasets import Shapes
from lfi.evaluation import chance_level, pointing_game
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.loading import shapes_trunk
from lfi.structures import PixelFormat
from torch.nn import functional as F

ROOT = Path(__file__).parents[2]
FOLDER = Path(shapes_trunk.__file__).parents[1] / 'built_in/shapes-tiny'
MEAN, STD = 0.45, 0.25


@pytest.fixture(scope='module')
def teacher():
    """Model, class texts (C, E), and 100 val images with their pixels as the model takes them."""
    model, preprocess = open_clip.create_model_from_pretrained(f'local-dir:{FOLDER}')
    model.eval()
    assert preprocess.transforms[-1].mean == [MEAN] * 3 and preprocess.transforms[-1].std == [STD] * 3
    tokenizer = open_clip.get_tokenizer(f'local-dir:{FOLDER}')
    shapes = Shapes('val', 100, domains=Shapes.DOMAINS)
    infos = [shapes.get_data_info(i) for i in range(len(shapes))]
    pixels = torch.stack([torch.from_numpy(info['img']) for info in infos])
    pixels = (pixels.flip(-1).permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    with torch.no_grad():
        texts = model.encode_text(tokenizer([f'a photo of a {name}.' for name in Shapes.class_names()]))
    return model, F.normalize(texts, dim=-1), infos, pixels


def test_it_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 8 * 2**20


@torch.no_grad()
def test_zero_shot_is_clearly_above_chance(teacher):
    model, texts, infos, pixels = teacher
    predicted = (model.encode_image(pixels) @ texts.mT).argmax(1)
    accuracy = (predicted == torch.tensor([info['gt_label'] for info in infos])).float().mean()
    assert accuracy > 8 / len(texts)


@torch.no_grad()
def test_dense_maps_find_the_objects(teacher):
    model, texts, infos, pixels = teacher
    places = model.visual.head(
        model.visual.trunk.forward_features(pixels).permute(0, 2, 3, 1)
    )  # [B, H, W, E]
    assert places.shape[1:3] == (8, 8)
    maps = torch.cat(
        [torch.einsum('me,hwe->mhw', texts[info['gt_bboxes_labels']], p) for info, p in zip(infos, places)]
    )
    masks = torch.cat([torch.from_numpy(info['gt_masks']) for info in infos])
    assert pointing_game(maps, masks).float().mean() >= 3 * chance_level(masks)


def training(folder: Path, *arguments: str) -> list[str]:
    """The command line, after Python's, that trains a teacher on a few images and writes it to a folder."""
    options = dict(images=32, epochs=1, batch_size=16, workers=0, threads=1, eval_images=10)
    command = ['-m', 'research', 'train-shapes-teacher', '--out', str(folder), *arguments]
    for name, value in options.items():
        command += [f'--{name.replace("_", "-")}', str(value)]
    return command


def test_the_tool_trains_and_reports(new_python, tmp_path):
    folder = tmp_path / 'teacher'
    done = new_python.run(training(folder), tmp_path)
    assert done.returncode == 0, done.stdout
    for words in ('model.safetensors', 'zero-shot top-1', 'pointing game', 'chance', *Shapes.DOMAINS):
        assert words in done.stdout
    # What it wrote loads by itself.
    open_clip.create_model(f'local-dir:{folder}')


def test_its_vit_can_be_read_by_an_extractor(warm_python, tmp_path):
    folder = tmp_path / 'teacher'
    done = warm_python.run(training(folder, '--tower', 'vit'), tmp_path)
    assert done.returncode == 0, done.stdout
    teacher = VLMAttentionTeacher(
        str(folder), extractor=dict(type='gem'), concepts=dict(type='lfi.Shapes'), background=['background']
    )
    maps = teacher(torch.zeros(1, 3, 64, 64), PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=False)).check()
    assert maps.logits.shape == (1, 6, 21, 8, 8)
