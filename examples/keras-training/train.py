"""Trains a small Keras network on images of digits, as a container of yours does in a cluster.

Keras runs on PyTorch here (KERAS_BACKEND=torch, which the Dockerfile sets). On TensorFlow, a Normalization layer is exported into
a file that no server can use; Modelwright refuses it. Rescaling, as below, is fine on both.
"""

import json
import os
from pathlib import Path

import keras
import numpy as np
import onnx

DATA = Path(os.environ["ML_DATA_DIR"]) / "train"
OUT = Path(os.environ["ML_OUT_DIR"])
PROGRESS = Path(os.environ["ML_PROGRESS_FILE"])
CONFIG = json.loads(Path(os.environ["ML_CONFIG"]).read_text())


class Progress(keras.callbacks.Callback):
    """A line for every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        metrics = {"trainLoss": float(logs["loss"]), "valLoss": float(logs["val_loss"])}
        line = {"progressPercent": 100 * done // self.params["epochs"], "epoch": done, "metrics": metrics}
        with PROGRESS.open("a") as file:
            file.write(json.dumps(line) + "\n")


def main():
    keras.utils.set_random_seed(CONFIG.get("seed", 7))
    tables = [np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.float32) for path in sorted(DATA.rglob("*.csv"))]
    table = np.random.default_rng(CONFIG.get("seed", 7)).permutation(np.concatenate(tables))
    pixels, digits = table[:, :64], table[:, 64].astype(int)
    held_out = len(table) // 5

    model = keras.Sequential(
        [
            keras.Input((64,), name="pixels"),
            keras.layers.Rescaling(scale=1 / 16),
            keras.layers.Dense(CONFIG.get("units", 64), activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    validation = (pixels[:held_out], digits[:held_out])
    model.fit(
        pixels[held_out:],
        digits[held_out:],
        validation_data=validation,
        epochs=CONFIG.get("epochs", 20),
        callbacks=[Progress()],
        verbose=0,
    )
    loss, accuracy = model.evaluate(*validation, verbose=0)
    frequent = np.bincount(digits[:held_out]).max() / held_out
    print(f"valAccuracy {accuracy:.4f}, always the most frequent digit {frequent:.4f}", flush=True)
    metrics = {"metrics": {"valAccuracy": float(accuracy), "valLoss": float(loss)}, "baseline": {"valAccuracy": float(frequent)}}
    (OUT / "metrics.json").write_text(json.dumps(metrics))

    model.export(OUT / "model.onnx", format="onnx", verbose=False)
    graph = onnx.load(OUT / "model.onnx", load_external_data=False).graph
    few = pixels[:10]
    answers = keras.ops.convert_to_numpy(model(few))
    samples = {
        "inputs": [{"name": graph.input[0].name, "datatype": "FP32", "shape": list(few.shape), "data": few.tolist()}],
        "outputs": [{"name": graph.output[0].name, "datatype": "FP32", "shape": list(answers.shape), "data": answers.tolist()}],
    }
    (OUT / "samples.json").write_text(json.dumps(samples))


if __name__ == "__main__":
    main()
