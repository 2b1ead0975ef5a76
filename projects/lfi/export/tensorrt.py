"""TensorRT engines from ONNX files, by TensorRT's own builder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lfi.errors import UsageError, as_usage_error

# Operators marked Y in onnx-tensorrt's docs/operators.md for TensorRT 10.1.
OPERATORS = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast
    CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum
    DeformConv DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten
    Floor GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
    Greater GreaterOrEqual GridSample GroupNormalization HardSigmoid HardSwish Hardmax Identity If
    ImageScaler InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
    Log LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
    Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad ParametricSoftplus Pow
    QuantizeLinear RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign Round ScaledTanh Scan Scatter
    ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus
    Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu
    Unsqueeze Upsample Where Xor
"""
MAX_OPSET = 20
# Largest K of TensorRT's TopK layer.
MAX_TOPK = 3840


def tensorrt_issues(path: Path) -> list[str]:
    """List the parts of an ONNX file that TensorRT 10 does not support. Needs onnx, but not TensorRT.

    Raises:
        ValueError: if the file is not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        opset = next(entry.version for entry in model.opset_import if not entry.domain)
    # onnx reads some other files as an empty model.
    except (DecodeError, StopIteration) as error:
        raise ValueError(f'{path} is not an ONNX file') from error
    issues = []
    if opset > MAX_OPSET:
        issues.append(
            f'opset {opset} is above {MAX_OPSET}, the newest of TensorRT 10: export with --opset {MAX_OPSET}'
        )
    names = {f'{node.domain}::{node.op_type}'.removeprefix('::') for node in model.graph.node}
    unknown = sorted(names.difference(OPERATORS.split()))
    if unknown:
        issues.append(f'TensorRT 10 does not list {", ".join(unknown)}')
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    counts = [constants.get(node.input[1]) for node in model.graph.node if node.op_type == 'TopK']
    largest = max((int(count.item()) for count in counts if count is not None), default=0)
    if largest > MAX_TOPK:
        issues.append(
            f'TopK has K={largest}, and TensorRT allows {MAX_TOPK} at most: lower nms_pre in test_cfg'
        )
    return issues


def build_engine(path: Path, batches: tuple[int, int, int] = (1, 1, 1), workspace: float = 4.0) -> Any:
    """Build a TensorRT engine from an ONNX file, in the precision of that file.

    Needs `tensorrt` 10 or later, and the type of GPU that will run the engine.

    Args:
        path: ONNX file.
        batches: smallest, optimal and largest batch size; ignored if the file has a fixed batch. Defaults to
            one image.
        workspace: memory limit of TensorRT's workspace, in GiB. Defaults to 4.

    Returns:
        The serialised engine, a buffer.

    Raises:
        ImportError: if TensorRT is not installed.
        ValueError: if TensorRT cannot read the file or build the engine.
    """
    if find_spec('tensorrt') is None:
        raise ImportError(
            'TensorRT is not installed: pip install tensorrt, on the machine that will run the engine'
        )
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # STRONGLY_TYPED uses the file's types. TensorRT is removing the builder's own choice of FP16.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    # Parsing by path also finds weights in a second file.
    if not parser.parse_from_file(str(path)):
        reasons = '; '.join(str(parser.get_error(index)) for index in range(parser.num_errors))
        raise ValueError(f'{path}: TensorRT cannot read it: {reasons}')
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(workspace * (1 << 30)))
    images = network.get_input(0)
    if images.shape[0] == -1:
        profile = builder.create_optimization_profile()
        profile.set_shape(images.name, *((batch, *images.shape[1:]) for batch in batches))
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise ValueError(f'{path}: TensorRT could not build an engine; its log above says why')
    return engine


def write_engine(
    onnx: Path, out: Path | None, batches: tuple[int, int, int] = (1, 1, 1), workspace: float = 4.0
) -> None:
    """Print the parts of an ONNX file that TensorRT may not support, and write its engine.

    Args:
        onnx: ONNX file.
        out: file of the engine; None to write no engine.
        batches: smallest, optimal and largest batch size. Defaults to one image.
        workspace: memory limit of TensorRT's workspace, in GiB. Defaults to 4.

    Raises:
        UsageError: if the file does not exist or is not an ONNX file, TensorRT is not installed, or it cannot
            build the engine.
    """
    if not onnx.is_file():
        raise UsageError(f'{onnx} does not exist: write it by lfi export --to onnx')
    if find_spec('onnx') is None:
        raise UsageError("reading ONNX needs onnx: pip install 'lfi[export]'")
    with as_usage_error(ValueError):
        issues = tensorrt_issues(onnx)
    print('\n'.join(f'{onnx}: {issue}' for issue in issues) or f'{onnx}: TensorRT lists all operators.')
    if out is None:
        return
    with as_usage_error(ImportError, ValueError):
        engine = build_engine(onnx, batches, workspace)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(engine)
    print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB).')
