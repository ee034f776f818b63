"""Writes iris.csv, wine.csv and scores.json: what scikit-learn's network achieves on five small data sets.

Run it after `pip install scikit-learn==1.9.1`:  python make.py
"""

import csv
import json
import pathlib
import warnings

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

HERE = pathlib.Path(__file__).parent
SPLITS = 10

# All 30 epochs are run: no early stopping, and no stopping because the loss has settled.
NETWORK = {
    "hidden_layer_sizes": (128,),
    "activation": "relu",
    "solver": "adam",
    "learning_rate_init": 1e-3,
    "batch_size": 32,
    "max_iter": 30,
    "n_iter_no_change": 31,
}


def write(name, data):
    """The rows of a set as CSV; the last column is the class's name."""
    columns = [column.removesuffix(" (cm)").replace(" ", "_").replace("/", "_") for column in data.feature_names]
    with open(HERE / name, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*columns, "target"])
        for row, target in zip(data.data.tolist(), data.target.tolist()):
            writer.writerow([*(f"{value:.15g}" for value in row), data.target_names[target]])


def scores(inputs, targets, tests, network, linear):
    """R² or accuracy of both on the test rows of each split, with a scale from the training rows."""
    regression = isinstance(network(0), MLPRegressor)
    found = {"network": [], "linear": []}
    for index, test in enumerate(tests):
        train = np.setdiff1d(np.arange(len(targets)), test)
        scaler = StandardScaler().fit(inputs[train])
        center, spread = (targets[train].mean(), targets[train].std()) if regression else (0, 1)
        scaled = (targets - center) / spread if regression else targets
        for name, model in ("network", network(index)), ("linear", linear()):
            model.fit(scaler.transform(inputs[train]), scaled[train])
            found[name].append(model.score(scaler.transform(inputs[test]), scaled[test]))
    return found


def summary(values):
    return {"mean": float(np.mean(values)), "deviation": float(np.std(values))}


def entry(name, data, target, metric, bunch):
    inputs, targets = bunch.data, bunch.target
    if metric == "r2":
        splitter = ShuffleSplit(SPLITS, test_size=0.2, random_state=7)
        models = lambda seed: MLPRegressor(**NETWORK, random_state=seed), Ridge
    else:
        splitter = StratifiedShuffleSplit(SPLITS, test_size=0.2, random_state=7)
        models = lambda seed: MLPClassifier(**NETWORK, random_state=seed), lambda: LogisticRegression(max_iter=5_000)
    tests = [np.sort(test) for _, test in splitter.split(inputs, targets)]
    found = scores(inputs, targets, tests, *models)
    print(name, {model: summary(values) for model, values in found.items()})
    return {
        "name": name,
        "data": data,
        "target": target,
        "metric": metric,
        "network": summary(found["network"]),
        "linear": summary(found["linear"]),
        "tests": [test.tolist() for test in tests],
    }


def main():
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    iris, wine = load_iris(), load_wine()
    write("iris.csv", iris)
    write("wine.csv", wine)
    here = "crates/trainer/testdata/scores"
    sets = [
        entry("breast-cancer", "examples/breast-cancer/data.csv", "diagnosis", "accuracy", load_breast_cancer()),
        entry("iris", f"{here}/iris.csv", "target", "accuracy", iris),
        entry("wine", f"{here}/wine.csv", "target", "accuracy", wine),
        entry("digits", "examples/digits/data.csv", "digit", "accuracy", load_digits()),
        entry("diabetes", "examples/diabetes/data.csv", "progression", "r2", load_diabetes(scaled=False)),
    ]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in sets)
    (HERE / "scores.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
