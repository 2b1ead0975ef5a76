"""A project with its own registry and its own LFI model."""

from lfi.models import LFIImageClassifier
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='sample', locations=['sample'])


@MODELS.register_module()
class WarmUpClassifier(LFIImageClassifier):
    """LFI that begins with the task alone.

    Args:
        warm_up_steps: how many steps have no interaction losses.
        **kwargs: of `LFIImageClassifier`.
    """

    def __init__(self, warm_up_steps: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.warm_up_steps = warm_up_steps
        self.step = 0

    def loss(self, inputs, data_samples):
        losses = super().loss(inputs, data_samples)
        self.step += 1
        if self.step <= self.warm_up_steps:
            losses = {name: value * (name == 'loss_cls') for name, value in losses.items()}
        return losses
