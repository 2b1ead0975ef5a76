"""The names of ImageNet's classes, as a vocabulary."""

from lfi.registry import VOCABULARIES


@VOCABULARIES.register_module()
class ImageNetNames:
    """The 1,000 classes of ImageNet in the words of open_clip's zero-shot evaluation; it holds no images.

    For `concepts=dict(type=..., extra=dict(type='lfi.ImageNetNames'))`: a wide vocabulary around a task's
    few classes, so that what a location shows is told apart from much else. `mmpretrain.ImageNet` names each
    class by all its synonyms ('tench, Tinca tinca'), which do not equal a task's own name for it.
    """

    @staticmethod
    def class_names() -> list[str]:
        """The names, in ImageNet's order."""
        # Data sets import this module, and no model.
        from open_clip import IMAGENET_CLASSNAMES

        return list(IMAGENET_CLASSNAMES)
