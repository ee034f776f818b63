"""BentoML's service with the model. The list `inputs` of the body is what it batches; it answers with a list."""

from __future__ import annotations

import typing

import bentoml
import numpy


@bentoml.service(workers=1, traffic={"timeout": 60})
class Bench:
    def __init__(self) -> None:
        import runtime

        self.runtime = runtime

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def infer(self, inputs: typing.List[typing.Dict[str, typing.Any]]) -> typing.List[typing.Dict[str, typing.Any]]:
        rows = numpy.asarray([tensor["data"] for tensor in inputs], numpy.float32)
        return [self.runtime.output(prediction.reshape(1, 1)) for prediction in self.runtime.predict(rows)]
