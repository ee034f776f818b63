"""KServe's server with the model."""

import os

import uvicorn
from kserve import InferOutput, InferResponse, Model, ModelServer
from runtime import predict

# The server listens on every address and has no option for that; this machine is no server for others.
_init = uvicorn.Config.__init__


def _on_loopback(self, *positional, **named):
    named["host"] = "127.0.0.1"
    _init(self, *positional, **named)


uvicorn.Config.__init__ = _on_loopback


class Bench(Model):
    def __init__(self):
        super().__init__("bench")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        prediction = predict(payload.inputs[0].as_numpy())
        output = InferOutput(name="output", shape=list(prediction.shape), datatype="FP32")
        # As binary only where the client asks for it.
        binary = any((wanted.parameters or {}).get("binary_data") for wanted in payload.request_outputs or [])
        output.set_data_from_numpy(prediction, binary_data=binary)
        return InferResponse(response_id=payload.id or "", model_name=self.name, infer_outputs=[output])


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ["BENCH_PORT"]), enable_grpc=False, enable_docs_url=False).start([Bench()])
