# LFI with all its extras, for the CPU or for CUDA:
#   docker build -t lfi .
#   docker build -t lfi:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .
#   docker run --rm -it lfi make quickstart
#   docker run --rm -it --gpus all --shm-size 8g -v "$PWD/data:/lfi/data" lfi:cuda tools/dist_train.sh CONFIG 8
FROM python:3.11-slim-bookworm

# Where torch and torchvision come from; the CUDA libraries come with them.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# OpenCV, which mmcv imports, wants two libraries of the system; make runs the two commands.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgl1 libglib2.0-0 make \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /lfi
ENV PATH=/lfi/.venv/bin:$PATH \
    MMCV_WITH_OPS=0 \
    PIP_NO_CACHE_DIR=1

RUN python -m venv .venv && pip install --index-url "$TORCH_INDEX" 'torch>=2.6' 'torchvision>=0.21'

# What is installed changes less often than the sources.
COPY requirements requirements
RUN pip install -r requirements/runtime.txt -r requirements/onedl.txt -r requirements/multimodal.txt \
    -r requirements/captions.txt -r requirements/export.txt -r requirements/coco.txt -r requirements/formats.txt -r requirements/shards.txt \
    -r requirements/research.txt -r requirements/tests.txt

COPY . .
RUN pip install --no-deps -e . && touch .venv/.installed

CMD ["python", "tools/train.py", "--help"]
