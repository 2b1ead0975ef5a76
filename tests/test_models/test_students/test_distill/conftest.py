"""Small classifiers with a teacher, asked or from a cache."""

import pytest
import torch
from lfi.models import LFIImageClassifier, VLMAttentionTeacher
from lfi.models.batches.samples import pixel_format
from mmpretrain.structures import DataSample
from small_classifier import BACKBONE, HEAD, NAMES, NORMALISE


@pytest.fixture
def make_model(teacher_folder):
    """A classifier of four classes whose teacher knows six concepts; `backbone`, `teacher` are merged in."""

    def make(backbone=None, teacher=None, readout=None, preprocessor=None, head=HEAD, **kwargs):
        torch.manual_seed(0)
        model = LFIImageClassifier(
            backbone=backbone
            if 'type' in (backbone or {})
            else {'type': 'lfi.InteractionQueryViT', **BACKBONE, **(backbone or {})},
            head=dict(head),
            data_preprocessor={
                'type': 'mmpretrain.ClsDataPreprocessor',
                'to_rgb': True,
                **NORMALISE,
                **(preprocessor or {}),
            },
            teacher={
                'type': 'lfi.VLMAttentionTeacher',
                'model': teacher_folder('vit'),
                'extractor': dict(type='maskclip'),
                'concepts': NAMES,
                **(teacher or {}),
            },
            readout={'text_dims': 24, **(readout or {})},
            **kwargs,
        )
        model.init_weights()
        return model.train()

    return make


@pytest.fixture
def teacher_calls(monkeypatch):
    """Whether gradients were tracked, and the batch size, at each call of any teacher's tower."""
    calls = []
    call = VLMAttentionTeacher.__call__

    def spy(self, inputs, *args, **kwargs):
        extractor = self.extractor

        def watched(images, texts):
            calls.append((torch.is_grad_enabled(), len(images)))
            return extractor(images, texts)

        watched.directions = extractor.directions
        with monkeypatch.context() as patch:
            patch.setattr(self, 'extractor', watched)
            return call(self, inputs, *args, **kwargs)

    monkeypatch.setattr(VLMAttentionTeacher, '__call__', spy)
    return calls


@pytest.fixture
def cached_model(make_model, cache_of, tmp_path):
    """A model whose teacher's maps of two images are in a cache, the images, and their samples."""
    model = make_model()
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    samples = [
        DataSample(metainfo=dict(img_path=f'/data/{i}.jpg', img_shape=(32, 32))).set_gt_label(i)
        for i in range(2)
    ]
    maps = model.teacher(
        images, pixel_format(model.data_preprocessor), model.image_labels(samples, len(NAMES))
    )
    cache_of(model, samples, maps)

    def cached(**kwargs):
        return make_model(teacher_cache=str(tmp_path), **kwargs)

    return cached(), images, samples, cached
