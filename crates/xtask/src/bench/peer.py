"""PyTorch's side of `cargo xtask bench trainer`.

Takes the settings as one JSON argument, trains on the same file as crates/trainer/examples/bench.rs, one epoch at a time
with a pass over the held-out rows at its end, and prints one line of JSON. Batches are taken from tensors, without a
DataLoader: the fastest way that PyTorch has for data in memory.
"""

import json
import os
import resource
import sys
import time

import torch


def examples(settings):
    """Inputs [rows, features] and labels [rows] to learn from, and those that judge: views of the mapped file."""
    rows, features = [settings["training"], settings["heldOut"]], settings["features"]
    size = os.path.getsize(settings["file"]) // 4
    content = torch.from_file(settings["file"], size=size, dtype=torch.float32)
    inputs = content[: sum(rows) * features].view(sum(rows), features).split(rows)
    labels = content[sum(rows) * features :].split(rows)
    return zip(inputs, labels)


def main():
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    torch.manual_seed(settings["seed"])
    (inputs, labels), (held_inputs, held_labels) = examples(settings)

    network = torch.nn.Sequential(
        torch.nn.Linear(settings["features"], settings["units"]),
        torch.nn.ReLU(),
        torch.nn.Linear(settings["units"], 1),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=settings["fused"])
    loss_of = torch.nn.BCEWithLogitsLoss()

    seconds, accuracy = [], 0.0
    for _ in range(settings["epochs"]):
        begin = time.process_time()
        for batch in torch.randperm(settings["training"]).split(settings["batch"]):
            optimizer.zero_grad()
            loss_of(network(inputs[batch]).squeeze(1), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = network(held_inputs).squeeze(1)
            loss_of(logits, held_labels).item()
            accuracy = ((logits > 0) == (held_labels > 0.5)).float().mean().item()
        seconds.append(time.process_time() - begin)

    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    unit = 1 if sys.platform == "darwin" else 1024
    print(
        json.dumps(
            {
                "epochCpuSeconds": seconds,
                "accuracy": accuracy,
                "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
                "version": torch.__version__,
                "package": os.path.dirname(torch.__file__),
                "environment": os.path.dirname(os.path.dirname(torch.__file__)),
            }
        )
    )


main()
