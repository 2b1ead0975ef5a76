"""TensorRT engines from ONNX files, by TensorRT's own builder."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lfi.errors import UsageError, as_usage_error

# Of onnx-tensorrt's docs/operators.md for TensorRT 10.1, those that it says Y of.
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
NEWEST_OPSET = 20
# TensorRT's layer for TopK takes no more.
MOST_OF_TOPK = 3840


def tensorrt_doubts(path: Path) -> list[str]:
    """What in an ONNX file TensorRT 10 does not list as supported, in words. Needs onnx, and no TensorRT.

    Raises:
        ValueError: If it is no ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path)
        opset = next(entry.version for entry in model.opset_import if not entry.domain)
    # Some other files are read as a model without anything.
    except (DecodeError, StopIteration) as error:
        raise ValueError(f'{path} is no ONNX file') from error
    doubts = []
    if opset > NEWEST_OPSET:
        doubts.append(
            f'opset {opset} is above {NEWEST_OPSET}, the newest of TensorRT 10: export with --opset'
        )
    names = {f'{node.domain}::{node.op_type}'.removeprefix('::') for node in model.graph.node}
    unknown = sorted(names.difference(OPERATORS.split()))
    if unknown:
        doubts.append(f'TensorRT 10 does not list {", ".join(unknown)}')
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    tops = [constants.get(node.input[1]) for node in model.graph.node if node.op_type == 'TopK']
    most = max((int(number.item()) for number in tops if number is not None), default=0)
    if most > MOST_OF_TOPK:
        doubts.append(
            f'TopK takes the best {most}, and {MOST_OF_TOPK} at most in TensorRT: lower nms_pre in test_cfg'
        )
    return doubts


def build_engine(path: Path, batches: tuple[int, int, int] = (1, 1, 1), workspace: float = 4.0) -> Any:
    """Build an engine from an ONNX file, in the precision of that file.

    Needs `tensorrt` 10 or later, and the kind of GPU that is to run the engine.

    Args:
        path: The ONNX file.
        batches: The least number of images, the one to be quick for, and the largest. It is not read where
            the file has a fixed batch. Defaults to one image.
        workspace: The most memory that TensorRT may try, in GiB. Defaults to 4.

    Returns:
        The serialised engine, a buffer to be written to a file.

    Raises:
        ImportError: If TensorRT is not installed.
        ValueError: If TensorRT cannot read the file or build its engine.
    """
    if find_spec('tensorrt') is None:
        raise ImportError(
            'TensorRT is not installed: pip install tensorrt, on the machine that is to run the engine'
        )
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # Types are those of the file; FP16 by the builder's own choice is being removed.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    # By its name, for weights that lie beside it.
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
        raise ValueError(f'{path}: TensorRT could not build an engine; its lines above say why')
    return engine


def write_engine(
    onnx: Path, out: Path | None, batches: tuple[int, int, int] = (1, 1, 1), workspace: float = 4.0
) -> None:
    """Print what TensorRT could not read in an ONNX file, and write its engine.

    Args:
        onnx: the file.
        out: the engine; None writes none.
        batches: as of `build_engine`.
        workspace: as of `build_engine`.

    Raises:
        UsageError: if there is no such file, it is no ONNX file, TensorRT is not installed, or it cannot
            build the engine.
    """
    if not onnx.is_file():
        raise UsageError(f'there is no file {onnx}: lfi export --to onnx writes one')
    if find_spec('onnx') is None:
        raise UsageError("reading ONNX needs onnx: pip install 'lfi[export]'")
    with as_usage_error(ValueError):
        doubts = tensorrt_doubts(onnx)
    print('\n'.join(f'{onnx}: {doubt}' for doubt in doubts) or f'{onnx}: TensorRT lists all of it.')
    if out is None:
        return
    with as_usage_error(ImportError, ValueError):
        engine = build_engine(onnx, batches, workspace)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(engine)
    print(f'Wrote {out} ({out.stat().st_size / 1e6:,.3f} MB).')
