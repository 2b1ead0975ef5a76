"""A page on this machine on which to ask a trained model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

# Gradio reads it when it is imported.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'

import numpy as np
from mmengine.config import Config
from PIL import Image

from lfi.errors import UsageError

from .drawing import draw_result, strongest
from .interaction_inferencer import InteractionInferencer
from .interaction_result import result_record
from .readers import TeacherReader
from .sources import FileSource, Load
from .teacher_answers import result_of

if TYPE_CHECKING:
    import gradio as gr

# Limits of what a visitor can give.
MAX_UPLOAD = '20mb'
MAX_PIXELS = 32 * 2**20
MAX_TEXTS = 50
MAX_TEXT_LENGTH = 200
# The browser must ask no other server, whatever Gradio's page asks for.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)


class LocalOnly:
    """Middleware whose every answer tells the browser to load nothing from elsewhere."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Serve a request."""

        async def send_with_policy(message: dict) -> None:
            if message['type'] == 'http.response.start':
                header = (b'content-security-policy', POLICY.encode())
                message = {**message, 'headers': [*message.get('headers', ()), header]}
            await send(message)

        await self.app(scope, receive, send_with_policy)


def texts_of(lines: str) -> list[str] | None:
    """The texts that a visitor typed, one in each line; None where there is none.

    Raises:
        ValueError: If they are too many, or one is too long, or holds what is no character.
    """
    lines.encode()
    texts = [line.strip() for line in lines.splitlines() if line.strip()]
    if len(texts) > MAX_TEXTS:
        raise ValueError(f'{len(texts)} texts are too many: give at most {MAX_TEXTS}')
    longest = max(map(len, texts), default=0)
    if longest > MAX_TEXT_LENGTH:
        raise ValueError(f'a text of {longest} characters is too long: give at most {MAX_TEXT_LENGTH}')
    return texts or None


def image_of(path: str, load: Load) -> np.ndarray:
    """The image that a visitor uploaded, (H, W, 3) uint8 BGR, as `lfi infer` reads it.

    Args:
        path: Of the file.
        load: The transform that loads it.

    Raises:
        ValueError: If it cannot be read, or is too large; the message does not name the file, which is ours.
    """
    try:
        ((_, loaded),) = FileSource(path).read(load, 1)
    except OSError as error:
        reason = str(error).removeprefix(f'{path}: this image').replace(path, 'the file')
        raise ValueError(f'This image{reason}') from error
    return loaded['img']


def teacher_picture(cfg: Config, device: str | None, texts: Sequence[str], image: np.ndarray) -> np.ndarray:
    """A teacher's maps of texts, drawn as a student's are.

    Args:
        cfg: Of the training, which names the teacher.
        device: Of the teacher; None for a GPU where there is one.
        texts: The texts.
        image: (H, W, 3) uint8 BGR.

    Raises:
        ImportError, OSError, RuntimeError, TypeError, ValueError: If the teacher cannot be had, or asked.
    """
    return draw_result(result_of(TeacherReader(cfg, texts, device), image), (), range(len(texts)))


def build_page(inferencer: InteractionInferencer, cfg: Config, device: str | None) -> gr.Blocks:
    """Build the page; its button asks the model, and where that is wanted its teacher.

    Args:
        inferencer: Of the model.
        cfg: Of its training, which names the teacher.
        device: Of the teacher; None for a GPU where there is one.
    """
    import gradio as gr

    def ask(path: str | None, lines: str | None, compare: bool) -> tuple[np.ndarray, dict, dict]:
        if path is None:
            raise gr.Error('Give an image first.')
        try:
            texts = texts_of(lines or '')
            image = image_of(path, inferencer.pipeline.load)
            found = inferencer(image, texts, return_vis=True)
            if found['skipped']:
                raise gr.Error('The test pipeline cannot take this image: it is too thin.')
            (result,) = found['predictions']
            shown = texts or [result.texts[index] for index in strongest(result)]
            theirs = teacher_picture(cfg, device, shown, result.image) if compare else None
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise gr.Error(str(error)) from error
        record = result_record(result, inferencer.classes)
        del record['image']
        return found['visualization'][0], gr.update(value=theirs, visible=compare or 'hidden'), record

    with gr.Blocks(title='LFI', analytics_enabled=False, delete_cache=(600, 600)) as page:
        gr.Markdown('# Where does the model see it?')
        with gr.Row():
            image = gr.Image(label='Image', sources=['upload', 'clipboard'], buttons=['fullscreen'])
            # Gradio's own reading fails without a word that a visitor sees; of a class that does so it
            # would write a file beside this one.
            image.preprocess = lambda upload: upload.path if upload else None
            with gr.Column():
                lines = gr.Textbox(
                    label='Texts, one in each line',
                    info='Without texts: the classes of the training, the 5 strongest.',
                    lines=5,
                    max_length=MAX_TEXTS * (MAX_TEXT_LENGTH + 1),
                )
                compare = gr.Checkbox(
                    label='Ask the teacher too', info='Its weights are loaded for each question.'
                )
                button = gr.Button('Ask', variant='primary')
        # Not with all buttons: one shares the picture.
        shown = dict(format='png', interactive=False, buttons=['download', 'fullscreen'])
        picture = gr.Image(label='Prediction and maps', **shown)
        theirs = gr.Image(label="The teacher's maps", visible='hidden', **shown)
        record = gr.JSON(label='Scores of the classes, presence of the texts')
        button.click(ask, [image, lines, compare], [picture, theirs, record])
    return page


def serve(page: gr.Blocks, port: int | None) -> None:
    """Serve the page to this machine until it is interrupted.

    Raises:
        UsageError: If the port is taken.
    """
    import gradio as gr
    from starlette.middleware import Middleware

    # A small file can hold a huge image.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    warnings.simplefilter('error', Image.DecompressionBombWarning)

    try:
        _, url, _ = page.launch(
            server_name='127.0.0.1',
            server_port=port,
            share=False,
            max_file_size=MAX_UPLOAD,
            footer_links=[],
            ssr_mode=False,
            # Gradio's own themes name fonts that are loaded.
            theme=gr.themes.Base(font=['system-ui', 'sans-serif'], font_mono=['ui-monospace', 'monospace']),
            app_kwargs=dict(middleware=[Middleware(LocalOnly)]),
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        if port is None:
            raise
        raise UsageError(f'--port {port} cannot be had, another program may have it: give another') from error
    print(f'The page is at {url}', flush=True)
    page.block_thread()
