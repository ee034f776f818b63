"""The ONNX project's backend node tests, and how one is asked of a server."""

import warnings
from dataclasses import dataclass

import numpy as np
import tritonclient.http as triton
from geventhttpclient.response import HTTPParseError
from onnx import TensorProto, numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner
from tritonclient.utils import np_to_triton_dtype

from server import Server, ServerEnded

# Models per process: enough that starting it does not count, few enough that one that ends it is found soon.
BATCH = 100


# The stage of a case of which nothing was asked: its values have none of the forms.
NO_FORM = "no form"


@dataclass
class Outcome:
    """What became of a case: `message` is empty if it passed, or if it has no values of the form that was asked for."""

    stage: str = "passed"
    message: str = ""


def load_cases() -> dict[str, TestCase]:
    """All cases by name. Random numbers in them are drawn from a fixed seed, so they are the same each time."""
    with warnings.catch_warnings():
        # Some overflow on purpose while they are made.
        warnings.simplefilter("ignore")
        return {case.name: case for case in load_model_tests(kind="node")}


def one_per_operator(cases: dict[str, TestCase], names: list[str]) -> list[str]:
    """The first of these cases for each operator and each datatype of a first input."""
    chosen: dict[str, str] = {}
    for name in sorted(names):
        graph = cases[name].model.graph
        for operator in sorted({node.op_type for node in graph.node}):
            chosen.setdefault(f"operator {operator}", name)
        for value in graph.input[:1]:
            chosen.setdefault(f"datatype {value.type.tensor_type.elem_type}", name)
    return sorted(set(chosen.values()))


def run_cases(cases: list[TestCase], forms: tuple[str, ...], progress=lambda done: None) -> dict[str, Outcome]:
    """Serves the cases, some in each process, and asks each."""
    outcomes: dict[str, Outcome] = {}
    for start in range(0, len(cases), BATCH):
        outcomes |= run_batch(cases[start : start + BATCH], forms)
        progress(len(outcomes))
    return outcomes


def run_batch(cases: list[TestCase], forms: tuple[str, ...]) -> dict[str, Outcome]:
    """One process for all; if that ends by itself, halves, until the case that ends it is alone."""
    # A case's own name is too long for the name of a Model.
    models = {f"m{index}": case.model.SerializeToString() for index, case in enumerate(cases)}
    try:
        with Server(models) as server:
            return {
                case.name: ask(server, f"m{index}", case, forms) for index, case in enumerate(cases)
            }
    except ServerEnded as error:
        if len(cases) == 1:
            return {cases[0].name: Outcome("process", str(error))}
        half = len(cases) // 2
        return run_batch(cases[:half], forms) | run_batch(cases[half:], forms)


def ask(server: Server, model: str, case: TestCase, forms: tuple[str, ...]) -> Outcome:
    if model in server.failed:
        # Without the file, which is another one each time.
        _, _, message = server.failed[model].rpartition(f"{model}.onnx: ")
        return Outcome("load", message)
    client = triton.InferenceServerClient(server.address)
    try:
        return compare_all(client, model, case, forms)
    finally:
        client.close()


def compare_all(client, model: str, case: TestCase, forms: tuple[str, ...]) -> Outcome:
    """Asks every form of all data that has it. A case passes only if it was asked something."""
    passed = Outcome(NO_FORM)
    for inputs, expected in case.data_sets:
        for form in forms:
            outcome = compare(client, model, case, list(inputs), list(expected), form)
            if outcome.stage == "passed":
                passed = outcome
            elif outcome.stage != NO_FORM:
                return outcome
    return passed


def compare(client, model: str, case: TestCase, inputs: list, expected: list, form: str) -> Outcome:
    inputs, expected = [as_array(value) for value in inputs], [as_array(value) for value in expected]
    if form == "json" and not all(has_json_form(value) for value in inputs + expected):
        return Outcome(NO_FORM)
    binary = form == "binary"
    try:
        tensors = []
        for value, array in zip(case.model.graph.input, inputs, strict=True):
            tensor = triton.InferInput(value.name, list(array.shape), np_to_triton_dtype(array.dtype))
            tensors.append(tensor.set_data_from_numpy(array, binary_data=binary))
        names = [value.name for value in case.model.graph.output]
        requested = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
        result = client.infer(model, tensors, outputs=requested)
        outputs = [bytes_as_text(result.as_numpy(name)) for name in names]
    except triton.InferenceServerException as error:
        return Outcome("infer", f"{form}: {error}")
    except (HTTPParseError, OSError) as error:
        raise ServerEnded(f"{form}: no answer: {error!r}") from error
    try:
        Runner.assert_similar_outputs(expected, outputs, case.rtol, case.atol)
    except AssertionError as error:
        return Outcome("compare", f"{form}: {' '.join(str(error).split())}")
    return Outcome()


def as_array(value) -> np.ndarray:
    """Cases hold arrays, numbers and messages; text of a fixed size becomes the objects that clients take."""
    array = numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)
    return array.astype(np.object_) if array.dtype.kind in "US" else array


def bytes_as_text(array: np.ndarray) -> np.ndarray:
    """BYTES in binary form are bytes, which the cases have as text."""
    if array.dtype != np.object_:
        return array
    texts = [value.decode() if isinstance(value, bytes) else value for value in array.flat]
    return np.asarray(texts, dtype=np.object_).reshape(array.shape)


def has_json_form(array: np.ndarray) -> bool:
    """JSON has no NaN and no infinity, and Triton's client no JSON for BF16."""
    if array.dtype.name == "bfloat16":
        return False
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
