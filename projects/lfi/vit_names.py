"""Names of the weights of other projects' ViTs, and of `InteractionQueryViT`."""

# (their name, ours); {} is the block's number. What a name begins with is enough.
TIMM = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.', 'patch_embed.projection.'),
    ('norm_pre.', 'pre_norm.'),
    ('blocks.{}.norm1.', 'layers.{}.ln1.'),
    ('blocks.{}.attn.qkv.', 'layers.{}.attn.qkv.'),
    ('blocks.{}.attn.proj.', 'layers.{}.attn.proj.'),
    ('blocks.{}.ls1.gamma', 'layers.{}.attn.gamma1.weight'),
    ('blocks.{}.norm2.', 'layers.{}.ln2.'),
    ('blocks.{}.mlp.fc1.', 'layers.{}.ffn.layers.0.0.'),
    ('blocks.{}.mlp.fc2.', 'layers.{}.ffn.layers.1.'),
    ('blocks.{}.ls2.gamma', 'layers.{}.ffn.gamma2.weight'),
    ('norm.', 'ln1.'),
)
VITDET = (*TIMM, ('blocks.{}.attn.rel_pos_', 'layers.{}.relative_position.rel_pos_'))
CLIP = (
    ('class_embedding', 'cls_token'),
    ('positional_embedding', 'pos_embed'),
    ('conv1.', 'patch_embed.projection.'),
    ('ln_pre.', 'pre_norm.'),
    ('transformer.resblocks.{}.ln_1.', 'layers.{}.ln1.'),
    ('transformer.resblocks.{}.attn.in_proj_', 'layers.{}.attn.qkv.'),
    ('transformer.resblocks.{}.attn.out_proj.', 'layers.{}.attn.proj.'),
    ('transformer.resblocks.{}.ln_2.', 'layers.{}.ln2.'),
    ('transformer.resblocks.{}.mlp.c_fc.', 'layers.{}.ffn.layers.0.0.'),
    ('transformer.resblocks.{}.mlp.c_proj.', 'layers.{}.ffn.layers.1.'),
    ('ln_post.', 'ln1.'),
)
FORMATS = {'timm': TIMM, 'clip': CLIP, 'vitdet': VITDET}
# What stands before the names in published files, the longest first.
PREFIXES = {'timm': ('',), 'clip': ('visual.', ''), 'vitdet': ('backbone.net.', 'backbone.', '')}
