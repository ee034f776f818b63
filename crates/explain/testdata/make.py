"""Makes shapley.json and integrated_gradients.json: explanations by shap and captum of small networks with random weights.

    pip install shap==0.51.0 captum==0.9.0 torch numpy
    python make.py

Everything is computed in double precision. A layer is written as its weights, row after row of [inputs, units], and biases.
"""

import json
from pathlib import Path

import numpy as np
import shap
import torch
from captum.attr import IntegratedGradients

HERE = Path(__file__).parent


def layer(rng, inputs, units):
    return {
        "weights": rng.normal(0, 1.2 / np.sqrt(inputs), (inputs, units)).tolist(),
        "bias": rng.normal(0, 0.3, units).tolist(),
    }


def apply(layer, values):
    return values @ np.array(layer["weights"]) + np.array(layer["bias"])


def write(name, value):
    (HERE / name).write_text(json.dumps(value) + "\n")


def probability(network, features):
    hidden = np.tanh(apply(network[0], features))
    return 1 / (1 + np.exp(-apply(network[1], hidden)[:, 0]))


def exact(predict, background, rows):
    masker = shap.maskers.Independent(background, max_samples=len(background))
    found = shap.explainers.Exact(predict, masker)(rows)
    return found.base_values, found.values


def shapley():
    rng = np.random.default_rng(7)
    # Six numbers and a category of three texts, whose code becomes three features.
    network = [layer(rng, 9, 6), layer(rng, 6, 1)]

    def mixed(rows):
        one_hot = (rows[:, 6:7] == np.arange(3)).astype(float)
        return probability(network, np.hstack([rows[:, :6], one_hot]))

    def draw(count):
        return np.hstack([rng.normal(0, 1.5, (count, 6)), rng.integers(0, 3, (count, 1)).astype(float)])

    background, rows = draw(4), draw(3)
    base, values = exact(mixed, background, rows)
    columns = {
        "network": network,
        "background": background.tolist(),
        "rows": rows.tolist(),
        "base": np.broadcast_to(base, 3).tolist(),
        "predictions": mixed(rows).tolist(),
        "attributions": values.tolist(),
    }
    # Fourteen numbers against one row: too many to enumerate unless asked to.
    network = [layer(rng, 14, 8), layer(rng, 8, 1)]
    background, rows = rng.normal(0, 1, (1, 14)), rng.normal(0, 1.5, (2, 14))
    base, values = exact(lambda rows: probability(network, rows), background, rows)
    numbers = {
        "network": network,
        "background": background.tolist(),
        "rows": rows.tolist(),
        "base": np.broadcast_to(base, 2).tolist(),
        "predictions": probability(network, rows).tolist(),
        "attributions": values.tolist(),
    }
    write("shapley.json", {"columns": columns, "numbers": numbers})


def integrated_gradients():
    rng = np.random.default_rng(8)
    network = [layer(rng, 6, 8), layer(rng, 8, 5), layer(rng, 5, 3)]
    tensors = [(torch.tensor(one["weights"]), torch.tensor(one["bias"])) for one in network]

    def forward(features):
        (w1, b1), (w2, b2), (w3, b3) = tensors
        hidden = torch.relu(features @ w1 + b1)
        hidden = torch.tanh(hidden @ w2 + b2)
        return torch.softmax(hidden @ w3 + b3, dim=1)

    baseline, rows = rng.normal(0, 0.5, (1, 6)), rng.normal(0, 1.5, (3, 6))
    explainer = IntegratedGradients(forward)
    found = [
        explainer.attribute(
            torch.tensor(rows), torch.tensor(baseline), target=target, n_steps=64, method="riemann_middle"
        ).tolist()
        for target in range(3)
    ]
    write(
        "integrated_gradients.json",
        {
            "network": network,
            "baseline": baseline[0].tolist(),
            "rows": rows.tolist(),
            "steps": 64,
            "base": forward(torch.tensor(baseline))[0].tolist(),
            "predictions": forward(torch.tensor(rows)).tolist(),
            "attributions": found,
        },
    )


torch.set_default_dtype(torch.float64)
shapley()
integrated_gradients()
