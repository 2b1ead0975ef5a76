"""A small backbone, and images for it that need no label."""

import torch
from mmpretrain.structures import DataSample

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
BACKBONE = dict(type='lfi.InteractionQueryViT', arch=ARCH, img_size=32, patch_size=8)
PREPROCESSOR = dict(type='mmpretrain.ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)


def batch(labels=None, **fields):
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    samples = [DataSample(metainfo=dict(img_shape=(32, 32), img_path=f'{row}.jpg')) for row in range(4)]
    for row, sample in enumerate(samples):
        if labels is not None:
            sample.set_gt_label(labels[row])
        for name, values in fields.items():
            sample.set_field(values[row], name)
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples)


def losses_of(model, data):
    torch.manual_seed(0)
    return model(**model.data_preprocessor(data, training=True), mode='loss')
