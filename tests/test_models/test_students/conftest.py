"""Teachers that are watched, and those whose maps are in a cache."""

import pytest
import torch
from lfi.models import VLMAttentionTeacher
from small_students import batch


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
def cached_model(make_classifier, cache_of, tmp_path):
    """A model whose teacher's maps of two images are in a cache, the images, their samples, and its maker."""
    model = make_classifier()
    images, samples = batch(shapes=(None, None), labels=(0, 1))
    cache_of(model, samples, model.teacher.ask(model.batch_of(images, samples)))

    def cached(**kwargs):
        return make_classifier(teacher=dict(cache=str(tmp_path)), **kwargs)

    return cached(), images, samples, cached
