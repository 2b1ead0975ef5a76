"""Training steps on a device that only pretends: they find tensors of the CPU, and waits of the host.

    python tests/test_models/device_step.py

It prints what came of each step, as JSON. It is a process of its own, since it registers a device with torch.
Every tensor is fake: shapes, types and devices are computed, and no value is. So whatever needs a value on
the host (`.item()`, `.tolist()`, a boolean index, `if tensor:`) is an error here; on a GPU it would wait
until all work before it is done.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from tempfile import TemporaryDirectory

import torch
from lfi.structures import interaction_maps
from mmengine.model.base_module import BaseModule
from small_step import CLASSIFIER, DETECTOR, FEW_CONCEPTS, learns, small_step, write_cache
from small_students import PARTS
from torch import Tensor, nn
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

DEVICE = 'fakegpu'
MIXED = 'classification/lfi_vit-128x6-p8-mixed_shapes.py'
# Of each control, the parts that it changes.
CONTROLS = {
    'OtherImage': [name for name in PARTS if name != 'prior'],
    'ShuffledLocations': ['affinity', 'dense_features', 'interactions', 'lightly_train'],
    'MeanTarget': [name for name in PARTS if name != 'prior'],
}
# What waits for the device, or runs on the host, and why. Nothing else may.
EXEMPT = {
    'the check of the first batch': 'maps with a NaN in them are named before the second step',
    'views of the host': 'it is read there whether they are upright; here those of the device are not',
    'the format of the pixels': "mean and std are read from the preprocessor's buffers, once",
    "OpenMMLab's data preprocessors": 'they compute the padding of a batch from its shapes, on the host',
    "mmpretrain's LabelSmoothLoss": 'it asserts on the host that labels are in range; not run here',
    "mmdet's heads": 'they choose boxes by boolean index; here run the backbone and the neck',
}


class Watch(TorchDispatchMode):
    """Makes every tensor fake, and refuses copies from the device to the host, which wait for it."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake = fake

    def faked(self, tensor: Tensor) -> FakeTensor:
        return tensor if isinstance(tensor, FakeTensor) else self.fake.from_tensor(tensor)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(Tensor, self.faked, (args, kwargs or {}))
        out = function(*args, **kwargs)
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source = args[-1] if function is torch.ops.aten.copy_.default else args[0]
            if isinstance(source, Tensor) and source.device.type == DEVICE and out.device.type == 'cpu':
                raise RuntimeError(f'a copy of {tuple(source.shape)} from the device to the host')
        return out


@contextmanager
def pretended_device() -> Iterator[None]:
    """Everything inside is fake."""
    # Fake tensors of one element would keep their value, and compute with it where no device is.
    fake_tensor.CONSTANT_NUMEL_LIMIT = -1
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake, Watch(fake):
        yield


def load(config: str, **options: object) -> tuple[nn.Module, dict]:
    """The model of a config with some options changed, and a preprocessed batch of four images."""
    # The teacher is built, and the pixels' format read; the student keeps its first weights.
    BaseModule.init_weights = lambda self: None
    model, batch = small_step(config, **options)
    return model, model.data_preprocessor(batch, training=True)


def step(model: nn.Module, data: dict) -> list[str]:
    """Forward and backward on the device; the names of the losses."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    model._first_step_done = True
    interaction_maps.is_axis_aligned = lambda view: view.device.type == 'cpu'
    with pretended_device():
        model.to(DEVICE)
        data['inputs'] = data['inputs'].to(DEVICE)
        for sample in data['data_samples']:
            # `sample.to()` would copy the metadata too, which fake tensors cannot.
            for field, value in sample.items():
                setattr(sample, field, value.to(DEVICE) if hasattr(value, 'to') else value)
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
        assert total.device.type == DEVICE
        total.backward()
    heads = ('rpn_head.', 'roi_head.')
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and not n.startswith(heads)]
    assert all(p.grad is not None and p.grad.device.type == DEVICE for _, p in trained)
    return sorted(losses)


def classifier() -> list[str]:
    return step(*load(CLASSIFIER))


def few_concepts() -> list[str]:
    """Each image is asked about its own concepts, and the rest of the bank as one map."""
    return step(*load(CLASSIFIER, **FEW_CONCEPTS))


def cached() -> list[str]:
    with TemporaryDirectory() as folder:
        write_cache(folder, *load(CLASSIFIER))
        return step(*load(CLASSIFIER, **{'teacher.cache': folder}))


def detector() -> list[str]:
    leave_heads_out()
    return step(*load(DETECTOR))


def padded_detector() -> list[str]:
    """Images of several sizes in one batch."""
    leave_heads_out()
    model, data = load(DETECTOR)
    for i, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(img_shape=(96 - 10 * i, 96)))
    return step(model, data)


def cached_detector() -> list[str]:
    leave_heads_out()
    with TemporaryDirectory() as folder:
        write_cache(folder, *load(DETECTOR))
        return step(*load(DETECTOR, **{'teacher.cache': folder}))


def mixed() -> list[str]:
    """Images mixed in pairs, of their own concepts, and the rest of the bank as one map."""
    with TemporaryDirectory() as folder:
        write_cache(folder, *load(CLASSIFIER, **FEW_CONCEPTS))
        return step(*load(MIXED, **{'teacher.cache': folder}, **FEW_CONCEPTS))


def resized() -> list[str]:
    """As `mixed`; the other image is shown complete in its box."""
    augments = {'train_cfg.augments': [dict(type='ResizeMix', alpha=1.0)]}
    with TemporaryDirectory() as folder:
        write_cache(folder, *load(CLASSIFIER))
        return step(*load(MIXED, **{'teacher.cache': folder}, **augments))


def mean_target() -> list[str]:
    """Of each image's own concepts, and the rest of the bank as one map."""
    return step(*load(CLASSIFIER, **{'control.type': 'lfi.MeanTarget'}, **FEW_CONCEPTS))


def taught(*names: str, **options: object) -> list[str]:
    """Other parts than the config's."""
    return step(*load(CLASSIFIER, **learns(*names), **options))


def cached_features() -> list[str]:
    with TemporaryDirectory() as folder:
        write_cache(folder, *load(CLASSIFIER, **learns('dense_features', 'affinity')))
        return taught('dense_features', 'affinity', **{'teacher.cache': folder})


def leave_heads_out() -> None:
    """See `EXEMPT`."""
    from mmdet.models.detectors import MaskRCNN

    def backbone_and_neck(self, inputs, data_samples):
        return {'loss_cls': sum(level.float().mean() for level in self.extract_feat(inputs))}

    MaskRCNN.loss = backbone_and_neck


def spoiled(change: Callable[[Tensor], Tensor]) -> list[str]:
    """A step with something in it that must be found."""
    model, data = load(CLASSIFIER)
    labels = model.concept_labels
    model.concept_labels = lambda *args: change(labels(*args))
    return step(model, data)


def waits_for_a_value() -> list[str]:
    return spoiled(lambda labels: labels if labels.sum().item() else labels)


def indexes_by_a_mask() -> list[str]:
    return spoiled(lambda labels: labels + labels[labels > 0].sum())


def adds_a_tensor_of_the_cpu() -> list[str]:
    return spoiled(lambda labels: labels + torch.zeros(4, 1))


def copies_to_the_host() -> list[str]:
    return spoiled(lambda labels: labels.cpu().to(labels.device))


STEPS = (classifier, few_concepts, cached, mixed, resized, detector, padded_detector, cached_detector)
STEPS += (mean_target, cached_features)
FAULTS = (waits_for_a_value, indexes_by_a_mask, adds_a_tensor_of_the_cpu, copies_to_the_host)


def register_device() -> None:
    """Let torch know the device, with autocast."""
    module = backend_registration._DummyBackendModule()
    module.get_amp_supported_dtype = lambda: [torch.float16, torch.bfloat16]
    backend_registration._setup_privateuseone_for_python_backend(DEVICE, backend_module=module)


def main() -> None:
    register_device()
    found = {}
    runs: dict[str, Callable[[], list[str]]] = {run.__name__: run for run in STEPS + FAULTS}
    for name in PARTS:
        runs[name] = partial(taught, name)
    for name, changed in CONTROLS.items():
        runs[name] = partial(taught, *changed, control=dict(type=f'lfi.{name}'))
    for name, run in runs.items():
        try:
            found[name] = run()
        except Exception as error:
            found[name] = f'{type(error).__name__}: {error}'.splitlines()[0]
    print(json.dumps(found))


if __name__ == '__main__':
    main()
