from mmengine.config import read_base

with read_base():
    from lfi.configs.classification.lfi_vit_tiny_shapes import *  # noqa: F403

model.update(dict(interaction_loss=dict(positions_weight=1.0)))  # noqa: F405
