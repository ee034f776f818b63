#!/usr/bin/env python3
"""Writes the tiny ONNX models that the tests of runtime and server use, beside itself.

Needs the packages `onnx` and `numpy`. Run it after a change here and commit what it writes; the tests themselves need no
Python.
"""

import pathlib

import numpy
import onnx
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).parent
# Old enough that the oldest supported ONNX Runtime reads them.
OPSET = 17
IR = 8

# The protocol's names of the element types.
TYPES = {
    "bool": TensorProto.BOOL,
    "uint8": TensorProto.UINT8,
    "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32,
    "uint64": TensorProto.UINT64,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "fp16": TensorProto.FLOAT16,
    "bf16": TensorProto.BFLOAT16,
    "fp32": TensorProto.FLOAT,
    "fp64": TensorProto.DOUBLE,
    "bytes": TensorProto.STRING,
}


def value(name, datatype, shape):
    return helper.make_tensor_value_info(name, datatype, shape)


def save(name, nodes, inputs, outputs, initializers=(), opsets=(("", OPSET),), ir=IR, check=True):
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(initializers))
    model = helper.make_model(
        graph,
        ir_version=ir,
        producer_name="modelwright-testdata",
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets],
    )
    if check:
        onnx.checker.check_model(model)
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


def identities():
    """One pair `x_<type>` → `y_<type>` for every type, batch and inner dimension variable."""
    save(
        "identity",
        [helper.make_node("Identity", [f"x_{name}"], [f"y_{name}"]) for name in TYPES],
        [value(f"x_{name}", datatype, ["n", "m"]) for name, datatype in TYPES.items()],
        [value(f"y_{name}", datatype, ["n", "m"]) for name, datatype in TYPES.items()],
    )
    save(
        "scalar",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, [])],
        [value("y", TensorProto.FLOAT, [])],
    )
    save(
        "text",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.STRING, ["n"])],
        [value("y", TensorProto.STRING, ["n"])],
    )
    # Rows are filled up to as many parts as the longest has. New in opset 20.
    save(
        "split",
        [helper.make_node("StringSplit", ["x"], ["parts", "counts"], delimiter=" ")],
        [value("x", TensorProto.STRING, ["n"])],
        [value("parts", TensorProto.STRING, ["n", "m"]), value("counts", TensorProto.INT64, ["n"])],
        opsets=(("", 20),),
        ir=9,
    )


def arithmetic():
    save(
        "add",
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [value("a", TensorProto.FLOAT, ["n", 2]), value("b", TensorProto.FLOAT, ["n", 2])],
        [value("sum", TensorProto.FLOAT, ["n", 2])],
    )
    save(
        "fixed",
        [helper.make_node("Neg", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, [2, 3])],
        [value("y", TensorProto.FLOAT, [2, 3])],
    )
    # The logarithm of a negative number is not a number.
    save(
        "log",
        [helper.make_node("Log", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
    )


def slow():
    """Squares `x` a number of times that the input `times` says: as slow as a test wants it, and never overflows.

    Each turn of the loop multiplies two 128×128 matrices, so that work cannot be optimised away.
    """
    body = helper.make_graph(
        [
            helper.make_node("Expand", ["state", "square"], ["big"]),
            helper.make_node("MatMul", ["big", "big"], ["product"]),
            helper.make_node("ReduceMean", ["product"], ["mean"], axes=[0, 1], keepdims=1),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["state", "nothing"], ["next"]),
            helper.make_node("Identity", ["going"], ["still"]),
        ],
        "turn",
        [
            value("turn", TensorProto.INT64, []),
            value("going", TensorProto.BOOL, []),
            value("state", TensorProto.FLOAT, [1, 1]),
        ],
        [value("still", TensorProto.BOOL, []), value("next", TensorProto.FLOAT, [1, 1])],
    )
    save(
        "slow",
        [
            helper.make_node("Squeeze", ["times"], ["count"]),
            helper.make_node("Loop", ["count", "", "x"], ["y"], body=body),
        ],
        [value("times", TensorProto.INT64, [1]), value("x", TensorProto.FLOAT, [1, 1])],
        [value("y", TensorProto.FLOAT, [1, 1])],
        [
            onnx.numpy_helper.from_array(numpy.array([128, 128], dtype=numpy.int64), "square"),
            onnx.numpy_helper.from_array(numpy.array(0, dtype=numpy.float32), "zero"),
        ],
    )


def external_data():
    weight = numpy.arange(4, dtype=numpy.float32)
    (HERE / "external.onnx.data").write_bytes(weight.tobytes())
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, content in (("location", "external.onnx.data"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=content)
    save(
        "external",
        [helper.make_node("Add", ["x", "weight"], ["y"])],
        [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("y", TensorProto.FLOAT, ["n", 4])],
        [tensor],
        check=False,
    )


def picky():
    """Refuses the zeros of a warm-up run: row 1 of a table cannot be taken when the index says row 7 of 2."""
    save(
        "picky",
        [
            helper.make_node("Sub", ["seven", "index"], ["row"]),
            helper.make_node("Gather", ["table", "row"], ["y"]),
        ],
        [value("index", TensorProto.INT64, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
        [
            onnx.numpy_helper.from_array(numpy.array([7], dtype=numpy.int64), "seven"),
            onnx.numpy_helper.from_array(numpy.array([10, 20], dtype=numpy.float32), "table"),
        ],
    )


def classifier():
    """What the trainer exports, in small: two numbers of which NaN counts as 0, and the more probable class is that of the
    larger one."""
    save(
        "classifier",
        [
            helper.make_node("IsNaN", ["features"], ["missing"]),
            helper.make_node("Where", ["missing", "zero", "features"], ["filled"]),
            helper.make_node("Softmax", ["filled"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["class"], axis=1, keepdims=0),
            helper.make_node("Gather", ["classes", "class"], ["label"]),
        ],
        [value("features", TensorProto.FLOAT, ["N", 2])],
        [value("label", TensorProto.STRING, ["N"]), value("probabilities", TensorProto.FLOAT, ["N", 2])],
        [
            onnx.numpy_helper.from_array(numpy.array(0, dtype=numpy.float32), "zero"),
            onnx.helper.make_tensor("classes", TensorProto.STRING, [2], [b"benign", b"malignant"]),
        ],
        opsets=(("", 21),),
        ir=10,
    )


def batches():
    """Models whose rows are independent, and one whose rows are not."""
    weight = (numpy.arange(24, dtype=numpy.float32) % 7 - 3) / 8
    save(
        "dense",
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Relu", ["product"], ["positive"]),
            helper.make_node("Sigmoid", ["positive"], ["y"]),
        ],
        [value("x", TensorProto.FLOAT, ["n", 8])],
        [value("y", TensorProto.FLOAT, ["n", 3])],
        [onnx.numpy_helper.from_array(weight.reshape(8, 3), "weight")],
    )
    # Fails for an index outside of -4 … 3.
    save(
        "lookup",
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        [value("index", TensorProto.INT64, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
        [onnx.numpy_helper.from_array(numpy.array([10, 20, 30, 40], dtype=numpy.float32), "table")],
    )
    # Its weight is large enough to be moved to a file of its own; row i is 2 i.
    save(
        "table",
        [helper.make_node("Gather", ["table", "index"], ["y"])],
        [value("index", TensorProto.INT64, ["n"])],
        [value("y", TensorProto.FLOAT, ["n"])],
        [onnx.numpy_helper.from_array(2 * numpy.arange(2048, dtype=numpy.float32), "table")],
    )
    save(
        "centred",
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0], keepdims=1),
            helper.make_node("Sub", ["x", "mean"], ["y"]),
        ],
        [value("x", TensorProto.FLOAT, ["n", 2])],
        [value("y", TensorProto.FLOAT, ["n", 2])],
    )


def refused():
    """Models that ONNX Runtime or the server must refuse with a reason."""
    one_in_one_out = ([value("x", TensorProto.FLOAT, ["n"])], [value("y", TensorProto.FLOAT, ["n"])])
    save("opset", [helper.make_node("Neg", ["x"], ["y"])], *one_in_one_out, opsets=(("", 99),), check=False)
    save("ir", [helper.make_node("Neg", ["x"], ["y"])], *one_in_one_out, ir=99, check=False)
    save(
        "custom",
        [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")],
        *one_in_one_out,
        opsets=(("", OPSET), ("com.example", 1)),
        check=False,
    )
    save(
        "sequence",
        [helper.make_node("SequenceConstruct", ["x"], ["y"])],
        [value("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )
    save(
        "complex",
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", TensorProto.COMPLEX64, ["n"])],
        [value("y", TensorProto.COMPLEX64, ["n"])],
    )


if __name__ == "__main__":
    identities()
    arithmetic()
    slow()
    external_data()
    picky()
    classifier()
    batches()
    refused()
