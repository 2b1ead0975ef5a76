# The student of lfi_vit-tiny_shapes.py copies which places of the teacher's features attend to which.
#   python tools/train.py configs/baselines/attention-transfer_vit-tiny_shapes.py
_base_ = './queries_vit-tiny_shapes.py'

model = dict(
    type='lfi.FeatureDistillClassifier',
    teacher=dict(
        type='lfi.VLMAttentionTeacher',
        model='shapes-tiny',
        extractor=dict(type='dense'),
        concepts=dict(type='lfi.Shapes'),
        background=['background'],
    ),
    distill_loss=dict(type='lfi.AttentionTransferLoss', loss_weight=2.0),
)
