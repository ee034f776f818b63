"""LitServe with the model."""

import os

import litserve
import numpy


class Bench(litserve.LitAPI):
    def setup(self, device):
        # In the worker, which is a process of its own.
        import runtime

        self.runtime = runtime

    def decode_request(self, request):
        return numpy.asarray(request["inputs"][0]["data"], numpy.float32)

    def batch(self, inputs):
        return numpy.stack(inputs)

    def predict(self, rows):
        return self.runtime.predict(rows)

    def unbatch(self, predictions):
        return list(predictions)

    def encode_response(self, prediction):
        return {"outputs": [self.runtime.output(prediction.reshape(1, 1))]}


if __name__ == "__main__":
    server = litserve.LitServer(Bench(max_batch_size=32, batch_timeout=0.002), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
