"""Writing a student as a folder that others load."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from lfi.engine import find_checkpoint_to_resume
from lfi.engine.checkpoints.reading import load_from_local
from lfi.engine.config_loading import load_config
from lfi.engine.hooks.fitting_weights import check_weights
from lfi.errors import UsageError
from lfi.export import model_config
from lfi.models.students.of_config import online
from lfi.registry import MODELS
from lfi.student_folder import check_class_count, is_complete, is_of_lfi, write_student
from lfi.utils.modules import load_strictly, state_dict_of, unwrapped
from lfi.utils.repositories import CARD, CONFIG, WEIGHTS

from .cards import facts_of, student_card
from .public_config import TRAINING_PARTS, public_pipeline, public_student

CARD_MARK = 'library_name: lfi'
"""The line of YAML by which a card of LFI is known."""


@dataclass(frozen=True)
class Trained:
    """A student and what is known of it.

    Args:
        model: the student.
        cfg: config of its run, or of the folder that it was read from.
        checkpoint: its file in the run's folder. Defaults to None: it is not known.
        meta: of the checkpoint. Defaults to nothing.
    """

    model: nn.Module
    cfg: Config
    checkpoint: Path | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


def save_pretrained(
    model: nn.Module | str | Path,
    folder: str | Path,
    *,
    config: Config | str | Path | None = None,
    readout: bool = True,
    model_card: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """Write a student as a folder that `lfi.from_pretrained` reads, or that is pushed to the Hub.

    The folder gets `config.json`, data without the training's files and folders; `model.safetensors`; and
    `README.md`, a model card of what the run says.

    Args:
        model: a student, a checkpoint, or the folder of a run, whose last checkpoint is taken.
        folder: where to write; made if it is not there.
        config: config of the training: itself, its file, or the name of one of LFI's. Defaults to None: that
            of the run's folder; or of a model that `from_pretrained` gave, its own.
        readout: whether a student that learnt from interactions keeps its read-out, by which it answers
            texts. Defaults to True. Without it the student is what `export_student` makes.
        model_card: YAML for the card that no run knows: `license`, `datasets`, `language`, further `tags`.
            Defaults to nothing.

    Returns:
        The folder.

    Raises:
        UsageError: if there is no config, it and the weights do not fit, its head has another number of
            classes than are named, it holds what others cannot read, or the folder is a file, or has a
            `README.md`, `config.json` or `model.safetensors` that LFI did not write.
    """
    _keep_foreign_files(Path(folder))
    trained = _of_model(model, config) if isinstance(model, nn.Module) else _of_run(Path(model), config)
    student, cfg, folder = trained.model, trained.cfg, Path(folder)
    answers = readout and getattr(student, 'readout', None) is not None
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        public, state = public_student(student, cfg, answers)
        pipeline = public_pipeline(cfg)
        facts = facts_of(student, cfg, trained.checkpoint, trained.meta)
    if isinstance(model, nn.Module) and config is not None:
        _check_config(student, cfg)
    names = trained.meta.get('dataset_meta') or getattr(student, 'dataset_meta', None) or {}
    if _names_classes(student):
        # They are those of its config, and not of its training.
        names = {}
    check_class_count(student, names)
    card = student_card(facts, student, names.get('classes', ()), answers, model_card)
    write_student(folder, scope, public, pipeline, names, state, card)
    return folder


def _keep_foreign_files(folder: Path) -> None:
    """Refuse a file, and a folder with files that would be overwritten, and that LFI did not write."""
    there = next(part for part in (folder, *folder.parents) if part.exists())
    if not there.is_dir():
        raise UsageError(
            f'folder={str(folder)!r}: {there} is a file: name a folder, which is made if it is not there'
        )
    page, config, weights = (folder / name for name in (CARD, CONFIG, WEIGHTS))
    # The card is written first, and the config last: beside a card there may be what a kill left.
    has_card = page.is_file() and _is_marked(page.read_text(encoding='utf-8', errors='replace'))
    ours = has_card or is_complete(folder)
    of_lfi = {page: has_card, config: ours and is_of_lfi(folder), weights: ours}
    for path, kind in ((page, 'card'), (config, 'config'), (weights, 'weights')):
        if path.exists() and not of_lfi[path]:
            raise UsageError(
                f"{path} is there already, and is no {kind} of LFI's; it would be overwritten: name another "
                'folder, or remove it'
            )


def _is_marked(card: str) -> bool:
    """Whether the YAML at the beginning of a card says that it is LFI's."""
    start, *lines = card.splitlines() or ['']
    return start == '---' and '---' in lines and CARD_MARK in lines[: lines.index('---')]


def _of_model(model: Any, config: Config | str | Path | None) -> Trained:
    model = unwrapped(model)
    cfg = getattr(model, 'cfg', None) if config is None else _read_config(config)
    if not isinstance(cfg, Config):
        raise UsageError(
            f'{type(model).__name__} does not say its config: give config=, that of its training'
        )
    return Trained(model, cfg)


def _check_config(model: nn.Module, cfg: Config) -> None:
    """Check that a config is that of a model: what is written would not load."""
    own, known = (
        {name: value.shape for name, value in one.state_dict().items() if not name.startswith(TRAINING_PARTS)}
        for one in (model, _built(cfg))
    )
    differ = sorted(name for name in own.keys() | known.keys() if own.get(name) != known.get(name))
    if differ:
        raise UsageError(
            f"the config's model and {type(model).__name__} differ in {len(differ)} weights, {differ[0]!r} "
            'first: give config=, that of its training'
        )


def _built(cfg: Config) -> nn.Module:
    # A cache need not be where the student is saved.
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        built: nn.Module = MODELS.build(online(deepcopy(model_config(cfg))))
    return built


def _of_run(path: Path, config: Config | str | Path | None) -> Trained:
    """Build the student of a checkpoint."""
    found = find_checkpoint_to_resume(str(path)) if path.is_dir() else str(path)
    if found is None or not Path(found).is_file():
        raise UsageError(f'{path} is not a checkpoint, and no folder of a run that has one')
    checkpoint = Path(found)
    cfg = _config_beside(checkpoint) if config is None else _read_config(config)
    content = load_from_local(found, 'cpu')
    model = _built(cfg)
    check_weights(model, content, asked=True)
    state = state_dict_of(content)
    if _names_classes(model):
        # It leaves out the head that was trained.
        state = {name: value for name, value in state.items() if not name.startswith('head.')}
    try:
        load_strictly(model, state)
    except RuntimeError as error:
        raise UsageError(f'{checkpoint} does not fit its config: {error}') from error
    return Trained(model.eval(), cfg, checkpoint, content.get('meta') or {})


def _names_classes(model: nn.Module) -> bool:
    return bool(getattr(getattr(model, 'predict_by', None), 'names_classes', False))


def _read_config(config: Config | str | Path) -> Config:
    return config if isinstance(config, Config) else load_config(str(config))


def _config_beside(checkpoint: Path) -> Config:
    """The config that MMEngine has written into the run's folder."""
    files = sorted(checkpoint.parent.glob('*.py'))
    if len(files) != 1:
        names = ', '.join(file.name for file in files) or 'none'
        raise UsageError(
            f'{checkpoint.parent} must have one config, that of the training, and has {names}: give config='
        )
    return load_config(str(files[0]))
