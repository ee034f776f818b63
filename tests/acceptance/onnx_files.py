"""Checks models of the built-in trainer by ONNX's own checker and reference implementation.

Usage: onnx_files.py FOLDER (see README.md).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

TOLERANCE = 5e-6

# Of the elements of inputs; text has no fixed size in NumPy.
DATATYPES = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.BOOL: np.bool_,
    onnx.TensorProto.STRING: np.object_,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what the test write_models_for_the_checker wrote")
    folders = sorted(path.parent for path in parser.parse_args().folder.glob("*/model.onnx"))
    if not folders:
        parser.error("the folder has no models")
    failed = 0
    worst = 0.0
    for folder in folders:
        try:
            worst = max(worst, check(folder))
        except Exception as error:  # Whatever a model makes the checker or the evaluator do is its failure.
            failed += 1
            print(f"{folder.name}: {type(error).__name__}: {error}")
    print(f"{len(folders)} models, {failed} failed, largest difference from double precision {worst:.1e}")
    return 1 if failed else 0


def check(folder: Path) -> float:
    """The largest difference of an output, relative to the target's scale."""
    model = onnx.load(folder / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    if model.ir_version != 10 or [(opset.domain, opset.version) for opset in model.opset_import] != [("", 21)]:
        raise ValueError(f"IR {model.ir_version}, opsets {model.opset_import}")
    case = json.loads((folder / "expected.json").read_text())
    inputs = {value.name: array(value, case["inputs"][value.name]) for value in model.graph.input}
    if set(inputs) != set(case["inputs"]):
        raise ValueError(f"inputs {sorted(inputs)} where {sorted(case['inputs'])} were written")
    names = [value.name for value in model.graph.output]
    outputs = dict(zip(names, ReferenceEvaluator(model).run(names, inputs)))
    expected = np.asarray(case["expected"], dtype=np.float64)
    if names == ["prediction"]:
        expected = expected[:, 0]
        numbers = outputs["prediction"]
    elif names == ["label", "probabilities"]:
        numbers = outputs["probabilities"]
        labels = [case["classes"][index] for index in numbers.argmax(axis=1)]
        if outputs["label"].tolist() != labels:
            raise ValueError(f"labels {outputs['label'].tolist()} where {labels} are right")
    else:
        raise ValueError(f"outputs {names}")
    if numbers.shape != expected.shape or numbers.dtype != np.float32:
        raise ValueError(f"{numbers.dtype} {numbers.shape} where float32 {expected.shape} is right")
    difference = float(np.abs(numbers - expected).max() / case["scale"])
    if not difference <= TOLERANCE:
        raise ValueError(f"differs by {difference:.1e}")
    return difference


def array(value: onnx.ValueInfoProto, written: dict) -> np.ndarray:
    datatype = DATATYPES[value.type.tensor_type.elem_type]
    data = [np.nan if element is None else element for element in written["data"]]
    return np.asarray(data, dtype=datatype).reshape(written["shape"])


if __name__ == "__main__":
    sys.exit(main())
