"""Trains the classifier of this example on Fisher's iris flowers and writes model.onnx, request.json, expected.json.

    python3 -m pip install -r requirements.txt
    python3 export.py

The same versions give the same file.
"""

import json
import pathlib

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

HERE = pathlib.Path(__file__).parent
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]

iris = load_iris(as_frame=True)
features = iris.data.astype(np.float32)
features.columns = COLUMNS
species = iris.target_names[iris.target]

# Missing values become the column's median; petals are also sorted into three sizes, one column for each (one-hot).
pipeline = make_pipeline(
    ColumnTransformer([
        ("measures", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), COLUMNS),
        ("sizes", make_pipeline(
            SimpleImputer(strategy="median"),
            KBinsDiscretizer(n_bins=3, encode="onehot-dense", strategy="quantile", quantile_method="averaged_inverted_cdf"),
        ), ["petal_length", "petal_width"]),
    ]),
    LogisticRegression(max_iter=1000),
)
scores = cross_val_score(pipeline, features, species, cv=5)
print(f"accuracy in 5-fold cross-validation: {scores.mean():.3f}")
pipeline.fit(features, species)

model = to_onnx(
    pipeline,
    # One input per column, so that a request can name them.
    initial_types=[(column, FloatTensorType([None, 1])) for column in COLUMNS],
    # Probabilities as a tensor; the default, a sequence of maps, fits no inference protocol.
    options={"zipmap": False},
    target_opset={"": 21, "ai.onnx.ml": 3},
    name="iris",
)
(HERE / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))

# Three flowers that the pipeline was trained on, one of each species.
rows = features.iloc[[0, 50, 149]]
inputs = {column: rows[[column]].to_numpy() for column in COLUMNS}
session = onnxruntime.InferenceSession(str(HERE / "model.onnx"), providers=["CPUExecutionProvider"])
label, probabilities = session.run(None, inputs)
names = [output.name for output in session.get_outputs()]
difference = np.abs(probabilities - pipeline.predict_proba(rows)).max()
print(f"largest difference from scikit-learn: {difference:.1e}")
assert difference < 1e-5 and list(label) == list(pipeline.predict(rows))



def shortest(array):
    """The shortest decimal that reads back as the same float32."""
    return [float(str(value)) for value in array.astype(np.float32).ravel()]


records = [dict(zip(COLUMNS, (float(str(value)) for value in row))) for row in rows.to_numpy()]
request = {
    "inputs": [
        {"name": column, "shape": [3, 1], "datatype": "FP32", "data": shortest(inputs[column])} for column in COLUMNS
    ]
}
outputs = [
    {"name": names[0], "shape": [3], "datatype": "BYTES", "data": list(label)},
    {"name": names[1], "shape": [3, 3], "datatype": "FP32", "data": shortest(probabilities)},
]
predictions = [
    {names[0]: word, names[1]: shortest(row)} for word, row in zip(label, probabilities)
]
expected = {
    "source": f"onnxruntime {onnxruntime.__version__}",
    "tolerance": 1e-5,
    "outputs": outputs,
    "predict": {"request": {"instances": records}, "response": {"predictions": predictions}},
}
for name, content in [("request.json", request), ("expected.json", expected)]:
    (HERE / name).write_text(json.dumps(content, indent=1) + "\n")
print(json.dumps(expected["predict"], indent=1))
