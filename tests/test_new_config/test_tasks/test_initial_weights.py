"""`--weights` of `lfi init`."""

from lfi.new_config.models import BaseModel
from lfi.new_config.tasks.weights import weights_of


def test_random_weights_are_all_trained():
    frozen = dict(
        type='ResNet', frozen_stages=1, norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False)
    )
    base = BaseModel(base=None, model=dict(backbone=frozen))
    assert weights_of(base, 'none') == dict(
        init_cfg=None, frozen_stages=-1, norm_eval=False, norm_cfg=dict(requires_grad=True)
    )
    assert weights_of(base, None) == {}
    free = dict(type='ResNet', frozen_stages=-1)
    assert weights_of(BaseModel(base=None, model=dict(backbone=free)), 'none') == dict(init_cfg=None)
