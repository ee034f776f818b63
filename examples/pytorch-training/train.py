"""Trains a small network with PyTorch, as a container of yours does in a cluster: everything it needs comes by ML_* variables.

It tells its progress, leaves checkpoints and goes on from the newest when its pod was lost. Started by torchrun on several nodes,
each of them takes a share of the rows.
"""

import csv
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

DATA = Path(os.environ["ML_DATA_DIR"]) / "train"
OUT = Path(os.environ["ML_OUT_DIR"])
CHECKPOINT = Path(os.environ["ML_CHECKPOINT_DIR"]) / "state.pt"
PROGRESS = Path(os.environ["ML_PROGRESS_FILE"])
CONFIG = json.loads(Path(os.environ["ML_CONFIG"]).read_text())


def rows():
    """Every row of every file, and its class: 1 for malignant."""
    for path in sorted(DATA.rglob("*.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                label = float(row.pop("diagnosis") == "malignant")
                yield [float(value) for value in row.values()], label


class Network(torch.nn.Module):
    """The scaling is a part of the model, so that clients send the measurements as they are."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("mean", features.mean(0))
        self.register_buffer("deviation", features.std(0))
        width = features.shape[1]
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(width, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1), torch.nn.Flatten(0)
        )

    def forward(self, features):
        """A logit while it is trained, as the loss wants it, and a probability once it is not."""
        logits = self.layers((features - self.mean) / self.deviation)
        return logits if self.training else torch.sigmoid(logits)


class Training:
    """What is trained and how far it is: what a checkpoint holds."""

    def __init__(self, features, nodes):
        self.model = Network(features)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=CONFIG.get("learningRate", 0.01))
        self.epoch = 0
        self.saved = time.monotonic()
        self.restore(nodes)
        # Averages the gradients of all nodes after each step.
        self.trained = torch.nn.parallel.DistributedDataParallel(self.model) if nodes > 1 else self.model

    def restore(self, nodes):
        state = [torch.load(CHECKPOINT) if CHECKPOINT.exists() else None]
        if nodes > 1:
            # Only the first node has the checkpoint.
            dist.broadcast_object_list(state)
        if state[0]:
            self.model.load_state_dict(state[0]["model"])
            self.optimizer.load_state_dict(state[0]["optimizer"])
            self.epoch = state[0]["epoch"]
            print(f"going on after epoch {self.epoch}", flush=True)

    def save(self):
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": self.epoch}
        # Renamed into place, so that nobody sees a half of it.
        torch.save(state, CHECKPOINT.with_suffix(".new"))
        CHECKPOINT.with_suffix(".new").rename(CHECKPOINT)
        self.saved = time.monotonic()

    def step(self, features, labels):
        self.trained.train()
        self.optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(self.trained(features), labels)
        loss.backward()
        self.optimizer.step()
        self.epoch += 1
        return loss.item()


def tell(epoch, epochs, loss):
    line = {"progressPercent": 100 * epoch // epochs, "epoch": epoch, "metrics": {"trainLoss": loss}}
    with PROGRESS.open("a") as file:
        file.write(json.dumps(line) + "\n")


def train(training, features, labels, is_first):
    """Trains to the end, or to a checkpoint where the pod is told to end or another node is lost."""
    told_to_end = []
    signal.signal(signal.SIGTERM, lambda *_: told_to_end.append(True))
    epochs = CONFIG.get("epochs", 100)
    # Less often than the agent looks, every 5 seconds: it brings out what did not change between two looks.
    seconds = CONFIG.get("checkpointSeconds", 30)
    try:
        while training.epoch < epochs and not told_to_end:
            loss = training.step(features, labels)
            if is_first and training.epoch % max(1, epochs // 100) == 0:
                tell(training.epoch, epochs, loss)
            if is_first and time.monotonic() - training.saved > seconds:
                training.save()
    except RuntimeError as error:
        # What the others say of a lost node. This step changed nothing yet.
        if not (dist.is_initialized() or told_to_end):
            raise
        print(f"lost another node: {error}", flush=True)
        told_to_end.append(True)
    if told_to_end:
        if is_first:
            training.save()
        print(f"ends after epoch {training.epoch}", flush=True)
        sys.exit(143)


def main():
    if dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    rank, nodes = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    seed = CONFIG.get("seed", 7)
    torch.manual_seed(seed)
    data = list(rows())
    random.Random(seed).shuffle(data)
    features = torch.tensor([row for row, _ in data])
    labels = torch.tensor([label for _, label in data])
    held_out = len(data) // 5
    validation = slice(0, held_out)
    share = slice(held_out + rank, None, nodes)

    training = Training(features[held_out:], nodes)
    train(training, features[share], labels[share], rank == 0)
    if rank != 0:
        print(f"rank {rank} of {nodes} is done", flush=True)
        return

    model = training.model.eval()
    with torch.no_grad():
        answers = model(features[validation])
    accuracy = ((answers > 0.5) == (labels[validation] > 0.5)).float().mean().item()
    majority = max(labels[validation].mean().item(), 1 - labels[validation].mean().item())
    print(f"valAccuracy {accuracy:.4f}, always the more frequent class {majority:.4f}", flush=True)

    torch.onnx.export(
        model,
        (features[:2],),
        OUT / "model.onnx",
        input_names=["features"],
        output_names=["probability"],
        dynamic_shapes={"features": {0: torch.export.Dim("rows")}},
        dynamo=True,
        external_data=False,
    )
    metrics = {"metrics": {"valAccuracy": accuracy}, "baseline": {"valAccuracy": majority}}
    (OUT / "metrics.json").write_text(json.dumps(metrics))
    # What the model must answer, so that a faulty export is found before it is served.
    few = 10
    samples = {
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [few, features.shape[1]], "data": features[:few].tolist()}],
        "outputs": [{"name": "probability", "datatype": "FP32", "shape": [few], "data": answers[:few].tolist()}],
    }
    (OUT / "samples.json").write_text(json.dumps(samples))


if __name__ == "__main__":
    main()
