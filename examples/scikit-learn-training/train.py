"""Trains a scikit-learn pipeline on columns of numbers and texts, as a container of yours does in a cluster."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

DATA = Path(os.environ["ML_DATA_DIR"]) / "train"
OUT = Path(os.environ["ML_OUT_DIR"])
CONFIG = json.loads(Path(os.environ["ML_CONFIG"]).read_text())
TEXTS = ["island", "sex"]


def main():
    seed = CONFIG.get("seed", 7)
    table = pd.concat([pd.read_csv(path) for path in sorted(DATA.rglob("*.csv"))])
    labels, table = table.pop("species").to_numpy(str), table.drop(columns="year")
    numbers = [name for name in table if name not in TEXTS]
    # A text that is missing is a text like any other; a number that is missing becomes the median.
    table[TEXTS] = table[TEXTS].fillna("").astype(object)
    table[numbers] = table[numbers].astype(np.float32)
    train, validation, train_labels, validation_labels = train_test_split(
        table, labels, test_size=0.2, random_state=seed, stratify=labels
    )
    model = make_pipeline(
        ColumnTransformer(
            [
                ("numbers", SimpleImputer(strategy="median"), numbers),
                ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
            ],
            # The form that ONNX has; a sparse matrix has none.
            sparse_threshold=0,
        ),
        GradientBoostingClassifier(n_estimators=CONFIG.get("trees", 50), random_state=seed),
    )
    model.fit(train, train_labels)

    def measure(classifier):
        answers = classifier.predict(validation)
        return {
            "valAccuracy": accuracy_score(validation_labels, answers),
            "valF1": f1_score(validation_labels, answers, average="macro", zero_division=0),
        }

    metrics = {"metrics": measure(model), "baseline": measure(DummyClassifier().fit(train, train_labels))}
    print(json.dumps(metrics), flush=True)
    (OUT / "metrics.json").write_text(json.dumps(metrics))

    # One input for each column, so that requests name them.
    kinds = [(name, StringTensorType([None, 1]) if name in TEXTS else FloatTensorType([None, 1])) for name in table]
    exported = to_onnx(model, initial_types=kinds, options={"zipmap": False}, target_opset={"": 21, "ai.onnx.ml": 3})
    (OUT / "model.onnx").write_bytes(exported.SerializeToString())

    few = validation.head(10)
    tensor = lambda name, datatype, shape, data: {"name": name, "datatype": datatype, "shape": shape, "data": data}
    samples = {
        "inputs": [
            tensor(name, "BYTES" if name in TEXTS else "FP32", [len(few), 1], [None if value != value else value for value in few[name].tolist()])
            for name in few
        ],
        "outputs": [
            tensor("label", "BYTES", [len(few)], model.predict(few).tolist()),
            tensor("probabilities", "FP32", [len(few), len(model.classes_)], model.predict_proba(few).tolist()),
        ],
    }
    (OUT / "samples.json").write_text(json.dumps(samples))


if __name__ == "__main__":
    main()
