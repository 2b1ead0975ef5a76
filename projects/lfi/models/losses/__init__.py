from .interaction_distill_loss import InteractionDistillLoss
from .text_space_class_loss import TextSpaceClassLoss

__all__ = ['InteractionDistillLoss', 'TextSpaceClassLoss']
