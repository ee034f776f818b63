"""Calls an Open Inference Protocol V2 server by Triton's and KServe's clients and compares with ONNX Runtime.

Usage: clients.py URL MODEL MODEL.onnx (see README.md).
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
import tritonclient.http as triton
from kserve import InferInput, InferRequest, InferenceRESTClient, RESTConfig

TOLERANCE = 1e-6

# The protocol's datatypes as NumPy's: Open Inference Protocol, "Tensor Data Types". BF16 has no JSON form in either client.
DATATYPES = {
    "BOOL": np.bool_,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "UINT16": np.uint16,
    "UINT32": np.uint32,
    "UINT64": np.uint64,
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "BYTES": np.object_,
}


@dataclass
class Row:
    """One line of the table: what one client got for one output."""

    client: str
    subject: str
    shape: str
    result: str
    failed: bool


def main() -> int:
    arguments = parse_arguments()
    session = onnxruntime.InferenceSession(arguments.onnx, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(arguments.seed)
    with_triton = triton.InferenceServerClient(authority(arguments.url))
    metadata = with_triton.get_model_metadata(arguments.model)

    rows = [check_metadata(metadata, session)]
    for open_dimension in (1, arguments.open):
        inputs = {
            tensor["name"]: random_tensor(random, tensor, open_dimension, arguments)
            for tensor in metadata["inputs"]
        }
        names = [tensor["name"] for tensor in metadata["outputs"]]
        expected = dict(zip(names, session.run(names, inputs)))
        datatypes = {tensor["name"]: tensor["datatype"] for tensor in metadata["inputs"]}
        rows += compare("triton", expected, lambda: call_triton(with_triton, arguments.model, inputs, datatypes, names))
        if "FP16" in datatypes.values():
            rows.append(Row("kserve", "all outputs", "", "skipped: the client has no JSON for FP16", failed=False))
        else:
            rows += compare("kserve", expected, lambda: call_kserve(arguments.url, arguments.model, inputs, datatypes))
    print_table(rows)
    return 1 if any(row.failed for row in rows) else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="base URL of the server, such as http://127.0.0.1:8080")
    parser.add_argument("model", help="the model's name on the server")
    parser.add_argument("onnx", help="the file that the server serves")
    parser.add_argument("--open", type=int, default=3, help="size of open dimensions in the second round")
    parser.add_argument("--shape", action="append", default=[], metavar="INPUT=N,N,…", help="shape of one input")
    parser.add_argument("--integers-below", type=int, default=2, help="bound of random integers")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if urlsplit(arguments.url).scheme != "http":
        parser.error(f"{arguments.url} is not an http:// URL")
    try:
        pairs = (shape.split("=", 1) for shape in arguments.shape)
        arguments.shapes = {name: [int(size) for size in sizes.split(",")] for name, sizes in pairs}
    except ValueError:
        parser.error("--shape wants INPUT=N,N,…")
    return arguments


def authority(url: str) -> str:
    """Triton's client wants host, port and path without the scheme."""
    parts = urlsplit(url)
    return parts.netloc + parts.path.rstrip("/")


def check_metadata(metadata: dict, session: onnxruntime.InferenceSession) -> Row:
    """The server must know the model's inputs and outputs by the names and ranks that the file gives them."""

    def signature(tensors: list) -> dict:
        return {tensor["name"]: len(tensor["shape"]) for tensor in tensors}

    def of_file(nodes: list) -> dict:
        return {node.name: len(node.shape) for node in nodes}

    served = signature(metadata["inputs"]), signature(metadata["outputs"])
    wanted = of_file(session.get_inputs()), of_file(session.get_outputs())
    result = "same as the file" if served == wanted else f"served {served}, the file has {wanted}"
    return Row("triton", "metadata", "", result, failed=served != wanted)


def random_tensor(random: np.random.Generator, tensor: dict, open_dimension: int, arguments: argparse.Namespace) -> np.ndarray:
    name, datatype = tensor["name"], tensor["datatype"]
    shape = arguments.shapes.get(name) or [open_dimension if size < 0 else size for size in tensor["shape"]]
    kind = np.dtype(DATATYPES[datatype])
    if kind.kind == "O":
        words = random.choice(["", "word", "two words", "Grüße", '"quoted"\n'], size=shape)
        return np.asarray(words, dtype=np.object_)
    if kind.kind == "b":
        return random.integers(0, 2, size=shape).astype(kind)
    if kind.kind in "iu":
        return random.integers(0, arguments.integers_below, size=shape).astype(kind)
    return random.standard_normal(size=shape).astype(kind)


def call_triton(client: triton.InferenceServerClient, model: str, inputs: dict, datatypes: dict, outputs: list) -> dict:
    tensors = []
    for name, value in inputs.items():
        tensor = triton.InferInput(name, list(value.shape), datatypes[name])
        tensors.append(tensor.set_data_from_numpy(value, binary_data=False))
    requested = [triton.InferRequestedOutput(name, binary_data=False) for name in outputs]
    result = client.infer(model, tensors, outputs=requested, request_id="acceptance")
    return {name: result.as_numpy(name) for name in outputs}


def call_kserve(url: str, model: str, inputs: dict, datatypes: dict) -> dict:
    tensors = []
    for name, value in inputs.items():
        tensor = InferInput(name, list(value.shape), datatypes[name])
        tensor.set_data_from_numpy(value, binary_data=False)
        tensors.append(tensor)

    async def call() -> dict:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            ready = await client.is_server_ready(url) and await client.is_model_ready(url, model)
            if not ready:
                raise RuntimeError("the server says that it is not ready")
            response = await client.infer(url, InferRequest(model, tensors), model_name=model)
            return {output.name: output.as_numpy() for output in response.outputs}

    return asyncio.run(call())


def compare(client: str, expected: dict, call) -> list:
    """Makes the call and compares each output; a call that fails is a line of its own."""
    try:
        actual = call()
    except Exception as error:  # whatever a client throws is the finding
        return [Row(client, "call", "", f"{type(error).__name__}: {error}", failed=True)]
    return [compare_output(client, name, value, actual.get(name)) for name, value in expected.items()]


def compare_output(client: str, name: str, expected: np.ndarray, actual: np.ndarray | None) -> Row:
    shape = "x".join(map(str, expected.shape))
    if actual is None:
        return Row(client, name, shape, "missing", failed=True)
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return Row(client, name, shape, f"got {actual.dtype} {actual.shape}, not {expected.dtype}", failed=True)
    if expected.dtype.kind not in "f":
        same = np.array_equal(actual, expected)
        return Row(client, name, shape, "equal" if same else "differs", failed=not same)
    if expected.size == 0:
        return Row(client, name, shape, "equal", failed=False)
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    largest = np.abs(expected.astype(np.float64)).max()
    relative = float(difference / largest) if largest else float(difference)
    # Written so that a NaN fails.
    return Row(client, name, shape, f"largest difference {relative:.1e}", failed=not relative <= TOLERANCE)


def print_table(rows: list) -> None:
    lines = [("client", "output", "shape", "result", "")]
    lines += [(row.client, row.subject, row.shape, row.result, "FAILED" if row.failed else "ok") for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
