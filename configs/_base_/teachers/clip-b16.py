# CLIP ViT-B/16 with OpenAI's weights and the ClearCLIP extractor.
teacher = dict(
    type='lfi.VLMAttentionTeacher',
    model='ViT-B-16-quickgelu',
    pretrained='openai',
    extractor=dict(type='clearclip'),
)
