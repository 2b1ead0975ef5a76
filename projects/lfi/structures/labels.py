"""How data sets tell models that the label of an image is not known."""

UNLABELLED = 'unlabelled'
"""Key of a data info, and of a sample's metainfo, where it stays on the CPU: True if the label is unknown."""
