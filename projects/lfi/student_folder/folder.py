"""A student's folder: its config as data, and its weights.

- `config.json`: what is built, as `StudentConfig` has it. It is data alone: nothing in it is run.
- `model.safetensors`: the weights.
- `README.md`: the model card, for readers.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import TRANSFORMS, DefaultScope
from safetensors.torch import save
from torch import Tensor, nn

from lfi.registry import MODELS
from lfi.utils.fileio import AtomicLocalBackend, hash_files, is_nonempty_file, read_prefix
from lfi.utils.modules import load_strictly
from lfi.utils.options import is_plain_text
from lfi.utils.repositories import CARD, CONFIG, WEIGHTS, HubError
from lfi.version import __version__

from .bounded_build import Bounds, bounded_build
from .config_sanitizer import LARGEST_IMAGE, MOST, check_config
from .files import from_plain, read_weights, to_plain, weight_bounds

FORMAT = 1
LIBRARY = 'lfi'
CODE = ('.py', '.pth', '.bin', '.pkl')
"""Files that can hold code."""
META = ('classes', 'palette')
"""What is kept of a data set."""
MOST_BYTES = 2**24
"""Of a config: the names of tens of thousands of classes and concepts."""


@dataclass(frozen=True)
class StudentConfig:
    """What `config.json` holds.

    Args:
        default_scope: of unscoped types.
        model: config of the model, as plain data.
        pipeline: of the test, as plain data; None where there is none.
        dataset_meta: of the training's data set, as far as inference needs it: `classes`.
        sha256: of the weights' file.
        lfi_version: that wrote it.
        format: of the folder.
        library_name: by which the Hub knows it.
    """

    default_scope: str
    model: dict[str, Any]
    pipeline: list[dict[str, Any]] | None
    dataset_meta: dict[str, Any]
    sha256: str
    lfi_version: str = __version__
    format: int = FORMAT
    library_name: str = LIBRARY

    @classmethod
    def read(cls, folder: Path) -> StudentConfig:
        """Read the config in a folder, and check it; nothing is built yet.

        Raises:
            HubError: if there is none, it is corrupted, of another program or a later version, or it is
                refused as `check_config` says.
        """
        content = _read_json(folder)
        if content.get('library_name') != LIBRARY:
            raise HubError(f'{folder}/{CONFIG} is of another program: {_of_lfi(folder)}')
        if content.get('format') != FORMAT:
            raise HubError(
                f'{folder}/{CONFIG} has the format {reprlib.repr(content.get("format"))}, of lfi '
                f'{reprlib.repr(content.get("lfi_version"))}; this version, {__version__}, reads '
                f'{FORMAT}: install that lfi'
            )
        names = {field.name for field in fields(cls)}
        kinds = dict(
            default_scope=str,
            model=dict,
            dataset_meta=dict,
            sha256=str,
            pipeline=list | None,
            lfi_version=str,
        )
        wrong = [name for name, kind in kinds.items() if not isinstance(content.get(name), kind)]
        if content.keys() != names or wrong:
            raise HubError(
                f'{folder}/{CONFIG} is corrupted: its fields must be {sorted(names)}'
                f'{wrong and f", and {wrong[0]} cannot be {reprlib.repr(content.get(wrong[0]))}" or ""}'
            )
        found = cls(**content)
        try:
            parts = found._parts()
            _check_meta(found.meta, f'{folder}/{CONFIG}: dataset_meta')
        except RecursionError as error:
            raise HubError(f'{folder}/{CONFIG} is nested too deep') from error
        for name, part, largest in parts:
            check_config(part, found.default_scope, f'{folder}/{CONFIG}: {name}', largest)
        return found

    def config(self) -> Config:
        """As a config of MMEngine, as far as inference needs one."""
        cfg = dict(default_scope=self.default_scope, model=from_plain(self.model))
        if self.pipeline is not None:
            cfg['test_dataloader'] = dict(dataset=dict(pipeline=from_plain(self.pipeline)))
        return Config(cfg)

    @property
    def meta(self) -> dict[str, Any]:
        """The data set's names, as MMEngine's checkpoints hold them."""
        return from_plain(self.dataset_meta)

    def build(self, bounds: Bounds) -> nn.Module:
        """Build the model, without its weights, and the steps of the pipeline: they open no file.

        Raises:
            HubError: if its arguments do not fit the installed versions, it is larger than the bounds, or as
                `check_class_count` says.
        """
        cfg = self.config()
        with DefaultScope.overwrite_default_scope(self.default_scope):
            try:
                with bounded_build(bounds):
                    model = MODELS.build(cfg.model)
                    for step in from_plain(self.pipeline or []):
                        TRANSFORMS.build(step)
            # A type may end in any error over its arguments.
            except Exception as error:
                raise HubError(
                    f'the student, of lfi {reprlib.repr(self.lfi_version)}, cannot be built by lfi '
                    f'{__version__}: {error}'
                ) from error
        check_class_count(model, self.meta)
        return model

    def _parts(self) -> list[tuple[str, Any, int]]:
        """What is built, with its name and the largest number in it."""
        return _parts_to_check(self.model, self.pipeline)


def _parts_to_check(
    model: dict[str, Any], pipeline: list[dict[str, Any]] | None
) -> list[tuple[str, Any, int]]:
    return [('model', from_plain(model), MOST), ('pipeline', from_plain(pipeline or []), LARGEST_IMAGE)]


def write_student(
    folder: Path,
    default_scope: str,
    model: dict[str, Any],
    pipeline: list[dict[str, Any]] | None,
    dataset_meta: Mapping[str, Any],
    state: Mapping[str, Tensor],
    card: str,
) -> None:
    """Write card, weights and config; the config last, so that a folder which has one is complete.

    Args:
        folder: where; made if it is not there.
        default_scope: as of `StudentConfig`.
        model: likewise.
        pipeline: likewise.
        dataset_meta: as a checkpoint has it; of it the classes and their palette are kept.
        state: the weights by name.
        card: the page for readers.

    Raises:
        HubError: if config or data set would be refused where they are read.
    """
    for name, part, largest in _parts_to_check(model, pipeline):
        check_config(part, default_scope, name, largest)
    kept = {key: dataset_meta[key] for key in META if dataset_meta.get(key) is not None}
    _check_meta(kept, 'dataset_meta')
    weights = save(independent(state), metadata={'format': 'pt'})
    config = StudentConfig(
        default_scope, model, pipeline, to_plain(kept, 'dataset_meta'), sha256(weights).hexdigest()
    )
    files = AtomicLocalBackend()
    files.put(card.encode(), folder / CARD)
    files.put(weights, folder / WEIGHTS)
    text = json.dumps(asdict(config), indent=1, ensure_ascii=False)
    files.put(f'{text}\n'.encode(), folder / CONFIG)


def has_student_config(folder: Path) -> bool:
    """Whether the config in a folder says that it is a student's, of this version or another one."""
    try:
        return _read_json(folder).get('library_name') == LIBRARY
    except HubError:
        return False


def is_complete(folder: Path) -> bool:
    """Whether a folder has the config of a student, and the weights that it was written with."""
    path = folder / WEIGHTS
    if not has_student_config(folder) or not is_nonempty_file(path):
        return False
    return hash_files(sha256(), path).hexdigest() == _read_json(folder).get('sha256')


def independent(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights as safetensors takes them: in order, on the CPU, and no two in one memory.

    What is tied is written twice, so that any program reads each name.
    """
    own: dict[str, Tensor] = {}
    seen = set()
    for name, value in state.items():
        value = value.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        whole = value.untyped_storage().nbytes() == value.nbytes
        own[name] = value if whole and place not in seen else value.clone()
        seen.add(place)
    return own


def read_student(folder: Path) -> nn.Module:
    """The model of a folder, in eval mode, with its config as `cfg` and the classes in `dataset_meta`.

    Values are those of the file; where the model was saved in half precision they are read into float32.

    Raises:
        HubError: as `StudentConfig.read`, its `build` and `read_weights` say; or if the weights do not fit.
    """
    config = StudentConfig.read(folder)
    state = read_weights(folder / WEIGHTS, config.sha256)
    model = config.build(weight_bounds(folder / WEIGHTS))
    try:
        load_strictly(model, state)
    # Modules that bring weights into another shape end in any error.
    except Exception as error:
        raise HubError(f'{folder}/{WEIGHTS} does not fit {CONFIG}: {error}') from error
    # As mmdet's `init_detector` leaves them.
    vars(model).update(cfg=config.config(), dataset_meta=config.meta)
    return model.eval()


def read_config(folder: Path) -> Config:
    """The config of a folder, which has been built once, within the bounds of its weights.

    Raises:
        HubError: as `StudentConfig.read` and its `build` say; or if the weights are missing or corrupted.
    """
    config = StudentConfig.read(folder)
    config.build(weight_bounds(folder / WEIGHTS))
    return config.config()


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The weights of a folder as MMEngine's checkpoints hold them. Errors as `read_student`."""
    config = StudentConfig.read(folder)
    state = read_weights(folder / WEIGHTS, config.sha256)
    return {'meta': {'dataset_meta': config.meta}, 'state_dict': state}


def _check_meta(meta: dict[str, Any], where: str) -> None:
    """Refuse a data set whose classes are no names, or no plain texts, or with more than `META`."""
    classes, palette = meta.get('classes', ()), meta.get('palette', ())
    names = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    colours = palette == 'random' or (isinstance(palette, list | tuple) and all(map(_is_colour, palette)))
    if meta.keys() - {*META} or not names or not colours:
        raise HubError(
            f'{where}={reprlib.repr(meta)} must hold classes, a list of names, and may have a palette, a '
            'list of their colours of three numbers'
        )
    odd = next((name for name in classes if not is_plain_text(name)), None)
    if odd is not None:
        raise HubError(
            f'{where}.classes has the name {reprlib.repr(odd)}, which has more than 1,000 characters, or a '
            'control character: rename it'
        )


def check_class_count(model: nn.Module, meta: Mapping[str, Any]) -> None:
    """Check that a data set names as many classes as a model's head has.

    Args:
        model: a classifier, detector or segmentor; another one passes, and a panoptic one, of whose classes
            its head finds a part.
        meta: of the data set; without `classes` it passes.

    Raises:
        HubError: if the numbers differ.
    """
    classes = () if hasattr(model, 'semantic_head') else meta.get('classes', ())
    owners = (model, getattr(model, 'roi_head', None))
    heads = [getattr(owner, name, None) for owner in owners for name in ('head', 'bbox_head', 'decode_head')]
    # Each stage of a cascade has one.
    stages = [part for head in heads for part in (head if isinstance(head, nn.ModuleList) else [head])]
    counts = {getattr(part, 'num_classes', None) for part in stages} - {None}
    if classes and counts - {len(classes)}:
        raise HubError(
            f'dataset_meta.classes has {len(classes)} names, and the head {" or ".join(map(str, counts))} '
            'classes: they must be as many'
        )


def _is_colour(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and all(type(part) is int for part in value)


def _read_json(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        code = sorted(file.name for file in folder.glob('*.*') if file.suffix in CODE)
        held = f'; {", ".join(code[:3])} can hold code, which is not run' if code else ''
        raise HubError(f'{folder} has no {CONFIG}{held}: {_of_lfi(folder)}')
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise HubError(
            f'{path} has {size:,} bytes, and no config has more than {MOST_BYTES:,}: {_of_lfi(folder)}'
        )
    try:
        content = json.loads(read_prefix(path, size).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise HubError(f'{path} is corrupted, or no JSON: {error}') from error
    if not isinstance(content, dict):
        raise HubError(f'{path} is corrupted: it holds no object')
    return content


def _of_lfi(folder: Path) -> str:
    return f'give what lfi.save_pretrained wrote, or the cache of a teacher, in place of {folder}'
