"""Small ONNX models whose answers can be told by looking, and the server that the tests of clients share."""

import numpy as np
import onnx
from ml_dtypes import bfloat16
from onnx import TensorProto, helper

from server import Server

# The protocol's datatypes with a value of each that shows its width, its sign and the order of its bytes.
SAMPLES: dict[str, np.ndarray] = {
    "BOOL": np.array([[True, False, True]]),
    "INT8": np.array([[-128, 0, 127]], np.int8),
    "INT16": np.array([[-(2**15), 258, 2**15 - 1]], np.int16),
    "INT32": np.array([[-(2**31), 16909060, 2**31 - 1]], np.int32),
    "INT64": np.array([[-(2**63), 2**53 + 1, 2**63 - 1]], np.int64),
    "UINT8": np.array([[0, 1, 255]], np.uint8),
    "UINT16": np.array([[0, 258, 2**16 - 1]], np.uint16),
    "UINT32": np.array([[0, 16909060, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**53 + 1, 2**64 - 1]], np.uint64),
    "FP16": np.array([[-65504.0, 2**-24, 1.0009765625]], np.float16),
    "BF16": np.array([[-3.0e38, 1.0e-38, 1.0078125]], bfloat16),
    "FP32": np.array([[-3.4028235e38, 1e-45, 0.1]], np.float32),
    "FP64": np.array([[-1.7976931348623157e308, 5e-324, 0.1]], np.float64),
    "BYTES": np.array([["", "Grüße, 世界", 'quoted "text"\n\t\\']], np.object_),
}

# The rows that `add-sub` is asked.
A = np.arange(32, dtype=np.float32).reshape(2, 16)
B = np.full((2, 16), 0.25, np.float32)

# What `scores` is asked, and the places of its values from the highest down.
SCORES = np.array([[0.1, 0.7, 0.05, 0.15], [0.4, 0.3, 0.2, 0.1]], np.float32)
HIGHEST = [[1, 3, 0, 2], [0, 1, 2, 3]]

# The weights of `linear`.
WEIGHTS = np.array([[1.0], [-2.0], [0.5]], np.float32)


def start() -> Server:
    """A server with all models of this file."""
    models = {f"identity-{datatype.lower()}": identity(array) for datatype, array in SAMPLES.items()}
    models |= {"add-sub": add_sub(), "scores": identity(SCORES), "linear": linear()}
    return Server(models)


def identity(sample: np.ndarray) -> bytes:
    """`y` is `x`, with any number of rows."""
    element = TensorProto.STRING if sample.dtype == np.object_ else helper.np_dtype_to_tensor_dtype(sample.dtype)
    shape = ["batch", sample.shape[1]]
    return model([("Identity", ["x"], ["y"])], [("x", element, shape)], [("y", element, shape)])


def add_sub() -> bytes:
    """The sum and the difference of two inputs."""
    values = [(name, TensorProto.FLOAT, ["batch", 16]) for name in ("a", "b", "sum", "difference")]
    nodes = [("Add", ["a", "b"], ["sum"]), ("Sub", ["a", "b"], ["difference"])]
    return model(nodes, values[:2], values[2:])


def linear() -> bytes:
    """The product of rows of three features and WEIGHTS."""
    return model(
        [("MatMul", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, ["batch", 3])],
        [("y", TensorProto.FLOAT, ["batch", 1])],
        [onnx.numpy_helper.from_array(WEIGHTS, "w")],
    )


def model(nodes: list, inputs: list, outputs: list, weights: list = ()) -> bytes:
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes],
        "graph",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        list(weights),
    )
    imports = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
