"""Parts of a model, by the option that configures each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfi.option_checks import check_options
from lfi.registry import MODELS


def build_part(option: str, cfg: Any, **defaults: Any) -> Any:
    """Build the part that an option configures.

    Args:
        option: its name, for the error.
        cfg: its value, the arguments that differ from the defaults.
        defaults: the type and arguments.

    Raises:
        ValueError: if the value is not a dict.
    """
    check_options(**{option: cfg})
    arguments: Mapping = {**defaults, **cfg}
    return MODELS.build(arguments)
