"""The model for Triton's Python backend."""

import os
import sys

# The backend starts an interpreter that knows nothing of the environment it was installed in.
sys.path[:0] = os.environ["BENCH_PYTHON_PATH"].split(":")

import numpy
import triton_python_backend_utils as utils
from runtime import predict


class TritonPythonModel:
    def execute(self, requests):
        rows = [utils.get_input_tensor_by_name(request, "input").as_numpy() for request in requests]
        predictions = predict(numpy.concatenate(rows))
        responses, start = [], 0
        for each in rows:
            part = predictions[start : start + len(each)]
            start += len(each)
            responses.append(utils.InferenceResponse([utils.Tensor("output", part)]))
        return responses
