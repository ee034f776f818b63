"""Makes model.onnx and samples.json beside this script: what Keras on TensorFlow exports with a Normalization layer.

The export ends without an error, and the file is unusable: mean and variance of the layer became required inputs.

    pip install tensorflow-cpu==2.21.0 keras==3.15.1 tf2onnx==1.17.0 onnx
    KERAS_BACKEND=tensorflow python make.py
"""

import json
from pathlib import Path

import keras
import numpy as np
import onnx

HERE = Path(__file__).parent
random = np.random.default_rng(0)
rows = random.normal([3.0, -1.0, 10.0], [1.0, 2.0, 5.0], (64, 3)).astype(np.float32)
labels = (rows[:, 0] > rows[:, 1]).astype(np.float32)

keras.utils.set_random_seed(0)
normalization = keras.layers.Normalization()
normalization.adapt(rows)
model = keras.Sequential(
    [
        keras.Input((3,), name="features"),
        normalization,
        keras.layers.Dense(4, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer="adam", loss="binary_crossentropy")
model.fit(rows, labels, epochs=1, verbose=0)
model.export(HERE / "model.onnx", format="onnx", verbose=False)

some = rows[:5]
output = onnx.load(HERE / "model.onnx").graph.output[0].name
samples = {
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [5, 3], "data": some.flatten().tolist()}],
    "outputs": [
        {"name": output, "datatype": "FP32", "shape": [5, 1], "data": model.predict(some, verbose=0).flatten().tolist()}
    ],
}
(HERE / "samples.json").write_text(json.dumps(samples) + "\n")
