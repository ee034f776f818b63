#!/usr/bin/env python3
"""Trains a scikit-learn pipeline on the iris data set and exports it to model.onnx, with one named input per column.

Run it after `pip install -r requirements.txt`. It also writes request.json and expected.json: three flowers, and what
onnxruntime answers for them.
"""

import json
import pathlib

import numpy
import onnxruntime
import pandas
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
FLOWERS = [0, 60, 120]


def main():
    iris = load_iris()
    table = pandas.DataFrame(iris.data, columns=COLUMNS).astype("float32")
    species = iris.target_names[iris.target]
    columns = ColumnTransformer([("measurements", StandardScaler(), COLUMNS)])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=1000))
    accuracy = cross_val_score(pipeline, table, species, cv=10)
    print(f"accuracy in 10-fold cross-validation: {accuracy.mean():.3f} ± {accuracy.std():.3f}")
    pipeline.fit(table, species)

    # Plain tensors instead of a list of dictionaries for the probabilities: zipmap off.
    model = to_onnx(
        pipeline,
        initial_types=[(column, FloatTensorType([None, 1])) for column in COLUMNS],
        options={id(pipeline): {"zipmap": False}},
        target_opset=21,
    )
    model.ir_version = 10
    (HERE / "model.onnx").write_bytes(model.SerializeToString())
    write_request(table)


def write_request(table):
    rows = table.iloc[FLOWERS]
    inputs = {column: rows[[column]].to_numpy(numpy.float32) for column in COLUMNS}
    request = {
        "inputs": [
            {"name": name, "shape": list(data.shape), "datatype": "FP32", "data": [round(float(v), 6) for v in data.flat]}
            for name, data in inputs.items()
        ]
    }
    (HERE / "request.json").write_text(json.dumps(request, indent=1) + "\n")
    session = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = [
        {"name": name, "shape": list(data.shape), "data": data.flatten().tolist()}
        for name, data in zip(names, session.run(None, inputs))
    ]
    (HERE / "expected.json").write_text(json.dumps({"outputs": outputs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
