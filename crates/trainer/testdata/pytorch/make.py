"""Makes the files beside this one: what PyTorch makes of small networks in 50 steps.

    python3 -m pip install torch==2.15.0 && python3 make.py

Each file has one loss: data, first weights, the rows of each step, and for each optimizer the final weights. The trainer's
tests start from the same weights, take the same rows, and must end at the same weights to 1e-5.

PyTorch computes in double precision here, so that its rounding is no part of the difference.
"""

import json
import pathlib

import torch
from torch import nn
from torch.nn import functional

HERE = pathlib.Path(__file__).parent
ROWS, INPUTS, UNITS, STEPS, BATCH = 40, 6, 5, 50, 8

ADAM = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
OPTIMIZERS = {
    "SGD": (0.05, "Sgd", {"momentum": 0.0, "nesterov": False}),
    "SGD with momentum": (0.02, "Sgd", {"momentum": 0.9, "nesterov": False}),
    "SGD with Nesterov momentum": (0.02, "Sgd", {"momentum": 0.9, "nesterov": True}),
    "Adam": (0.01, "Adam", ADAM),
    "AdamW": (0.01, "AdamW", {**ADAM, "weightDecay": 0.1}),
    "RMSProp": (0.005, "RmsProp", {"rho": 0.99, "epsilon": 1e-8, "momentum": 0.0}),
    "RMSProp with momentum": (0.002, "RmsProp", {"rho": 0.9, "epsilon": 1e-6, "momentum": 0.8}),
}
ACTIVATIONS = {"Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid, "Gelu": nn.GELU, "Relu": nn.ReLU, "Linear": nn.Identity}


def optimizer(parameters, rate, kind, settings):
    momentum = settings.get("momentum", 0.0)
    if kind == "Sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, nesterov=settings["nesterov"])
    if kind == "RmsProp":
        return torch.optim.RMSprop(
            parameters, lr=rate, alpha=settings["rho"], eps=settings["epsilon"], momentum=momentum
        )
    rest = {"betas": (settings["beta1"], settings["beta2"]), "eps": settings["epsilon"]}
    if kind == "Adam":
        return torch.optim.Adam(parameters, lr=rate, **rest)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=settings["weightDecay"], **rest)


def weighted_binary(outputs, targets, weights):
    losses = functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.double(), reduction="none")
    rows = torch.ones_like(losses) if weights is None else weights[targets]
    return (rows * losses).sum() / rows.sum()


LOSSES = {
    "MSE": (1, "Tanh", lambda outputs, targets, _: functional.mse_loss(outputs[:, 0], targets)),
    "MAE": (1, "Sigmoid", lambda outputs, targets, _: functional.l1_loss(outputs[:, 0], targets)),
    "Huber": (1, "Gelu", lambda outputs, targets, _: functional.huber_loss(outputs[:, 0], targets, delta=1.0)),
    "BinaryCrossEntropy": (1, "Relu", weighted_binary),
    "CategoricalCrossEntropy": (
        3,
        "Linear",
        lambda outputs, targets, weights: functional.cross_entropy(outputs, targets, weight=weights),
    ),
}


def single(tensor):
    """The numbers of a tensor, each with the digits of single precision."""
    return [float(f"{value:.9g}") for value in tensor.flatten().tolist()]


def layers(network):
    linear = [module for module in network if isinstance(module, nn.Linear)]
    return [{"weights": single(module.weight.detach().t()), "bias": single(module.bias.detach())} for module in linear]


def fixture(loss, seed):
    torch.manual_seed(seed)
    outputs, activation, measure = LOSSES[loss]
    inputs = torch.randn(ROWS, INPUTS).double()
    signal = inputs[:, 0] - 2 * inputs[:, 1] * inputs[:, 2] + 0.3 * torch.randn(ROWS).double()
    if loss == "BinaryCrossEntropy":
        targets = (signal > 0).long()
    elif loss == "CategoricalCrossEntropy":
        targets = (signal > -1).long() + (signal > 1).long()
    else:
        targets = signal.float().double()

    def network():
        torch.manual_seed(seed + 1)
        made = nn.Sequential(nn.Linear(INPUTS, UNITS), ACTIVATIONS[activation](), nn.Linear(UNITS, outputs))
        return made.double()

    batches = [torch.randperm(ROWS)[:BATCH].tolist() for _ in range(STEPS)]
    cases = [(name, *settings, None, 0.0) for name, settings in OPTIMIZERS.items()]
    cases.append(("Adam with l2", *OPTIMIZERS["Adam"], None, 0.01))
    if loss == "BinaryCrossEntropy":
        cases.append(("Adam with class weights", *OPTIMIZERS["Adam"], [0.5, 3.0], 0.0))
    if loss == "CategoricalCrossEntropy":
        cases.append(("Adam with class weights", *OPTIMIZERS["Adam"], [0.5, 3.0, 1.0], 0.0))

    finished = []
    for name, rate, kind, settings, weights, l2 in cases:
        trained = network()
        steps = optimizer(trained.parameters(), rate, kind, settings)
        for rows in batches:
            steps.zero_grad()
            class_weights = None if weights is None else torch.tensor(weights).double()
            value = measure(trained(inputs[rows]), targets[rows], class_weights)
            (value + l2 * (trained[0].weight ** 2).sum()).backward()
            steps.step()
        finished.append({
            "name": name,
            "optimizer": {"learningRate": rate, "method": {kind: settings}},
            "classWeights": weights,
            "l2": l2,
            "layers": layers(trained),
        })
    return {
        "loss": loss,
        "activation": activation,
        "inputs": single(inputs),
        "targets": targets.tolist() if targets.dtype == torch.long else single(targets),
        "layers": layers(network()),
        "batches": batches,
        "cases": finished,
    }


if __name__ == "__main__":
    torch.set_default_dtype(torch.float32)
    for seed, loss in enumerate(LOSSES):
        (HERE / f"{loss}.json").write_text(json.dumps(fixture(loss, 10 * seed)) + "\n")
