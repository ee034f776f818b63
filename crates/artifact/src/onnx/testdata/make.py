"""Makes the models beside this file and expected.json, what the Python package `onnx` reads from them.

    python3 -m pip install onnx==1.23.2 numpy && python3 make.py

The scanner's tests compare its facts with expected.json: two independent readers of the same bytes.
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent


def value(name, shape, element_type=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element_type, shape)


def weight(name, *shape, dtype=np.float32):
    return numpy_helper.from_array(np.ones(shape, dtype), name)


def model(graph, opset=21, ir_version=10, extra=(), **rest):
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(*pair) for pair in extra)]
    made = helper.make_model(graph, opset_imports=imports, producer_name="make.py", producer_version="1", **rest)
    made.ir_version = ir_version
    return made


def dense():
    """A dense layer; its weight is an input too, as IR version 3 demanded."""
    nodes = [
        helper.make_node("Gemm", ["features", "weight", "bias"], ["scores"]),
        helper.make_node("Sigmoid", ["scores"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes, "dense",
        [value("features", ["batch", 4]), value("weight", [4, 2])],
        [value("probability", ["batch", 2])],
        [weight("weight", 4, 2), weight("bias", 2)],
    )
    made = model(graph, opset=13, ir_version=8)
    helper.set_model_props(made, {"task": "test", "note": "ümlaut"})
    return made


def types():
    """Every element type that requests can carry, a scalar, and an input of unknown rank."""
    carried = [
        "FLOAT", "UINT8", "INT8", "UINT16", "INT16", "INT32", "INT64", "STRING", "BOOL", "FLOAT16", "DOUBLE",
        "UINT32", "UINT64", "BFLOAT16",
    ]
    inputs = [value(name.lower(), [None, "n", 3], getattr(TensorProto, name)) for name in carried]
    inputs += [value("scalar", []), value("unranked", None)]
    nodes = [helper.make_node("Identity", [i.name], [f"{i.name}_out"]) for i in inputs]
    outputs = [onnx.ValueInfoProto() for _ in inputs]
    for output, source in zip(outputs, inputs):
        output.CopyFrom(source)
        output.name += "_out"
    return model(helper.make_graph(nodes, "types", inputs, outputs), opset=28, ir_version=14)


def subgraphs():
    """Branches with weights of their own, a Constant node, text, four-bit and sparse weights."""
    def branch(name, size):
        nodes = [
            helper.make_node("Constant", [], [f"{name}_c"], value=weight("", size)),
            helper.make_node("ReduceSum", [f"{name}_c"], [f"{name}_s"], keepdims=0),
            helper.make_node("Mul", [f"{name}_s", f"{name}_w"], [f"{name}_y"]),
        ]
        return helper.make_graph(nodes, name, [], [value(f"{name}_y", None)], [weight(f"{name}_w", 1, dtype=np.float32)])

    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"one", b"three"])
    nibbles = helper.make_tensor("nibbles", TensorProto.INT4, [3], [1, 2, 3])
    floats = helper.make_tensor("floats", TensorProto.FLOAT, [3], [1, 2, 3])
    sparse = helper.make_sparse_tensor(weight("sparse", 2), weight("", 2, dtype=np.int64), [10])
    nodes = [helper.make_node("If", ["flag"], ["y"], then_branch=branch("then", 3), else_branch=branch("else", 5))]
    graph = helper.make_graph(
        nodes, "subgraphs", [value("flag", [], TensorProto.BOOL)], [value("y", [1])],
        [words, nibbles, floats], sparse_initializer=[sparse],
    )
    return model(graph)


def domains():
    """Operators of Microsoft's domain and of an own one, and a function that the model defines itself."""
    function = helper.make_function(
        "local", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 21)]
    )
    nodes = [
        helper.make_node("Twice", ["x"], ["a"], domain="local"),
        helper.make_node("Gelu", ["a"], ["b"], domain="com.microsoft"),
        helper.make_node("Mystery", ["b"], ["c"], domain="com.example"),
        helper.make_node("Scaler", ["c"], ["y"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0]),
    ]
    graph = helper.make_graph(nodes, "domains", [value("x", [1])], [value("y", [1])])
    extra = [("local", 1), ("com.microsoft", 1), ("com.example", 7), ("ai.onnx.ml", 3)]
    return model(graph, extra=extra, functions=[function])


def external():
    """Weights in two files beside the model."""
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "external",
        [value("x", [-1, 64])], [value("y", [None, 8])], [weight("w", 64, 8), weight("b", 8), weight("c", 8)],
    )
    made = model(graph)
    for tensor, location in zip(made.graph.initializer, ["model.onnx.data", "weights/b.bin", "weights/b.bin"]):
        onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=len(tensor.raw_data))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
    return made


def functions_of(made):
    return {(function.domain, function.name) for function in made.functions}


def walk_nodes(nodes):
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in [attribute.g, *attribute.graphs]:
                yield from walk_nodes(graph.node)


def walk_tensors(graph):
    def sparse(tensors):
        for tensor in tensors:
            yield tensor.values
            yield tensor.indices

    yield from graph.initializer
    yield from sparse(graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [attribute.g, *attribute.graphs]:
                yield from walk_tensors(inner)


def size(tensor):
    if tensor.data_type == TensorProto.STRING:
        return sum(map(len, tensor.string_data))
    elements = int(np.prod(tensor.dims, dtype=object))
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (elements + 1) // 2
    return elements * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


OIP = {"FLOAT": "FP32", "DOUBLE": "FP64", "FLOAT16": "FP16", "BFLOAT16": "BF16", "STRING": "BYTES"}


def fact(info):
    tensor = info.type.tensor_type
    name = TensorProto.DataType.Name(tensor.elem_type)
    shape = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value >= 0:
            shape.append({"fixed": dim.dim_value})
        else:
            shape.append({"symbolic": dim.dim_param} if dim.dim_param else "unknown")
    return {
        "name": info.name, "datatype": OIP.get(name, name), "shape": shape, "unranked": not tensor.HasField("shape"),
    }


def facts(made):
    known = {tensor.name for tensor in made.graph.initializer}
    tensors = list(walk_tensors(made.graph))
    nodes = list(walk_nodes(made.graph.node)) + [n for f in made.functions for n in walk_nodes(f.node)]
    operators = {}
    for node in nodes:
        if node.domain not in ("", "ai.onnx", "ai.onnx.ml") and (node.domain, node.op_type) not in functions_of(made):
            operators.setdefault(node.domain, []).append(node.op_type)
    return {
        "irVersion": made.ir_version,
        "opsets": {entry.domain: entry.version for entry in made.opset_import},
        "producer": made.producer_name,
        "producerVersion": made.producer_version,
        "graphName": made.graph.name,
        "inputs": [fact(info) for info in made.graph.input if info.name not in known],
        "outputs": [fact(info) for info in made.graph.output],
        "nodes": len(nodes),
        "parameterBytes": sum(map(size, tensors)),
        "externalData": sorted({
            entry.value for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL
            for entry in tensor.external_data if entry.key == "location"
        }),
        "operators": operators,
        "metadata": {entry.key: entry.value for entry in made.metadata_props},
    }


expected = {}
for make in [dense, types, subgraphs, domains, external]:
    made = make()
    (HERE / f"{make.__name__}.onnx").write_bytes(made.SerializeToString(deterministic=True))
    expected[make.__name__] = facts(made)
(HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
