"""open_clip's ViT written out from its weights, head by head, and the inputs of the tests that use it."""

import torch
import torch.nn.functional as F


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit_texts():
    return F.normalize(random(5, 24, seed=1), dim=-1)


def move_patches(images, move):
    """Images whose 8-pixel patches moved; move maps a grid (..., h, w) to another of its size."""
    patches = images.unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 1, 4, 5, 2, 3)  # [B, 3, 8, 8, h, w]
    return move(patches).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3)


def forget_positions(visual):
    """Every patch gets the same position embedding."""
    visual.positional_embedding.data[2:] = visual.positional_embedding[1]


def gelu(x, quick):
    return x * torch.sigmoid(1.702 * x) if quick else F.gelu(x)


def scale(module, x):
    return x * module.gamma if hasattr(module, 'gamma') else x


def norm(module, x):
    return F.layer_norm(x, x.shape[-1:], module.weight, module.bias)


def projections(block, x):
    """q, k and v of all tokens, each (B, N, width)."""
    weight, bias = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    x = norm(block.ln_1, x)
    return [x @ w.T + b for w, b in zip(weight, bias)]


def attention(block, q, k, bias=0.0):
    """Softmax attention of each head, a list of (B, n, N)."""
    width = q.shape[-1] // block.attn.num_heads
    parts = [slice(h * width, (h + 1) * width) for h in range(block.attn.num_heads)]
    return [(q[..., part] @ k[..., part].mT / width**0.5 + bias).softmax(-1) for part in parts]


def gather(weights, v):
    """The heads' sums of v under their weights, side by side, without the output projection."""
    return torch.cat([w @ part for w, part in zip(weights, v.chunk(len(weights), -1))], -1)


def attend(block, q, k, v, bias=0.0):
    return gather(attention(block, q, k, bias), v)


def project(block, x):
    return x @ block.attn.out_proj.weight.T + block.attn.out_proj.bias


def feed_forward(block, x, quick=False):
    hidden = gelu(norm(block.ln_2, x) @ block.mlp.c_fc.weight.T + block.mlp.c_fc.bias, quick)
    return x + scale(block.ls_2, hidden @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias)


def run(block, x, quick=False, bias=0.0):
    x = x + scale(block.ls_1, project(block, attend(block, *projections(block, x), bias)))
    return feed_forward(block, x, quick)


def embed(visual, images):
    """The tokens that enter the first block, at the tower's own size."""
    x = F.conv2d(images, visual.conv1.weight, stride=8).flatten(2).mT
    x = torch.cat((visual.class_embedding.expand(len(x), 1, -1), x), 1) + visual.positional_embedding
    return norm(visual.ln_pre, x)


def tokens_before(visual, images, quick, depth):
    """The tokens that enter the last `depth` blocks, and these blocks."""
    x, blocks = embed(visual, images), visual.transformer.resblocks
    for block in blocks[:-depth]:
        x = run(block, x, quick)
    return x, blocks[-depth:]


def cosines(visual, patches, texts):
    """Maps (B, C, 4, 4) of patches (B, N, width)."""
    locations = F.normalize(norm(visual.ln_post, patches) @ visual.proj, dim=-1)
    return torch.einsum('bne,ce->bcn', locations, texts).unflatten(-1, (4, 4))
