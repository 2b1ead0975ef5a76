# The built-in teacher of the Shapes data: it has seen instance masks, and names what is behind the shapes.
teacher = dict(
    type='lfi.VLMAttentionTeacher',
    model='shapes-tiny',
    extractor=dict(type='dense'),
    concepts=dict(type='lfi.Shapes'),
    background=['background'],
)
