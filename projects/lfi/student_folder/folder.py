"""Reading and writing of a student's folder.

- `config.json`: the `StudentConfig`, as data: none of it is run.
- `model.safetensors`: the weights.
- `README.md`: the model card.
- `texts.safetensors`: embeddings of the training's texts, if the student answers texts.
- `text_tower/`: the teacher's text tower, if the student was saved with it.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope
from safetensors.torch import save
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.utils.fileio import AtomicLocalBackend, hash_files, is_nonempty_file, read_prefix
from lfi.utils.modules import load_strictly
from lfi.utils.options import is_plain_text
from lfi.utils.repositories import CARD, CONFIG, TEXT_FILES, TOWER_FOLDER, WEIGHTS, HubError
from lfi.version import __version__

from .bounded_build import Bounds, bounded_build
from .config_sanitizer import MAX_IMAGE_SIDE, MAX_NUMBER, check_config
from .files import from_plain, read_weights, to_plain, weight_bounds

FORMAT = 1
LIBRARY = 'lfi'
CODE_SUFFIXES = ('.py', '.pth', '.bin', '.pkl')
"""Suffixes of files that can hold code."""
META_KEYS = ('classes', 'palette')
"""Keys of a data set's metainfo that are stored."""
MAX_BYTES = 2**24
"""Largest size of a config, with the names of tens of thousands of classes and concepts."""


@dataclass(frozen=True)
class StudentConfig:
    """Content of `config.json`.

    Args:
        default_scope: scope of unscoped types.
        model: config of the model, as plain data.
        pipeline: test pipeline, as plain data, or None.
        dataset_meta: classes and palette of the training set, as plain data.
        sha256: sha256 of the weights' file.
        text_files: sha256 by path of `TEXTS_FILE` and of the files of the text tower; empty without texts.
        lfi_version: version of LFI that wrote the folder. Defaults to the installed one.
        format: version of the format. Defaults to 1.
        library_name: name of the library on the Hub. Defaults to 'lfi'.
    """

    default_scope: str
    model: dict[str, Any]
    pipeline: list[dict[str, Any]] | None
    dataset_meta: dict[str, Any]
    sha256: str
    text_files: dict[str, str] = field(default_factory=dict)
    lfi_version: str = __version__
    format: int = FORMAT
    library_name: str = LIBRARY

    @classmethod
    def read(cls, folder: Path) -> StudentConfig:
        """Read and check the config in a folder, without building it.

        Raises:
            HubError: if the config is missing or corrupted, or of another program or format, or if
                `check_config` refuses it.
        """
        content = _read_json(folder)
        if content.get('library_name') != LIBRARY:
            raise HubError(f'{folder}/{CONFIG} is of another program: {_advice(folder)}')
        if content.get('format') != FORMAT:
            raise HubError(
                f'{folder}/{CONFIG} has the format {reprlib.repr(content.get("format"))}, of lfi '
                f'{reprlib.repr(content.get("lfi_version"))}; this version, {__version__}, reads '
                f'{FORMAT}: install that version'
            )
        names = {part.name for part in fields(cls)}
        types = dict(
            default_scope=str,
            model=dict,
            dataset_meta=dict,
            sha256=str,
            text_files=dict,
            pipeline=list | None,
            lfi_version=str,
        )
        invalid = [name for name, kind in types.items() if not isinstance(content.get(name), kind)]
        if content.keys() != names or invalid:
            raise HubError(
                f'{folder}/{CONFIG} is corrupted: its fields must be {sorted(names)}'
                f'{invalid and f", and {invalid[0]} cannot be {reprlib.repr(content.get(invalid[0]))}" or ""}'
            )
        config = cls(**content)
        try:
            parts = config._parts()
            _check_meta(config.meta, f'{folder}/{CONFIG}: dataset_meta')
        except RecursionError as error:
            raise HubError(f'{folder}/{CONFIG} is nested too deep') from error
        for name, part, largest in parts:
            check_config(part, config.default_scope, f'{folder}/{CONFIG}: {name}', largest)
        return config

    def config(self, folder: Path) -> Config:
        """Return a config of MMEngine for inference, which names a folder for the student's texts."""
        cfg = dict(default_scope=self.default_scope, model=from_plain(self.model))
        if self.text_files and isinstance(cfg['model'].get('teacher'), dict):
            cfg['model']['teacher']['text_folder'] = str(folder.absolute())
        if self.pipeline is not None:
            cfg['test_dataloader'] = dict(dataset=dict(pipeline=from_plain(self.pipeline)))
        return Config(cfg)

    @property
    def meta(self) -> dict[str, Any]:
        """Metainfo of the data set, in the form of MMEngine's checkpoints."""
        return from_plain(self.dataset_meta)

    def check_text_files(self, folder: Path) -> None:
        """Compare the files of texts with their sha256.

        Raises:
            HubError: if a file is missing, was changed, or is no file of texts.
        """
        for name, digest in self.text_files.items():
            path = folder / name
            if name not in TEXT_FILES:
                raise HubError(f'{folder}/{CONFIG}: text_files has {reprlib.repr(name)}, which is not read')
            if not path.is_file() or hash_files(sha256(), path).hexdigest() != digest:
                raise HubError(f'{path} is missing, truncated, or was changed: fetch the folder again')
        tower = folder / TOWER_FOLDER
        # A killed saving leaves hidden files, which nothing reads.
        names = (path.name for path in tower.glob('*') if not path.name.startswith('.'))
        surplus = sorted(name for name in names if f'{TOWER_FOLDER}/{name}' not in self.text_files)
        if surplus:
            raise HubError(f'{tower / surplus[0]} is no file of this student, and was not read: remove it')

    def build(self, folder: Path, bounds: Bounds) -> nn.Module:
        """Build the model, without its weights, and the pipeline; neither may open a file.

        Raises:
            HubError: if the build fails with the installed versions or exceeds the bounds, or if the number
                of classes differs between head and metainfo.
        """
        cfg = self.config(folder)
        with DefaultScope.overwrite_default_scope(self.default_scope):
            try:
                with bounded_build(bounds):
                    model = MODELS.build(cfg.model)
                    for step in from_plain(self.pipeline or []):
                        TRANSFORMS.build(step)
            # Types raise errors of any kind about their arguments.
            except Exception as error:
                raise HubError(
                    f'the student, of lfi {reprlib.repr(self.lfi_version)}, cannot be built by lfi '
                    f'{__version__}: {error}'
                ) from error
        check_class_count(model, self.meta)
        return model

    def _parts(self) -> list[tuple[str, Any, int]]:
        return _parts_to_check(self.model, self.pipeline)


def _parts_to_check(
    model: dict[str, Any], pipeline: list[dict[str, Any]] | None
) -> list[tuple[str, Any, int]]:
    """Return name, config and largest allowed number of the model and the pipeline."""
    return [
        ('model', from_plain(model), MAX_NUMBER),
        ('pipeline', from_plain(pipeline or []), MAX_IMAGE_SIDE),
    ]


def write_student(
    folder: Path,
    default_scope: str,
    model: dict[str, Any],
    pipeline: list[dict[str, Any]] | None,
    dataset_meta: Mapping[str, Any],
    state: Mapping[str, Tensor],
    card: str,
    text_files: Mapping[str, bytes | Path] = MappingProxyType({}),
) -> None:
    """Write card, weights and config into a folder; the config comes last and marks the folder as complete.

    Args:
        folder: output folder; made if it does not exist.
        default_scope: scope of unscoped types.
        model: config of the model, as plain data.
        pipeline: test pipeline, as plain data, or None.
        dataset_meta: metainfo of the data set; its classes and palette are stored.
        state: state dict of the model.
        card: text of the model card.
        text_files: files of the student's texts by their path in the folder: their content, or a file to
            copy. Defaults to none; files of an earlier student are removed.

    Raises:
        HubError: if the reader would refuse the config or the metainfo.
    """
    for name, part, largest in _parts_to_check(model, pipeline):
        check_config(part, default_scope, name, largest)
    meta = {key: dataset_meta[key] for key in META_KEYS if dataset_meta.get(key) is not None}
    _check_meta(meta, 'dataset_meta')
    weights = save(independent_tensors(state), metadata={'format': 'pt'})
    files = AtomicLocalBackend()
    files.put(card.encode(), folder / CARD)
    files.put(weights, folder / WEIGHTS)
    config = StudentConfig(
        default_scope,
        model,
        pipeline,
        to_plain(meta, 'dataset_meta'),
        sha256(weights).hexdigest(),
        _write_text_files(folder, text_files, files),
    )
    text = json.dumps(asdict(config), indent=1, ensure_ascii=False)
    files.put(f'{text}\n'.encode(), folder / CONFIG)


def _write_text_files(
    folder: Path, text_files: Mapping[str, bytes | Path], files: AtomicLocalBackend
) -> dict[str, str]:
    """Write the files of texts, remove others of an earlier student, and return sha256 by path."""
    digests = {}
    for name, content in text_files.items():
        content = content.read_bytes() if isinstance(content, Path) else content
        digests[name] = sha256(content).hexdigest()
        files.put(content, folder / name)
    for name in TEXT_FILES:
        if name not in text_files:
            (folder / name).unlink(missing_ok=True)
    # Only an empty folder can be removed.
    with suppress(OSError):
        (folder / TOWER_FOLDER).rmdir()
    return digests


def student_files(folder: Path) -> list[str]:
    """Return the names of a student's files in its folder; raises the errors of `StudentConfig.read`."""
    return [CONFIG, WEIGHTS, CARD, *StudentConfig.read(folder).text_files]


def has_student_config(folder: Path) -> bool:
    """Whether a folder has the config of a student, of any version."""
    try:
        return _read_json(folder).get('library_name') == LIBRARY
    except HubError:
        return False


def is_complete(folder: Path) -> bool:
    """Whether a folder has the config of a student, and weights with the sha256 in the config."""
    path = folder / WEIGHTS
    if not has_student_config(folder) or not is_nonempty_file(path):
        return False
    return hash_files(sha256(), path).hexdigest() == _read_json(folder).get('sha256')


def independent_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights for safetensors: contiguous, on the CPU, and without shared memory.

    Tied weights are written twice, so that any program reads each name.
    """
    tensors: dict[str, Tensor] = {}
    pointers = set()
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        pointer = value.untyped_storage().data_ptr()
        is_whole = value.untyped_storage().nbytes() == value.nbytes
        tensors[name] = value if is_whole and pointer not in pointers else value.clone()
        pointers.add(pointer)
    return tensors


def read_student(folder: Path) -> nn.Module:
    """Load the model of a folder in eval mode, with the attributes `cfg` and `dataset_meta`.

    Weights that were saved in half precision are read into float32.

    Raises:
        HubError: if the config is refused or cannot be built, or the weights are corrupted or do not fit.
    """
    config = StudentConfig.read(folder)
    config.check_text_files(folder)
    state = read_weights(folder / WEIGHTS, config.sha256)
    model = config.build(folder, weight_bounds(folder / WEIGHTS))
    try:
        load_strictly(model, state)
    # Modules that reshape weights while loading raise errors of any kind.
    except Exception as error:
        raise HubError(f'{folder}/{WEIGHTS} does not fit {CONFIG}: {error}') from error
    # mmdet's `init_detector` sets these attributes too.
    vars(model).update(cfg=config.config(folder), dataset_meta=config.meta)
    return model.eval()


def read_config(folder: Path) -> Config:
    """Return the config of a folder, after a test build within the bounds of its weights.

    Raises:
        HubError: if the config is refused or cannot be built, or the weights are missing or corrupted.
    """
    config = StudentConfig.read(folder)
    config.check_text_files(folder)
    config.build(folder, weight_bounds(folder / WEIGHTS))
    return config.config(folder)


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """Return the weights of a folder as a checkpoint of MMEngine; raises the errors of `read_student`."""
    config = StudentConfig.read(folder)
    state = read_weights(folder / WEIGHTS, config.sha256)
    return {'meta': {'dataset_meta': config.meta}, 'state_dict': state}


def _check_meta(meta: dict[str, Any], where: str) -> None:
    """Raise a HubError if metainfo has more than classes, as plain texts, and a palette."""
    classes, palette = meta.get('classes', ()), meta.get('palette', ())
    names = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    colours = palette == 'random' or (isinstance(palette, list | tuple) and all(map(_is_colour, palette)))
    if meta.keys() - {*META_KEYS} or not names or not colours:
        raise HubError(
            f'{where}={reprlib.repr(meta)} must have classes, a list of names, and may have a palette, a '
            'list of colours of three numbers'
        )
    invalid = next((name for name in classes if not is_plain_text(name)), None)
    if invalid is not None:
        raise HubError(
            f'{where}.classes has the name {reprlib.repr(invalid)}, which has more than 1,000 characters, '
            'or a control character: rename it'
        )


def check_class_count(model: nn.Module, meta: Mapping[str, Any]) -> None:
    """Check that a data set has as many class names as a model's head has classes.

    Args:
        model: classifier, detector or segmentor. Other models pass. Panoptic models pass too: their box
            head has only a part of the classes.
        meta: metainfo of the data set; metainfo without `classes` passes.

    Raises:
        HubError: if the numbers differ.
    """
    classes = () if hasattr(model, 'semantic_head') else meta.get('classes', ())
    owners = (model, getattr(model, 'roi_head', None))
    heads = [getattr(owner, name, None) for owner in owners for name in ('head', 'bbox_head', 'decode_head')]
    # A cascade has a head for each stage.
    stages = [part for head in heads for part in (head if isinstance(head, nn.ModuleList) else [head])]
    counts = {getattr(part, 'num_classes', None) for part in stages} - {None}
    if classes and counts - {len(classes)}:
        raise HubError(
            f'dataset_meta.classes has {len(classes)} names, and the head {" or ".join(map(str, counts))} '
            'classes: the numbers must be equal'
        )


def _is_colour(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(part) is int for part in value)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        code = sorted(file.name for file in folder.glob('*.*') if file.suffix in CODE_SUFFIXES)
        note = f'; {", ".join(code[:3])} can hold code, which is not run' if code else ''
        raise HubError(f'{folder} has no {CONFIG}{note}: {_advice(folder)}')
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise HubError(
            f'{path} has {size:,} bytes, and no config has more than {MAX_BYTES:,}: {_advice(folder)}'
        )
    try:
        content = json.loads(read_prefix(path, size).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise HubError(f'{path} is corrupted, or no JSON: {error}') from error
    if not isinstance(content, dict):
        raise HubError(f'{path} is corrupted: it is no JSON object')
    return content


def _advice(folder: Path) -> str:
    return f'give a folder of lfi.save_pretrained, or the cache of a teacher, in place of {folder}'
