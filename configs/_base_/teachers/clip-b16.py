# CLIP ViT-B/16 with OpenAI's weights, read by ClearCLIP.
teacher = dict(
    type='lfi.VLMAttentionTeacher',
    model='ViT-B-16-quickgelu',
    pretrained='openai',
    extractor=dict(type='clearclip'),
)
