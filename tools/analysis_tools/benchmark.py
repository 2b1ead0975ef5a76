"""Time a student in PyTorch, compiled, and as ONNX, as `lfi benchmark` does.

python tools/analysis_tools/benchmark.py CONFIG CHECKPOINT --formats pytorch,compile,onnx
"""

from lfi.cli import run_command

if __name__ == '__main__':
    run_command('benchmark')
