# A small ViT on the built-in Shapes data without their labels, and the built-in teacher.
_base_ = '../../baselines/task-loss_vit-128x6-p8_shapes.py'

model = dict(task=None, head=None, teacher=__import__('lfi').teacher_config('shapes-tiny'))
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='lfi.FewLabels',
        labels_per_class=0,
        dataset={{_base_.train_dataloader.dataset}},
    )
)
# How it goes, on labelled images: half of them are known, and name the other half.
val_evaluator = [dict(type='lfi.KNNMetric'), dict(type='lfi.LinearProbeMetric')]
test_evaluator = val_evaluator
# The last checkpoint counts: the best one would be chosen by labels.
default_hooks = dict(checkpoint=dict(save_best=None))
# There is no head whose classes could be counted.
custom_hooks = []
