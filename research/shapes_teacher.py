"""Training of the built-in teacher."""

import json
import sys
from argparse import Namespace
from pathlib import Path

import open_clip
import torch
from lfi.datasets import Shapes
from lfi.evaluation import chance_level, pointing_game
from lfi.models.teachers.loading import shapes_trunk  # noqa: F401
from lfi.models.teachers.vlm import Tokenizer
from lfi.utils.markdown import table
from open_clip.loss import ClipLoss
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

PROMPTS = ('a photo of a {}.', 'a painting of a {}.', 'a cartoon of a {}.', 'a sketch of a {}.', 'a {}.')
PROMPT = PROMPTS[0]
BACKGROUND = 'background'
# Height and width of the trunk's feature map.
GRID = 8
# Students use small seeds, so teacher and students never see the same image.
SEED_OFFSET = 1_000_000
TEXT_CFG = dict(context_length=48, vocab_size=49408, width=24, heads=2, layers=2)
PREPROCESS_CFG = dict(
    mean=[0.45, 0.45, 0.45], std=[0.25, 0.25, 0.25], interpolation='bilinear', resize_mode='squash'
)


def create(folder: Path, tower: dict) -> open_clip.CLIP:
    """Write the model config to `folder` and build the model with random weights."""
    folder.mkdir(parents=True, exist_ok=True)
    model_cfg = dict(embed_dim=96, vision_cfg=tower, text_cfg=TEXT_CFG)
    config = dict(model_cfg=model_cfg, preprocess_cfg=PREPROCESS_CFG)
    (folder / 'open_clip_config.json').write_text(json.dumps(config, indent=2) + '\n')
    return open_clip.create_model(f'local-dir:{folder}', load_weights=False)


def to_input(images: Tensor) -> Tensor:
    """Convert (B, H, W, 3) uint8 BGR images to normalised (B, 3, H, W) float tensors."""
    mean, std = (torch.tensor(PREPROCESS_CFG[name]).view(3, 1, 1) for name in ('mean', 'std'))
    return (images.flip(-1).permute(0, 3, 1, 2).float() / 255 - mean) / std


def dense_features(model: open_clip.CLIP, inputs: Tensor) -> Tensor:
    """Locations of a CNN's feature map in the joint space, (B, H * W, E); their mean embeds the image."""
    return model.visual.head(model.visual.trunk.forward_features(inputs).flatten(2).mT)


def one_location(model: open_clip.CLIP, inputs: Tensor) -> Tensor:
    """Embedding of the image as its only location, (B, 1, E)."""
    return model.encode_image(inputs)[:, None]


class CaptionedShapes(Dataset):
    """Shapes images with caption tokens and target distributions over classes.

    Each sample holds the image (H, W, 3), its caption's tokens (T,), its class shares (C,) and the class
    shares of each location (GRID * GRID, C + 1). The main class has half of the image's share. A class has
    the share of a location that it covers, and the background, the last class, has the remainder.
    """

    def __init__(self, shapes: Shapes, tokenizer: Tokenizer) -> None:
        self.shapes, self.tokenizer = shapes, tokenizer

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        info = self.shapes.get_data_info(index)
        num_classes = len(Shapes.class_names())
        labels = torch.from_numpy(info['gt_bboxes_labels'])
        shares = torch.zeros(num_classes)
        shares[labels.unique()] = 1.0
        shares = shares / shares.sum()
        shares[info['gt_label']] += 1.0
        masks = torch.from_numpy(info['gt_masks'])[:, None].float()
        covered = F.adaptive_avg_pool2d(masks, GRID).flatten(1)  # [N, GRID * GRID]
        locations = torch.zeros(GRID * GRID, num_classes + 1).index_add_(1, labels, covered.T)
        locations[:, -1] = 1 - locations.sum(1)
        return (
            torch.from_numpy(info['img']),
            self.tokenizer(info['caption'])[0],
            shares / shares.sum(),
            locations,
        )


def class_texts(tokenizer: Tokenizer, prompt: str) -> Tensor:
    """Tokens (C + 1, T) of a prompt for each class and for the background."""
    return tokenizer([prompt.format(name) for name in [*Shapes.class_names(), BACKGROUND]])


def train(model: open_clip.CLIP, tokenizer: Tokenizer, args: Namespace) -> Tensor:
    """Train the model in place, and return which tokens training used, (vocab_size,) bool."""
    shapes = Shapes('train', args.images, domains=Shapes.DOMAINS, seed=SEED_OFFSET + args.seed)
    loader = DataLoader(
        CaptionedShapes(shapes, tokenizer),
        batch_size=args.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
    )
    prompts = torch.stack([class_texts(tokenizer, prompt) for prompt in PROMPTS])  # [P, C, T]
    used_tokens = torch.zeros(TEXT_CFG['vocab_size'], dtype=torch.bool)
    used_tokens[prompts] = True
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=0.02), dict(params=others, weight_decay=0.0)], lr=args.lr
    )
    steps = args.epochs * len(loader)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=steps, pct_start=0.1)
    contrast = ClipLoss()
    read = dense_features if args.tower == 'cnn' else one_location
    model.train()
    with tqdm(total=steps, unit='step', mininterval=2, file=sys.stdout) as progress:
        for _ in range(args.epochs):
            for images, tokens, shares, covers in loader:
                used_tokens[tokens] = True
                inputs = to_input(images).contiguous(memory_format=torch.channels_last)
                with torch.autocast('cpu', torch.bfloat16):
                    features = read(model, inputs)  # [B, locations, E]
                    caption = model.encode_text(tokens)
                    concept = model.encode_text(prompts[torch.randint(len(PROMPTS), ())])
                caption, concept = (F.normalize(x.float(), dim=-1) for x in (caption, concept))
                features = features.float() / features.float().mean(1).norm(dim=-1)[:, None, None]
                image = features.mean(1)  # [B, E], unit length
                scale = model.logit_scale.exp()
                terms = dict(
                    caption=contrast(image, caption, scale),
                    concept=F.cross_entropy(scale * image @ concept[:-1].mT, shares),
                )
                if args.tower == 'cnn':
                    scores = scale * features @ concept.mT
                    terms['location'] = F.cross_entropy(scores.flatten(0, 1), covers.flatten(0, 1))
                optimizer.zero_grad()
                sum(terms.values()).backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(0, 4.6)
                progress.update()
                progress.set_postfix({name: f'{term:.2f}' for name, term in terms.items()}, refresh=False)
    return used_tokens


def save(model: open_clip.CLIP, used_tokens: Tensor, folder: Path) -> None:
    """Write float16 weights; embeddings of tokens that training never used are set to zero."""
    state = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    embedding = next(name for name in state if name.endswith('token_embedding.weight'))
    state[embedding] = state[embedding] * used_tokens[:, None]
    save_file(state, folder / 'model.safetensors')


@torch.no_grad()
def evaluate(folder: Path, num_images: int) -> str:
    """Return a table of zero-shot accuracy and pointing game on the val split, by domain."""
    model = open_clip.create_model(f'local-dir:{folder}').eval()
    tokenizer = open_clip.get_tokenizer(f'local-dir:{folder}')
    texts = F.normalize(model.encode_text(class_texts(tokenizer, PROMPT))[:-1], dim=-1)  # [C, E]
    rows = []
    for domain in Shapes.DOMAINS:
        shapes = Shapes('val', num_images, domains=domain)
        infos = [shapes.get_data_info(i) for i in range(num_images)]
        images = to_input(torch.stack([torch.from_numpy(info['img']) for info in infos]))
        dense = dense_features(model, images).unflatten(1, (GRID, GRID))  # [N, H, W, E]
        top = (dense.mean((1, 2)) @ texts.mT).argmax(1)
        accuracy = (top == torch.tensor([info['gt_label'] for info in infos])).float().mean().item()
        maps = torch.cat(
            [
                torch.einsum('me,hwe->mhw', texts[info['gt_bboxes_labels']], locations)
                for info, locations in zip(infos, dense)
            ]
        )
        masks = torch.cat([torch.from_numpy(info['gt_masks']) for info in infos])
        hits, chance = pointing_game(maps, masks).mean().item(), chance_level(masks)
        rows.append([domain, f'{accuracy:.1%}', f'{hits:.1%}', f'{chance:.1%}', f'{hits / chance:.1f}'])
    return table(('domain', 'zero-shot top-1', 'pointing game', 'chance', 'ratio'), rows)


def main(args: Namespace, tower: dict) -> None:
    """Train, save and evaluate the teacher; `tower` is the config of the image tower."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    model = create(args.out, tower).to(memory_format=torch.channels_last)
    tokenizer = open_clip.get_tokenizer(f'local-dir:{args.out}')
    save(model, train(model, tokenizer, args), args.out)
    size = (args.out / 'model.safetensors').stat().st_size / 2**20
    print(f'{args.out / "model.safetensors"}: {size:.1f} MiB')
    if args.tower == 'cnn':
        print(evaluate(args.out, args.eval_images))
