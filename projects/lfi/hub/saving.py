"""Saving of students as folders that `lfi.from_pretrained` loads."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from lfi.engine import find_checkpoint_to_resume
from lfi.engine.checkpoints.reading import load_from_local
from lfi.engine.config_loading import load_config
from lfi.engine.hooks.fitting_weights import check_weights
from lfi.engine.run_folder import config_beside
from lfi.errors import UsageError
from lfi.export import model_config
from lfi.models.students.config_facts import cache_of, without_cache
from lfi.registry import MODELS
from lfi.student_folder import check_class_count, has_student_config, is_complete, read_student, write_student
from lfi.utils.modules import load_strictly, state_dict_of, unwrap_model
from lfi.utils.repositories import (
    CARD,
    CONFIG,
    HUB,
    TEXT_FILES,
    TOWER_FOLDER,
    WEIGHTS,
    is_student,
    local_folder,
)
from lfi.utils.stored_folders import write_folder
from lfi.utils.stores import is_address

from .cards import collect_facts, student_card
from .public_config import TRAINING_PREFIXES, public_pipeline, public_student
from .texts import stored_tower, student_texts, text_tower_files

CARD_MARK = 'library_name: lfi'
"""Line of YAML that marks a card as LFI's."""


@dataclass(frozen=True)
class TrainedStudent:
    """Student with its config and checkpoint.

    Args:
        model: student.
        cfg: config of the run, or of the folder from which the student was loaded.
        checkpoint: checkpoint in the run's folder. Defaults to None: unknown.
        meta: meta data of the checkpoint. Defaults to an empty mapping.
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
    text_tower: bool | None = None,
    model_card: Mapping[str, Any] = MappingProxyType({}),
) -> Path | str:
    """Write a student as a folder that `lfi.from_pretrained` reads and `lfi.push_to_hub` uploads.

    The folder holds `config.json`, without the training's files and folders; `model.safetensors`; and
    `README.md`, a model card with facts about the run. A student that answers texts has `texts.safetensors`
    too, the embeddings of the training's texts: about these it needs no teacher.

    Args:
        model: student, checkpoint, folder of a run, whose last checkpoint is used, or folder of a student.
        folder: folder to write; created if missing. Or an address in a store, such as `s3://bucket/student`,
            which has no files yet.
        config: config of the training: `Config`, file, or name of a config of LFI. Defaults to None: the
            config in the run's folder, or the `cfg` of a model from `from_pretrained`.
        readout: whether a student that learnt from interactions keeps its read-out, with which it answers
            texts. Defaults to True. Without it, the student is exported by `export_student`.
        text_tower: whether to store the teacher's text tower too, in `text_tower/`. The student then answers
            any text without its teacher. Defaults to None: a loaded student keeps the one that it has.
        model_card: further YAML fields of the card, such as `license`, `datasets`, `language` or `tags`.
            Defaults to none.

    Returns:
        The folder, or its address.

    Raises:
        StoreError: if the store cannot be written.
        UsageError: if there is no config, the weights do not fit the config, the head's classes and the class
            names differ in number, the config is not plain data, the text tower cannot be stored, the folder
            is a file, or it has a `README.md`, `config.json` or `model.safetensors` that LFI did not write.
    """
    if is_address(folder):
        if str(folder).startswith(HUB):
            raise UsageError(f'folder={str(folder)!r} is a repository: lfi.push_to_hub writes it')
        with TemporaryDirectory() as temporary:
            options: dict[str, Any] = dict(
                config=config, readout=readout, text_tower=text_tower, model_card=model_card
            )
            saved = save_pretrained(model, Path(temporary, PurePosixPath(str(folder)).name), **options)
            write_folder(Path(saved), str(folder), last=CONFIG)
        return str(folder)
    _check_overwrite(Path(folder))
    if not isinstance(model, nn.Module) and is_student(model):
        model = read_student(local_folder(model))
    trained = _from_model(model, config) if isinstance(model, nn.Module) else _from_run(Path(model), config)
    student, cfg, folder = trained.model, trained.cfg, Path(folder)
    answers = readout and getattr(student, 'readout', None) is not None
    if text_tower and not answers:
        raise UsageError('text_tower=True is for a student that answers texts, and this one has no read-out')
    scope = cfg.get('default_scope') or 'mmengine'
    with DefaultScope.overwrite_default_scope(scope):
        public, state = public_student(student, cfg, answers)
        pipeline = public_pipeline(cfg)
        facts = collect_facts(student, cfg, trained.checkpoint, trained.meta)
    if isinstance(model, nn.Module) and config is not None:
        _check_config(student, cfg)
    dataset_meta = trained.meta.get('dataset_meta') or getattr(student, 'dataset_meta', None) or {}
    if _has_class_names(student):
        # The classes are those of the config, and not of the training.
        dataset_meta = {}
    check_class_count(student, dataset_meta)
    card = student_card(facts, student, dataset_meta.get('classes', ()), answers, model_card)
    with TemporaryDirectory() as temporary:
        # The text tower comes first: storing it may fetch the teacher, with which texts are embedded.
        keeps = text_tower is None and answers and stored_tower(student) is not None
        texts = text_tower_files(student, Path(temporary)) if text_tower or keeps else {}
        if answers:
            texts |= student_texts(student, cache_of(model_config(cfg)))
        write_student(folder, scope, public, pipeline, dataset_meta, state, card, texts)
    return folder


def _check_overwrite(folder: Path) -> None:
    """Check that the folder is not a file, and that LFI wrote the files that would be replaced."""
    existing = next(part for part in (folder, *folder.parents) if part.exists())
    if not existing.is_dir():
        raise UsageError(
            f'folder={str(folder)!r}: {existing} is a file: name a folder, which is created if missing'
        )
    if (folder / TOWER_FOLDER).is_symlink():
        raise UsageError(f'{folder / TOWER_FOLDER} is a link, and its target would be changed: remove it')
    card, config, weights = (folder / name for name in (CARD, CONFIG, WEIGHTS))
    # The card is written first, and the config last: a killed run may leave a card with incomplete files.
    has_card = card.is_file() and _is_marked(card.read_text(encoding='utf-8', errors='replace'))
    is_student = has_card or is_complete(folder)
    replaceable = {card: has_card, config: is_student and has_student_config(folder)}
    kinds = {card: 'card', config: 'config', weights: 'weights'}
    kinds |= {folder / name: 'file' for name in TEXT_FILES}
    for path, kind in kinds.items():
        if path.exists() and not replaceable.get(path, is_student):
            raise UsageError(
                f"{path} exists, is not a {kind} of LFI's, and would be overwritten: name another folder, or "
                'remove it'
            )


def _is_marked(card: str) -> bool:
    """Whether the YAML header of a card marks it as LFI's."""
    start, *lines = card.splitlines() or ['']
    return start == '---' and '---' in lines and CARD_MARK in lines[: lines.index('---')]


def _from_model(model: Any, config: Config | str | Path | None) -> TrainedStudent:
    model = unwrap_model(model)
    cfg = getattr(model, 'cfg', None) if config is None else _read_config(config)
    if not isinstance(cfg, Config):
        raise UsageError(f'{type(model).__name__} has no config: set config= to the config of its training')
    return TrainedStudent(model, cfg)


def _check_config(model: nn.Module, cfg: Config) -> None:
    """Check that config and model fit: otherwise the written folder cannot be loaded."""
    shapes, expected = (
        {name: v.shape for name, v in module.state_dict().items() if not name.startswith(TRAINING_PREFIXES)}
        for module in (model, _build(cfg))
    )
    differ = sorted(
        name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)
    )
    if differ:
        raise UsageError(
            f"the config's model and {type(model).__name__} differ in {len(differ)} weights, such as "
            f'{differ[0]!r}: set config= to the config of its training'
        )


def _build(cfg: Config) -> nn.Module:
    # Without `cache`, since the cache may be missing on the machine that saves the student.
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        model: nn.Module = MODELS.build(without_cache(deepcopy(model_config(cfg))))
    return model


def _from_run(path: Path, config: Config | str | Path | None) -> TrainedStudent:
    """Build the student of a checkpoint, or of a run's last checkpoint."""
    file = find_checkpoint_to_resume(str(path)) if path.is_dir() else str(path)
    if file is None or not Path(file).is_file():
        raise UsageError(f'{path} is neither a checkpoint nor the folder of a run with a checkpoint')
    checkpoint = Path(file)
    cfg = load_config(str(config_beside(checkpoint))) if config is None else _read_config(config)
    content = load_from_local(file, 'cpu')
    model = _build(cfg)
    check_weights(model, content, needs_readout=True)
    state = state_dict_of(content)
    if _has_class_names(model):
        # The model predicts by texts, and has no trained head.
        state = {name: value for name, value in state.items() if not name.startswith('head.')}
    try:
        load_strictly(model, state)
    except RuntimeError as error:
        raise UsageError(f'{checkpoint} does not fit its config: {error}') from error
    return TrainedStudent(model.eval(), cfg, checkpoint, content.get('meta') or {})


def _has_class_names(model: nn.Module) -> bool:
    return bool(getattr(getattr(model, 'predict_by', None), 'has_class_names', False))


def _read_config(config: Config | str | Path) -> Config:
    return config if isinstance(config, Config) else load_config(str(config))
