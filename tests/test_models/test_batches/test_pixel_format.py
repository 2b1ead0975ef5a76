import pytest
import torch
from lfi.errors import UsageError
from lfi.models.batches.pixel_format import pixel_format_of
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.model import BaseDataPreprocessor
from mmpretrain.models import ClsDataPreprocessor
from small_students import NORMALISE


def test_a_preprocessor_that_does_not_say_its_pixels_is_named():
    with pytest.raises(UsageError, match="data_preprocessor.type='BaseDataPreprocessor' does not define"):
        pixel_format_of(BaseDataPreprocessor())


@pytest.mark.parametrize(
    'make',
    [
        lambda: ClsDataPreprocessor(**NORMALISE, to_rgb=True),
        lambda: ClsDataPreprocessor(**NORMALISE),
        lambda: ClsDataPreprocessor(to_rgb=True),
        lambda: ClsDataPreprocessor(),
        lambda: DetDataPreprocessor(**NORMALISE, bgr_to_rgb=True, pad_size_divisor=1),
        lambda: DetDataPreprocessor(**NORMALISE, bgr_to_rgb=False),
        lambda: DetDataPreprocessor(bgr_to_rgb=True),
        lambda: DetDataPreprocessor(mean=[120.0], std=[60.0], bgr_to_rgb=True),
        lambda: pytest.importorskip('mmseg.models').SegDataPreProcessor(**NORMALISE, bgr_to_rgb=True),
    ],
    ids=[
        'cls rgb',
        'cls bgr',
        'cls rgb raw',
        'cls bgr raw',
        'det rgb',
        'det bgr',
        'det rgb raw',
        'one value',
        'seg rgb',
    ],
)
def test_pixel_format_undoes_what_a_preprocessor_does_to_a_bgr_image(make):
    rgb = torch.randint(0, 256, (3, 4, 5), generator=torch.Generator().manual_seed(0))
    preprocessor = make()
    data = preprocessor(dict(inputs=[rgb.flip(0).byte()], data_samples=None))
    pixels = pixel_format_of(preprocessor)
    values = data['inputs'][0] * torch.tensor(pixels.std).view(3, 1, 1) + torch.tensor(pixels.mean).view(
        3, 1, 1
    )
    torch.testing.assert_close(values if pixels.rgb else values.flip(0), rgb.float(), rtol=0, atol=1e-3)
