"""KServe's REST and gRPC clients, unchanged."""

import unittest

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

import models
from models import A, B, SAMPLES


def tensor(name: str, array: np.ndarray, datatype: str, binary: bool) -> InferInput:
    value = InferInput(name, list(array.shape), datatype)
    value.set_data_from_numpy(array, binary_data=binary)
    return value


def add_sub(binary: bool, **named) -> InferRequest:
    inputs = [tensor("a", A, "FP32", binary), tensor("b", B, "FP32", binary)]
    return InferRequest("add-sub", inputs, **named)


class KServe(unittest.IsolatedAsyncioTestCase):
    """What the tests of both transports share."""

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(models.start())

    def assert_sum_and_difference(self, response):
        self.assertEqual(response.model_name, "add-sub")
        outputs = {output.name: output.as_numpy() for output in response.outputs}
        np.testing.assert_array_equal(outputs["sum"], A + B)
        np.testing.assert_array_equal(outputs["difference"], A - B)

    def assert_same(self, output, datatype: str, sample: np.ndarray):
        actual = output.as_numpy()
        self.assertEqual((output.name, output.datatype, actual.shape), ("y", datatype, sample.shape))
        if datatype == "BYTES":
            texts = [value.decode() if isinstance(value, bytes) else value for value in actual.flat]
            self.assertEqual(texts, list(sample.flat))
        else:
            self.assertEqual((actual.dtype, actual.tobytes()), (sample.dtype, sample.tobytes()))


class KServeRest(KServe):
    async def asyncSetUp(self):
        self.url = f"http://{self.server.address}"
        self.v1 = await self.enterAsyncContext(InferenceRESTClient(RESTConfig(protocol="v1")))
        self.v2 = await self.enterAsyncContext(InferenceRESTClient(RESTConfig(protocol="v2")))

    async def test_server_and_models_are_live_and_ready(self):
        self.assertTrue(await self.v2.is_server_live(self.url))
        self.assertTrue(await self.v2.is_server_ready(self.url))
        for client in (self.v1, self.v2):
            self.assertTrue(await client.is_model_ready(self.url, "add-sub"))
        self.assertFalse(await self.v2.is_model_ready(self.url, "none"))

    async def test_v1_server_is_live(self):
        self.assertTrue(await self.v1.is_server_live(self.url))

    async def test_infer_in_json_and_in_binary(self):
        for binary in (True, False):
            with self.subTest(binary=binary):
                response = await self.v2.infer(self.url, add_sub(binary, request_id="the id"), model_name="add-sub")
                self.assertEqual(response.id, "the id")
                self.assert_sum_and_difference(response)

    async def test_infer_with_binary_outputs(self):
        asked = [RequestedOutput(name, {"binary_data": True}) for name in ("sum", "difference")]
        for named in ({"request_outputs": asked}, {"parameters": {"binary_data_output": True}}):
            for binary in (True, False):
                headers = {}
                request = add_sub(binary, **named)
                response = await self.v2.infer(self.url, request, model_name="add-sub", response_headers=headers)
                self.assertIn("inference-header-content-length", headers)
                self.assert_sum_and_difference(response)

    async def test_every_datatype(self):
        for datatype, sample in SAMPLES.items():
            if datatype == "BF16":
                continue  # the client does not know it
            for binary in (True, False):
                if datatype == "FP16" and not binary:
                    continue  # the client refuses to send it as JSON
                with self.subTest(datatype, binary=binary):
                    name = f"identity-{datatype.lower()}"
                    request = InferRequest(
                        name,
                        [tensor("x", sample, datatype, binary)],
                        request_outputs=[RequestedOutput("y", {"binary_data": binary})],
                    )
                    response = await self.v2.infer(self.url, request, model_name=name)
                    self.assert_same(response.outputs[0], datatype, sample)

    async def test_request_of_plain_dictionaries(self):
        data = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [[1, 2, 3]]}]}
        response = await self.v2.infer(self.url, data, model_name="linear")
        self.assertEqual(response.outputs[0].as_numpy().tolist(), [[-1.5]])

    async def test_predict(self):
        answer = await self.v1.infer(self.url, {"instances": [[1, 2, 3], [0, 0, 1]]}, model_name="linear")
        self.assertEqual(np.ravel(answer["predictions"]).tolist(), [-1.5, 0.5])

    async def test_explain(self):
        answer = await self.v1.explain(self.url, "linear", {"instances": [[1, 2, 3], [0, 0, 1]]})
        self.assertEqual(len(answer["explanations"]), 2)

    async def test_errors_have_their_status_and_reason(self):
        async def refused(status: int, word: str, call):
            with self.assertRaises(httpx.HTTPStatusError) as raised:
                await call
            self.assertEqual(raised.exception.response.status_code, status)
            self.assertIn(word, str(raised.exception))

        await refused(404, '"none"', self.v2.infer(self.url, add_sub(False), model_name="none"))
        await refused(404, '"none"', self.v1.infer(self.url, {"instances": [[1, 2, 3]]}, model_name="none"))
        await refused(404, '"none"', self.v1.explain(self.url, "none", {"instances": [[1, 2, 3]]}))
        await refused(404, '"none"', self.v1.is_model_ready(self.url, "none"))
        await refused(400, "instances", self.v1.infer(self.url, {"instances": [[1, 2]]}, model_name="linear"))
        for binary in (True, False):
            one = InferRequest("add-sub", [tensor("a", A, "FP32", binary)])
            await refused(400, 'input "b"', self.v2.infer(self.url, one, model_name="add-sub"))


class KServeGrpc(KServe):
    async def asyncSetUp(self):
        self.client = await self.enterAsyncContext(InferenceGRPCClient(self.server.address))

    async def test_server_and_models_are_live_and_ready(self):
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())
        self.assertTrue(await self.client.is_model_ready("add-sub"))

    async def test_infer_with_typed_and_with_raw_contents(self):
        for binary in (True, False):
            with self.subTest(binary=binary):
                response = await self.client.infer(add_sub(binary, request_id="the id"))
                self.assertEqual(response.id, "the id")
                self.assert_sum_and_difference(response)

    async def test_every_datatype(self):
        for datatype, sample in SAMPLES.items():
            if datatype == "BF16":
                continue  # the client does not know it
            for binary in (True, False):
                if datatype == "FP16" and not binary:
                    continue  # the protocol has no typed contents for it
                with self.subTest(datatype, binary=binary):
                    request = InferRequest(f"identity-{datatype.lower()}", [tensor("x", sample, datatype, binary)])
                    response = await self.client.infer(request)
                    self.assert_same(response.outputs[0], datatype, sample)

    async def test_errors_have_their_code_and_reason(self):
        async def refused(code: grpc.StatusCode, word: str, call):
            with self.assertLogs("kserve.trace"), self.assertRaises(grpc.RpcError) as raised:
                await call
            self.assertEqual(raised.exception.code(), code)
            self.assertIn(word, raised.exception.details())

        inputs = [tensor("x", A, "FP32", True)]
        await refused(grpc.StatusCode.NOT_FOUND, '"none"', self.client.infer(InferRequest("none", inputs)))
        await refused(grpc.StatusCode.NOT_FOUND, '"none"', self.client.is_model_ready("none"))
        for binary in (True, False):
            one = InferRequest("add-sub", [tensor("a", A, "FP32", binary)])
            await refused(grpc.StatusCode.INVALID_ARGUMENT, 'input "b"', self.client.infer(one))
