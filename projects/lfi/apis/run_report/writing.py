"""Writing of a run's report, after the training or later."""

from __future__ import annotations

import gc
import logging
import os
import re
import shlex
from collections.abc import Callable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DefaultScope

from lfi.apis.interaction_inferencer import InteractionInferencer
from lfi.engine.config_loading import load_config
from lfi.engine.machine import MACHINE
from lfi.engine.quiet_runner import DATA
from lfi.engine.run_folder import best_checkpoint, config_beside
from lfi.hub.cards import dataset_text
from lfi.utils.fileio import AtomicLocalBackend
from lfi.utils.repositories import first_lines
from lfi.version import __version__
from lfi.visualization.html_page import html_document

from . import page
from .advice import RunFiles, advice_of_confusions, advice_of_curves, next_commands
from .confusion import Confusion, measure_confusion
from .examples import draw_examples, maps_reason
from .history import History, read_history
from .run_images import RunImages, run_images

REPORT = 'report.html'
SWITCH = 'LFI_REPORT'
"""Environment variable: with 0, trainings write no page."""


def report_training(config: Config) -> None:
    """Write the page of a training that has ended, unless `LFI_REPORT` is 0.

    A failure is logged as one line. Call it in the main process, after the process group is gone.

    Args:
        config: config of the training, with its work dir.
    """
    if os.environ.get(SWITCH) == '0':
        return
    # The Runner, a reference cycle, holds the trained model and its GPU memory.
    gc.collect()
    folder = Path(config.work_dir)
    try:
        file = write_report(folder, config)
    # The training has succeeded, whatever is wrong with its page.
    except Exception as error:
        command = shlex.join(['lfi', 'report', str(folder)])
        print_log(
            f'{REPORT} is not written: {type(error).__name__}: {first_lines(error)}. Try again: {command}',
            'current',
            logging.WARNING,
        )
        return
    print_log(f'Report: {file}', 'current')


def write_report(folder: Path, config: Config | None = None, device: str | None = None) -> Path:
    """Write `report.html` into the folder of a run.

    The page is one file without links to others. It takes seconds: it shows up to 8 images, and measures
    confusions on up to 500 images in up to 20 seconds.

    Args:
        folder: folder of a run of MMEngine.
        config: its config. Defaults to None: the one in the folder.
        device: device of the model, such as 'cpu'. Defaults to None: a GPU if there is one.

    Returns:
        The page.

    Raises:
        UsageError: if the folder has no checkpoint, or not one config.
    """
    checkpoint = best_checkpoint(folder)
    file = _config_file(folder, config) or config_beside(checkpoint)
    config = load_config(str(file)) if config is None else config
    files = RunFiles(folder, file, checkpoint)
    with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmengine')):
        body = _Report(config, files, device).body()
    target = folder / REPORT
    AtomicLocalBackend().put_text(html_document(f'Report of {folder.name}', body), target)
    return target


def _config_file(folder: Path, config: Config | None) -> Path | None:
    """Return the config that MMEngine wrote for a run; None if it is unknown."""
    name = Path(config.filename).name if config is not None and config.filename else None
    return folder / name if name and (folder / name).is_file() else None


class _Report:
    """Sections of the page of a run.

    Args:
        config: config of the run.
        files: its files.
        device: device of the model, or None.
    """

    def __init__(self, config: Config, files: RunFiles, device: str | None) -> None:
        self.config, self.files, self.device = config, files, device
        self.history = History('epoch', {}, {})
        self.inferencer: InteractionInferencer | None = None
        self.images: RunImages | None = None
        self.confusion: Confusion | None = None

    def body(self) -> list[str]:
        """Build the page from top to bottom. A section that fails says why, and the others stay."""
        curves = self._part(self._curves)
        problem = self._part(self._load)
        facts = self._part(lambda: page.facts_html(self._facts()))
        pictures = problem or self._part(self._examples)
        classes = problem or self._part(self._classes)
        return [
            f'<h1>{escape(f"Report of {self.files.folder.name}")}</h1>\n',
            page.section('What was run', [facts]),
            page.section('Curves', [curves]),
            page.section('Where the student looks', [pictures]),
            page.section('Classes', [classes]),
            page.section('What to do next', [self._part(self._advice)]),
        ]

    def _part(self, build: Callable[[], str]) -> str:
        try:
            return build()
        # A run of another project may lack or break anything.
        except Exception as error:
            kind = '' if isinstance(error, ValueError) else f'{type(error).__name__}: '
            return page.paragraph(f'Left out: {kind}{first_lines(error)}.')

    def _curves(self) -> str:
        self.history = read_history(self.files.folder, self.config)
        return page.history_html(self.history)

    def _load(self) -> str:
        """Load model and images; return nothing."""
        self.inferencer = InteractionInferencer(self.config, self.files.checkpoint, self.device)
        self.images = run_images(self.config, self.inferencer.trained_classes)
        return ''

    def _facts(self) -> dict[str, object]:
        config = self.config
        teacher = config.model.get('teacher') or {}
        loader = config.get('train_dataloader') or {}
        log = _log_facts(self.files.folder)
        schedule = config.get('train_cfg') or {}
        model = None if self.inferencer is None else self.inferencer.model
        parameters = 0 if model is None else sum(value.numel() for value in model.parameters())
        return {
            'config': self.files.config,
            'checkpoint': self.files.checkpoint,
            'model': type(model).__name__ if model is not None else config.model.get('type'),
            'parameters': f'{parameters / 1e6:.2f} M' if parameters else None,
            'backbone': (config.model.get('backbone') or {}).get('type'),
            'teacher': teacher.get('model'),
            "teacher's weights": teacher.get('pretrained'),
            'training data': dataset_text(loader['dataset']) if loader else None,
            'size': log.get(DATA),
            'batch size': loader.get('batch_size'),
            'epochs': schedule.get('max_epochs'),
            'iterations': schedule.get('max_iters'),
            'seed': (config.get('randomness') or {}).get('seed'),
            'started': log.get('started'),
            'seconds': log.get('seconds'),
            'machine': log.get(MACHINE),
            'written by': f'lfi {__version__}',
        }

    def _examples(self) -> str:
        assert self.inferencer is not None and self.images is not None
        text = f'{self.images.kind} images, chosen by a fixed seed.'.capitalize()
        examples = page.examples_html(
            draw_examples(self.inferencer, self.images), maps_reason(self.inferencer)
        )
        return page.paragraph(text) + examples

    def _classes(self) -> str:
        assert self.inferencer is not None and self.images is not None
        model, classes = self.inferencer.model, self.inferencer.classes
        if 'BaseDetector' in {kind.__name__ for kind in type(model).__mro__}:
            return page.precision_html(self.history, classes)
        self.confusion = measure_confusion(model, self.images)
        build = page.confusion_html if self.confusion.examples else page.iou_html
        return build(self.confusion, self.images.kind, classes)

    def _advice(self) -> str:
        classes: Sequence[str] = () if self.inferencer is None else self.inferencer.classes
        answers = self.inferencer is not None and maps_reason(self.inferencer) is None
        texts = self.inferencer.class_texts if self.inferencer is not None and answers else ()
        has_test = bool(self.config.get('test_dataloader') and self.config.get('test_evaluator'))
        advice = advice_of_curves(self.history, self.config, self.files)
        if self.confusion is not None and self.images is not None:
            advice += advice_of_confusions(self.confusion, self.images, classes, texts, self.files)
        return page.advice_html([*advice, *next_commands(self.files, has_test, answers)])


_STEP = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - .*(?:Epoch|Iter)\((?:train|val)\)', re.MULTILINE)
"""Line of a step of training or validation."""
_START = re.compile(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - ', re.MULTILINE)


def _log_facts(folder: Path) -> dict[str, object]:
    """Return what the log of the last start of a run has of its time, its machine and its data."""
    logs = sorted(folder.glob('*/*.log'))
    text = logs[-1].read_text(errors='replace') if logs else ''
    found = {prefix: re.search(rf'{prefix}(.+)$', text, re.MULTILINE) for prefix in (MACHINE, DATA)}
    facts: dict[str, object] = {prefix: match[1] for prefix, match in found.items() if match}
    times = [*_START.findall(text)[:1], *_STEP.findall(text)[-1:]]
    if len(times) == 2:
        start, end = (datetime.strptime(time, '%Y/%m/%d %H:%M:%S') for time in times)
        facts |= {'started': start, 'seconds': round((end - start).total_seconds())}
    return facts
