"""Writes fixture.json: predictions and targets with what scikit-learn 1.9.1 makes of them.

Run with numpy and scikit-learn installed:  python make.py
Numbers are written so that reading them as f32 gives the ones that scikit-learn was given.
"""

import json
import pathlib
import warnings

import numpy as np
from sklearn import metrics
from sklearn.linear_model import LogisticRegression, Ridge

rng = np.random.default_rng(20261123)


def exact(values):
    """Lists of numbers that are the same in f32 and f64."""
    return np.asarray(values, np.float32).astype(np.float64).tolist()


def classification(name, probabilities, actual):
    probabilities = np.asarray(probabilities, np.float32)
    rows, classes = probabilities.shape
    labels = probabilities.argmax(axis=1)
    average = {"average": "binary"} if classes == 2 else {"average": "macro"}
    epsilon = np.finfo(np.float32).eps
    # In f64, after the bounds of f32: scikit-learn would compute the logarithm of f32 in f32.
    bounded = np.clip(probabilities, epsilon, np.float32(1) - epsilon).astype(np.float64)
    expected = {
        "accuracy": metrics.accuracy_score(actual, labels),
        "precision": metrics.precision_score(actual, labels, zero_division=0, **average),
        "recall": metrics.recall_score(actual, labels, zero_division=0, **average),
        "f1": metrics.f1_score(actual, labels, zero_division=0, **average),
        "logLoss": metrics.log_loss(actual, y_proba=bounded, labels=range(classes)),
    }
    if len(np.unique(actual)) == classes:
        scores = probabilities[:, 1] if classes == 2 else probabilities.astype(np.float64)
        expected["rocAuc"] = metrics.roc_auc_score(actual, scores, multi_class="ovr", average="macro")
    return {
        "name": name,
        "task": "Binary" if classes == 2 else "Multiclass",
        "probabilities": exact(probabilities),
        "actual": np.asarray(actual).tolist(),
        "metrics": expected,
        "confusion": metrics.confusion_matrix(actual, labels, labels=range(classes)).tolist(),
    }


def regression(name, predicted, actual):
    predicted, actual = (np.asarray(values, np.float32).astype(np.float64) for values in (predicted, actual))
    expected = {
        "mse": metrics.mean_squared_error(actual, predicted),
        "rmse": metrics.root_mean_squared_error(actual, predicted),
        "mae": metrics.mean_absolute_error(actual, predicted),
    }
    if len(np.unique(actual)) > 1:
        expected["r2"] = metrics.r2_score(actual, predicted)
    return {"name": name, "predicted": exact(predicted), "actual": exact(actual), "metrics": expected}


def pairs(second):
    """The probabilities of two classes, as a model gives them in f32."""
    second = np.asarray(second, np.float32)
    return np.stack([np.float32(1) - second, second], axis=1)


def parts(rows, classes, of=1024):
    """Random probabilities in 1024ths, exact in f32, with many equal ones where `of` is small."""
    return rng.multinomial(of, rng.dirichlet(np.ones(classes), rows)).astype(np.float64) / of


def likely(probabilities):
    """Classes that follow the probabilities."""
    return np.array([rng.choice(len(row), p=row) for row in np.asarray(probabilities, np.float64)])


def classifications():
    second = rng.random(150).astype(np.float32)
    yield classification("random", pairs(second), (rng.random(150) < second).astype(int))
    second = rng.integers(0, 9, 120) / 8
    yield classification("ties", pairs(second), (rng.random(120) < second).astype(int))
    second = rng.random(200) * 0.6
    yield classification("imbalanced", pairs(second), (rng.random(200) < second / 10).astype(int))
    actual = rng.integers(0, 2, 40)
    yield classification("perfect", pairs(actual), actual)
    yield classification("always wrong", pairs(1 - actual), actual)
    yield classification("constant", pairs(np.full(40, 0.3)), actual)
    yield classification("undecided", pairs(np.full(40, 0.5)), actual)
    yield classification("one class only", pairs(rng.random(20)), np.zeros(20, int))
    yield classification("one row", pairs([0.7]), [1])
    probabilities = parts(150, 3)
    yield classification("three classes", probabilities, likely(probabilities))
    probabilities = parts(120, 5, of=4)
    actual = likely(probabilities)
    actual[:5] = range(5)
    yield classification("ties of five classes", probabilities, actual)
    probabilities = parts(90, 4)
    actual = rng.choice(4, 90, p=[0.9, 0.05, 0.03, 0.02])
    actual[:4] = range(4)
    yield classification("imbalanced classes", probabilities, actual)
    probabilities = np.concatenate([parts(60, 3), np.zeros((60, 1))], axis=1)
    yield classification("class that never occurs", probabilities, likely(probabilities[:, :3]))
    actual = rng.integers(0, 3, 30)
    yield classification("perfect classes", np.eye(3)[actual], actual)


def regressions():
    actual = rng.normal(size=150)
    yield regression("random", actual + rng.normal(size=150) * 0.5, actual)
    actual = rng.normal(size=100) * 1e4 + 1e6
    yield regression("far from zero", actual + rng.normal(size=100) * 1e3, actual)
    yield regression("unrelated", rng.normal(size=50), rng.normal(size=50) * 1e-3)
    yield regression("perfect", [1.5, -2.25, 3.0], [1.5, -2.25, 3.0])
    yield regression("constant target", [0.2, 0.3, 0.4], [0.1, 0.1, 0.1])
    yield regression("mean", np.full(4, 2.5), [1, 2, 3, 4])
    yield regression("one row", [1.0], [3.0])


def standardised(rows, columns):
    inputs = rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns))
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    return np.asarray(np.round(inputs, 4), np.float32).astype(np.float64)


def logistic(name, inputs, actual, unseen):
    model = LogisticRegression(C=1.0, tol=1e-10, max_iter=100_000).fit(inputs, actual)
    return {
        "name": name,
        "inputs": exact(inputs),
        "classes": len(model.classes_),
        "actual": actual.tolist(),
        "unseen": exact(unseen),
        "probabilities": model.predict_proba(unseen).tolist(),
    }


def ridge(name, inputs, actual, unseen):
    actual = np.asarray(actual, np.float32).astype(np.float64)
    model = Ridge(alpha=1.0).fit(inputs, actual)
    return {
        "name": name,
        "inputs": exact(inputs),
        "numbers": exact(actual),
        "unseen": exact(unseen),
        "predicted": model.predict(unseen).tolist(),
    }


def logistics():
    inputs, unseen = standardised(80, 6), standardised(12, 6)
    score = inputs @ rng.normal(size=6)
    yield logistic("two classes", inputs, (score + rng.logistic(size=80) > 0.5).astype(int), unseen)
    yield logistic("two classes apart", inputs, (score > 0).astype(int), unseen)
    yield logistic("a rare class", inputs, (score > np.sort(score)[-5]).astype(int), unseen)
    scores = inputs @ rng.normal(size=(6, 4)) + rng.gumbel(size=(80, 4))
    yield logistic("four classes", inputs, scores.argmax(axis=1), unseen)
    inputs, unseen = standardised(20, 40), standardised(12, 40)
    yield logistic("more columns than rows", inputs, rng.integers(0, 3, 20), unseen)


def ridges():
    inputs, unseen = standardised(60, 5), standardised(12, 5)
    yield ridge("numbers", inputs, inputs @ rng.normal(size=5) + rng.normal(size=60), unseen)
    yield ridge("numbers far from zero", inputs, (inputs @ rng.normal(size=5)) * 100 + 5_000, unseen)
    # Not standardised, one column twice.
    inputs = np.asarray(rng.integers(0, 50, (40, 4)), np.float64)
    inputs[:, 3] = inputs[:, 0]
    yield ridge("equal columns", inputs, inputs[:, 0] * 2 + rng.normal(size=40), inputs[:10] + 1)
    inputs, unseen = standardised(20, 40), standardised(12, 40)
    yield ridge("more columns than rows", inputs, rng.normal(size=20), unseen)


warnings.simplefilter("error")
# Two f32 probabilities add up to one only nearly.
warnings.filterwarnings("ignore", message="The y_prob values do not sum to one")
fixture = {
    "classification": list(classifications()),
    "regression": list(regressions()),
    "logistic": list(logistics()),
    "ridge": list(ridges()),
}
path = pathlib.Path(__file__).with_name("fixture.json")
path.write_text(json.dumps(fixture, separators=(",", ":")) + "\n")
print(path, path.stat().st_size, "bytes")
