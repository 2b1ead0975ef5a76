"""A project with its own registry and its own supervision part."""

from lfi.models import Interactions
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import Registry

MODELS = Registry('model', parent=MMENGINE_MODELS, scope='sample', locations=['sample'])


@MODELS.register_module()
class WarmUpInteractions(Interactions):
    """Interactions that are learnt after some steps of the task alone.

    Args:
        warm_up_steps: how many steps have no interaction losses.
        **kwargs: of `Interactions`.
    """

    def __init__(self, warm_up_steps: int, **kwargs) -> None:
        super().__init__(**kwargs)
        self.warm_up_steps = warm_up_steps
        self.step = 0

    def forward(self, outputs, target):
        losses = super().forward(outputs, target)
        self.step += 1
        return {name: value * (self.step > self.warm_up_steps) for name, value in losses.items()}
