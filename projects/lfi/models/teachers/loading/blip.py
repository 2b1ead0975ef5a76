"""mmpretrain's BLIP with the interface of open_clip's models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from mmpretrain.models.multimodal import BlipRetrieval


class BlipVisual(nn.Module):
    """Image tower of BLIP.

    Args:
        model: mmpretrain's BLIP for retrieval.
    """

    patch_size: tuple[int, int]

    def __init__(self, model: BlipRetrieval) -> None:
        super().__init__()
        self.backbone, self.neck = model.vision_backbone, model.vision_neck
        self.patch_size = self.backbone.patch_embed.projection.kernel_size
        pixels = model.data_preprocessor
        self.preprocess_cfg = dict(
            size=self.backbone.img_size,
            mean=[value / 255 for value in pixels.mean.flatten().tolist()],
            std=[value / 255 for value in pixels.std.flatten().tolist()],
        )

    def tokens(self, images: Tensor) -> Tensor:
        """Compute the tokens (B, 1 + N, width) of images (B, 3, H, W), the class token first."""
        return self.backbone(images)[0]

    def pool(self, tokens: Tensor) -> Tensor:
        """Compute embeddings of images (B, E) from their tokens."""
        return self.neck(tokens[:, 0])


class BlipVLM(nn.Module):
    """Encoders of BLIP with the interface of open_clip's models.

    Args:
        model: mmpretrain's BLIP for retrieval; its momentum encoders and heads are dropped.
    """

    visual: BlipVisual
    logit_scale: Tensor

    def __init__(self, model: BlipRetrieval) -> None:
        super().__init__()
        self.visual = BlipVisual(model)
        self.text, self.text_neck = model.text_backbone, model.text_neck
        self._extract_feat = model.extract_feat
        self.register_buffer('logit_scale', -model.temp.detach().log())
        self.grounded_id = model.tokenizer.additional_special_tokens_ids[0]

    def encode_image(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, H, W) by mmpretrain's own code as (B, E), of unit length."""
        return self._extract_feat(images)['image_feat']

    def encode_text(self, ids: Tensor) -> Tensor:
        """Embed texts, token ids (n, length) padded by 0, as (n, E)."""
        x = self.text(ids, attention_mask=(ids != 0).long(), return_dict=True, mode='text')
        return self.text_neck(x.last_hidden_state[:, 0])


class BlipTokenizer:
    """Tokenizer of n texts to ids (n, length), padded by 0.

    Args:
        model: mmpretrain's BLIP for retrieval.
    """

    def __init__(self, model: BlipRetrieval) -> None:
        self.tokenizer, self.length = model.tokenizer, model.max_txt_len

    def __call__(self, texts: list[str]) -> Tensor:
        """Tokenize texts."""
        options = dict(padding='max_length', truncation=True, max_length=self.length, return_tensors='pt')
        return self.tokenizer(list(texts), **options).input_ids
