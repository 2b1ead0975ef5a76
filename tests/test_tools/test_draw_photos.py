"""`tools/dev/draw_photos.py`: the README's picture of photos."""

import subprocess
import sys
from pathlib import Path

import mmcv
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_each_photo_has_a_row(tool_env, teacher_root, tmp_path):
    pytest.importorskip('skimage')
    out = tmp_path / 'photos.png'
    env = {**tool_env, 'LFI_TEACHER_ROOT': str(teacher_root)}
    subprocess.run([sys.executable, ROOT / 'tools/dev/draw_photos.py', out], env=env, check=True)
    height, width, _ = mmcv.imread(out).shape
    # Three rows of an image and three maps, as high as their photos.
    assert 1.2 < width / height < 2
