"""The extractors' formulas upon their authors' own modules.

Blocks run as their authors wrote them, with all their projections, norms, rotary positions and scales; only
the attention in them, softmax(q k^T / sqrt(d)) v, is replaced by a loop over images and heads. Locations go
one by one through the tower's own pool and head.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.transformer import VisionTransformer as OpenClipVisionTransformer
from timm.models.eva import Eva


@contextmanager
def attention_as(change):
    """All attention is change(q, k, v), of one head of one image: (n, d), (N, d), (N, d)."""

    def loop(q, k, v, *args, **kwargs):
        # No module of the towers masks, drops or scales otherwise.
        images = [torch.stack([change(*head) for head in zip(*image)]) for image in zip(q, k, v)]
        return torch.stack(images)

    own, fast = F.scaled_dot_product_attention, torch.backends.mha.get_fastpath_enabled()
    F.scaled_dot_product_attention = loop
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.scaled_dot_product_attention = own
        torch.backends.mha.set_fastpath_enabled(fast)


def softmax_of(q, k, bias=0.0):
    return ((q @ k.T) / q.shape[-1] ** 0.5 + bias).softmax(-1)


def modules_of(visual):
    """The blocks, and of each the module that gets what its attention adds, and whether as input."""
    if isinstance(visual, OpenClipVisionTransformer):
        return [(block, block.ls_1, False) for block in visual.transformer.resblocks]
    return [(block, block.drop_path1, True) for block in visual.trunk.blocks]


def block_calls(visual, images):
    """With which arguments the tower calls each block."""
    calls, handles = [], []

    def keep(module, args, kwargs):
        calls.append((args, kwargs))

    for block, _, _ in modules_of(visual):
        handles.append(block.register_forward_pre_hook(keep, with_kwargs=True))
    visual(images)
    for handle in handles:
        handle.remove()
    return calls


def run_block(visual, index, call, change=None):
    """A block's output, what its attention adds, and what its attention reads."""
    block, adds, as_input = modules_of(visual)[index]
    seen = {}

    def keep(name, of_input):
        def hook(module, args, kwargs, result):
            seen[name] = (args[0] if args else kwargs['query']) if of_input else result

        return hook

    handles = [
        adds.register_forward_hook(keep('added', as_input), with_kwargs=True),
        block.attn.register_forward_hook(keep('read', True), with_kwargs=True),
    ]
    if change is None:
        output = block(*call[0], **call[1])
    else:
        with attention_as(change):
            output = block(*call[0], **call[1])
    for handle in handles:
        handle.remove()
    return output, seen['added'], seen['read']


def n_prefix(visual):
    return 1 if isinstance(visual, OpenClipVisionTransformer) else visual.trunk.num_prefix_tokens


def embed_alone(visual, token):
    """The embedding (E,) of an image that a single token (width,) is all of, by the tower's own code."""
    junk = torch.full_like(token, 7.0)
    if isinstance(visual, OpenClipVisionTransformer):
        tokens = [token, junk] if visual.pool_type == 'tok' else [junk, token]
        return (visual._pool(torch.stack(tokens)[None])[0] @ visual.proj)[0]
    trunk = visual.trunk
    if trunk.global_pool == 'token':
        tokens = [token] + n_prefix(visual) * [junk]
    elif getattr(trunk, 'pool_include_prefix', isinstance(trunk, Eva) and trunk.attn_pool is not None):
        tokens = [token]
    else:
        tokens = n_prefix(visual) * [junk] + [token]
    return visual.head(trunk.forward_head(trunk.norm(torch.stack(tokens)[None])))[0]


def cosines_of_tokens(visual, tokens, texts):
    """Maps (B, C, N) of tokens (B, N, width)."""
    each = [[F.normalize(embed_alone(visual, token), dim=0) for token in image] for image in tokens]
    return torch.stack([torch.stack([texts @ location for location in image], 1) for image in each])


def dense_of_cnn(visual, images, texts, averages):
    """Maps (B, C, h, w): each location of the last map as a map of its own."""
    if isinstance(visual, ModifiedResNet):
        features = visual.forward_intermediates(images, 1, intermediates_only=True)['image_intermediates'][0]
        head = _attention_pool_without_positions(visual)
    else:
        features = visual.trunk.forward_features(images)

        def head(location):
            return visual.head(visual.trunk.forward_head(location))

    length = visual(images).norm(dim=-1)
    maps = torch.empty(len(images), len(texts), *features.shape[-2:])
    for b in range(len(images)):
        for y in range(features.shape[2]):
            for x in range(features.shape[3]):
                location = head(features[b : b + 1, :, y : y + 1, x : x + 1])[0]
                location = location / (length[b] if averages else location.norm())
                maps[b, :, y, x] = texts @ location
    return maps


def _attention_pool_without_positions(visual):
    def head(x):
        own = visual.attnpool.positional_embedding
        visual.attnpool.positional_embedding = torch.nn.Parameter(own.new_zeros(2, own.shape[1]))
        try:
            return visual.attnpool(x)
        finally:
            visual.attnpool.positional_embedding = own

    return head


def identity(q, k, v):
    return v


def query_query(q, k, v):
    return softmax_of(q, q) @ v


def key_key_with_neighbours(n_prefix, grid, std=5.0):
    at = torch.tensor([(y, x) for y in range(grid[0]) for x in range(grid[1])], dtype=torch.float32)

    def change(q, k, v):
        bias = torch.zeros(len(k), len(k))
        for i in range(len(at)):
            for j in range(len(at)):
                bias[n_prefix + i, n_prefix + j] = torch.exp(-((at[i] - at[j]) ** 2).sum() / (2 * std**2))
        return softmax_of(k, k, bias) @ v

    return change


def last_block_maps(name, visual, images, texts, grid):
    """Maps (B, 1, C, h, w) of an extractor that changes the last block."""
    calls, prefix = block_calls(visual, images), n_prefix(visual)
    change = {
        'maskclip': identity,
        'clearclip': query_query,
        'naclip': key_key_with_neighbours(prefix, grid),
    }[name]
    output, added, _ = run_block(visual, len(calls) - 1, calls[-1], change)
    tokens = output if name == 'maskclip' else added
    return cosines_of_tokens(visual, tokens[:, prefix:], texts).unflatten(-1, grid)[:, None]


def gem_maps(visual, images, texts, grid, depth):
    """Maps (B, depth, C, h, w): each block adds mean of A(p, v), p = q, k, v, to a path beside its own."""
    calls, prefix = block_calls(visual, images), n_prefix(visual)
    path, maps = calls[-depth][0][0], []
    for index in range(len(calls) - depth, len(calls)):
        read = run_block(visual, index, calls[index])[2]
        added = []
        for b in range(len(images)):
            of_image = [call[b : b + 1] for call in calls[index][0]], calls[index][1]
            change = _self_self(read[b].norm(dim=-1).mean())
            added.append(run_block(visual, index, of_image, change)[1])
        path = path + torch.cat(added)
        maps.append(cosines_of_tokens(visual, path[:, prefix:], texts).unflatten(-1, grid))
    return torch.stack(maps, 1)


def _self_self(mean_length):
    def change(q, k, v):
        inverse_temperature = mean_length / v.shape[-1] ** 0.5

        def attention(p):
            unit = p / p.norm(dim=-1, keepdim=True)
            return (unit @ unit.T * inverse_temperature).softmax(-1), unit

        def once_more(p):
            weights, unit = attention(p)
            return attention(weights @ unit)[0] @ v

        return (once_more(q) + once_more(k) + once_more(v)) / 3

    return change


def legrad_maps(visual, images, texts, grid, depth):
    """Maps (B, depth, C, h, w): mean over heads and queries of ReLU(d score / d attention)."""
    with torch.no_grad():
        calls = block_calls(visual, images)
    prefix, by_block = n_prefix(visual), []
    for index in range(len(calls) - depth, len(calls)):
        of_texts = []
        for text in texts:
            kept = []

            def change(q, k, v, kept=kept):
                kept.append(softmax_of(q, k).detach().requires_grad_())
                return kept[-1] @ v

            with torch.enable_grad():
                output = run_block(visual, index, calls[index], change)[0]
                score = sum(F.normalize(embed_alone(visual, x.mean(0)), dim=0) @ text for x in output)
                gradients = torch.stack(torch.autograd.grad(score, kept[: _n_heads(visual) * len(images)]))
            gradients = gradients.unflatten(0, (len(images), -1))  # [B, heads, n, n]
            of_texts.append(gradients.clamp(min=0).mean((1, 2))[:, prefix:])
        by_block.append(torch.stack(of_texts, 1))
    maps = torch.stack(by_block, 1)
    total = maps.mean(1, keepdim=True)
    low, high = total.amin(-1, keepdim=True), total.amax(-1, keepdim=True)
    return ((maps - low) / (high - low)).unflatten(-1, grid)


def _n_heads(visual):
    return modules_of(visual)[0][0].attn.num_heads
