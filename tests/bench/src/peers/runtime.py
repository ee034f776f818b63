"""The model as every Python peer runs it: one session with one thread that does not spin, which is its fastest here."""

import os

import numpy
import onnxruntime

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_options.inter_op_num_threads = 1
_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
_session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], _options, providers=["CPUExecutionProvider"])


def predict(rows: numpy.ndarray) -> numpy.ndarray:
    """Rows of 1000 FP32 numbers to one prediction each, `[N, 1]`."""
    return _session.run(None, {"input": rows})[0]


def output(prediction: numpy.ndarray) -> dict:
    """A tensor of the V2 protocol, for servers that leave the body to their user."""
    return {"name": "output", "datatype": "FP32", "shape": list(prediction.shape), "data": prediction.ravel().tolist()}
