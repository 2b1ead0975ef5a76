from mmengine.config import read_base

with read_base():
    from lfi.configs.classification.lfi_vit_128x6_p8_shapes import *  # noqa: F403

model.merge(dict(supervision=dict(interactions=dict(loss=dict(spatial_weight=1.0)))))  # noqa: F405
