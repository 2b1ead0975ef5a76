"""Small students of images of 32 px, and batches for them."""

import torch
from lfi.models import Student
from lfi.registry import MODELS
from lfi.structures import InteractionMaps, StudentGrid
from mmpretrain.structures import DataSample

NAMES = ['circle', 'square', 'star', 'ring', 'heart', 'leaf']
"""The teacher's concepts; the first are the classes."""
CLASSES = 4
NORMALISE = dict(mean=[100.0, 120.0, 140.0], std=[50.0, 60.0, 70.0])
ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
VIT = dict(arch=ARCH, img_size=32, patch_size=8)
BACKBONE = dict(type='lfi.InteractionQueryViT', **VIT)
RESNET = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8)
ADAPTER = dict(type='lfi.InteractionQueryAdapter', backbone=RESNET, query_dims=16, num_heads=2)
HEAD = dict(type='mmpretrain.LinearClsHead', num_classes=CLASSES, in_channels=16)
# The head of a classifier whose backbone is `ADAPTER`, and its neck.
OF_MAPS = dict(neck=dict(type='mmpretrain.GlobalAveragePooling'), head=dict(HEAD, in_channels=64))
PARTS = dict(
    affinity=dict(type='lfi.PairwiseAffinity'),
    dense_features=dict(type='lfi.DenseFeatures'),
    feature_mse=dict(type='lfi.FeatureMSE'),
    interactions=dict(type='lfi.Interactions'),
    lightly_train=dict(type='lfi.LightlyTrain', queue_size=8),
    logit_kd=dict(type='lfi.LogitKD'),
    prior=dict(type='lfi.AffinityPrior'),
)
"""Every supervision part, by a name, but `lfi.DualHead`, which is for classifiers with its own head."""
TERMS = dict(
    affinity={'loss_affinity'},
    dense_features={'loss_cosine', 'loss_smooth_l1'},
    feature_mse={'loss_feature'},
    interactions={'loss_spatial', 'loss_semantic', 'loss_presence'},
    lightly_train={'loss_local', 'loss_queue'},
    logit_kd={'loss_logits'},
    prior={'loss_prior'},
)
"""The losses of each."""


def parts(*names: str, **changes: dict) -> dict:
    """The configs of some parts of `PARTS`; `changes` are further ones, with arguments of one's own."""
    own = {name: dict(PARTS[name], **arguments) for name, arguments in changes.items()}
    return {**{name: PARTS[name] for name in names}, **own}


def interactions(reading: dict | None = None, **loss: float) -> dict:
    """`supervision` of interactions alone, by arguments of its reading and its loss."""
    return parts(interactions=dict(reading=reading or {}, loss=loss))


def small_classifier(vlm: str, std: float | None = None, **arguments) -> Student:
    """A seeded classifier in training mode, whose teacher knows `NAMES`.

    Args:
        vlm: the folder of the teacher's VLM.
        std: of normal weights. Defaults to None: those at which training begins, with the teacher built.
        **arguments: of the student. `teacher` and `data_preprocessor` are merged in, and `backbone` too where
            it has no type; `teacher=None` leaves it out. What is taught are interactions by default.
    """
    config = dict(
        type='lfi.Student',
        task='mmpretrain.ImageClassifier',
        head=HEAD,
        supervision=parts('interactions'),
    )
    return build({**config, **merged(vlm, arguments)}, std)


def small_pretrainer(vlm: str, std: float | None = None, **arguments) -> Student:
    """As `small_classifier`; a backbone alone."""
    config = dict(type='lfi.Student', supervision=parts('interactions'))
    return build({**config, **merged(vlm, arguments)}, std)


def merged(vlm: str, arguments: dict) -> dict:
    """The arguments of a student, those of its nested configs complete."""
    backbone, teacher = arguments.pop('backbone', {}), arguments.pop('teacher', {})
    plain = dict(type='mmpretrain.ClsDataPreprocessor', to_rgb=True, **NORMALISE)
    arguments['data_preprocessor'] = {**plain, **arguments.pop('data_preprocessor', {})}
    arguments['backbone'] = backbone if 'type' in backbone else {**BACKBONE, **backbone}
    if teacher is not None:
        asked = dict(type='lfi.VLMAttentionTeacher', model=vlm, extractor='maskclip', concepts=NAMES)
        arguments['teacher'] = {**asked, **teacher}
    return arguments


def build(config: dict, std: float | None) -> Student:
    """Build it, seeded."""
    torch.manual_seed(0)
    model = MODELS.build(config)
    if std is None:
        model.init_weights()
    else:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return model.train()


def batch(size=(32, 32), shapes=(None, None, None), labels=(0, 3, 1), hidden=()):
    """A preprocessed batch: normal pixels (B, 3, H, W), and samples with paths.

    Args:
        size: H and W.
        shapes: of the images, in a padded batch. Defaults to the batch's.
        labels: of the images.
        hidden: the rows that are marked as unlabelled.
    """
    inputs = torch.randn(len(shapes), 3, *size, generator=torch.Generator().manual_seed(0))
    samples = []
    for row, (shape, label) in enumerate(zip(shapes, labels)):
        info = dict(img_shape=shape or size, num_classes=CLASSES, img_path=f'/data/{row}.jpg')
        sample = DataSample(metainfo=info).set_gt_label(label)
        if row in hidden:
            sample.set_metainfo(dict(unlabelled=True))
        samples.append(sample)
    return inputs, samples


def raw_batch(labels=(0, 3, 1, 2), hidden=(), **fields):
    """A batch of bytes as a data loader gives it; `labels=None` for none, `fields` are set row by row."""
    generator = torch.Generator().manual_seed(0)
    count = 4 if labels is None else len(labels)
    images = torch.randint(0, 256, (count, 3, 32, 32), generator=generator).to(torch.uint8)
    samples = [DataSample(metainfo=dict(img_shape=(32, 32), img_path=f'{row}.jpg')) for row in range(count)]
    for row, sample in enumerate(samples):
        if labels is not None:
            sample.set_gt_label(labels[row])
        if row in hidden:
            sample.set_metainfo(dict(unlabelled=True))
        for name, values in fields.items():
            sample.set_field(values[row], name)
    return dict(inputs=list(images), data_samples=samples)


def losses_of(model: Student, data: dict) -> dict:
    """The losses of a step, from a batch of a data loader; seeded."""
    torch.manual_seed(0)
    return model(**model.data_preprocessor(data, training=True), mode='loss')


def unread_maps(
    model: Student, inputs: torch.Tensor, data_samples: list
) -> tuple[InteractionMaps, torch.Tensor]:
    """The teacher's maps of a preprocessed batch before they are read, and the labels (B, C)."""
    batch = model.batch_of(inputs, data_samples)
    return model.teacher.maps_in(batch, StudentGrid.of(model.backbone, batch.size)), batch.labels
