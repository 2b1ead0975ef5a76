# A small ViT on the built-in Shapes data, learning from the built-in teacher's interactions.
#   python tools/train.py configs/classification/lfi_vit-128x6-p8_shapes.py
# Options of learning from interactions are written out. Head, data and schedule are those of the baseline.
_base_ = '../baselines/task-loss_vit-128x6-p8_shapes.py'

model = dict(
    type='lfi.Student',
    task='mmpretrain.ImageClassifier',
    # Backbone of the baseline. The student is asked about the same concepts as the teacher.
    backbone=dict(
        type='lfi.InteractionQueryViT',
        arch=dict(embed_dims=128, num_layers=6, num_heads=4, feedforward_channels=256),
        img_size=64,
        patch_size=8,
    ),
    # The teacher was trained with instance masks, and has a background concept.
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
            # With a background concept, the softmax over concepts localizes best.
            reading=dict(spatial_reading='concept_softmax', presence='best-location'),
            loss=dict(type='lfi.InteractionDistillLoss'),
        ),
        # A ViT trained from scratch needs the affinity prior.
        prior=dict(type='lfi.AffinityPrior'),
    ),
)
