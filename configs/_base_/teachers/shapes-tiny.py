# The built-in teacher of the Shapes data. It was trained with instance masks, and has a background concept.
teacher = dict(
    type='lfi.VLMAttentionTeacher',
    model='shapes-tiny',
    extractor=dict(type='dense'),
    concepts=dict(type='lfi.Shapes'),
    background=['background'],
)
