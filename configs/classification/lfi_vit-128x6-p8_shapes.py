# A small ViT on the built-in Shapes data, learning from the built-in teacher's interactions.
#   python tools/train.py configs/classification/lfi_vit-128x6-p8_shapes.py
# All that belongs to learning from interactions is written out. Head, data and schedule are the baseline's.
_base_ = '../baselines/task-loss_vit-128x6-p8_shapes.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    # Asked about each concept that the teacher is asked about. This is the baseline's student.
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=64,
        patch_size=8,
    ),
    # It has seen instance masks, and names what is behind the shapes.
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='shapes-tiny',
        extractor=dict(type='dense'),
        concepts=dict(type='lfi.Shapes'),
        background=['background'],
    ),
    readout=dict(text_dims=96),
    supervision=dict(
        interactions=dict(
            type='lfi.Interactions',
            # With a background in the bank locations are best read by a concept's share.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
            loss=dict(type='lfi.InteractionDistillLoss'),
        ),
        # From scratch, so with what a ViT lacks there.
        prior=dict(type='lfi.AffinityPrior'),
    ),
)
