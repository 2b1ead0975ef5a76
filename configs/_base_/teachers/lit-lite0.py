# A small LiT-style teacher for trials on a CPU: EfficientNet-Lite0 and a text tower, in a folder
# below LFI_TEACHER_ROOT.
teacher = dict(
    type='lfi.VLMAttentionTeacher',
    model='{{$LFI_TEACHER_ROOT:checkpoints}}/lit-effnet-lite0',
    extractor=dict(type='dense'),
)
