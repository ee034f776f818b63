"""Triton's HTTP client, unchanged. It asks for binary outputs unless told otherwise, and sends no Content-Type."""

import asyncio
import unittest

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

import models
from models import A, B, SAMPLES


def tensor(name: str, array: np.ndarray, datatype: str, binary: bool = True) -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def add_sub(binary: bool = True) -> list[triton.InferInput]:
    return [tensor("a", A, "FP32", binary), tensor("b", B, "FP32", binary)]


class TritonHttp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(models.start())
        cls.client = triton.InferenceServerClient(cls.server.address, concurrency=4)
        cls.addClassCleanup(cls.client.close)

    def assert_sum_and_difference(self, result):
        np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
        np.testing.assert_array_equal(result.as_numpy("difference"), A - B)

    def assert_refused(self, status: str, words: list[str], call, *arguments, **named):
        with self.assertRaises(InferenceServerException) as raised:
            call(*arguments, **named)
        self.assertEqual(raised.exception.status(), status, raised.exception)
        for word in words:
            self.assertIn(word, raised.exception.message())

    def test_server_is_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())

    def test_readiness_is_each_models_own(self):
        version = self.client.get_model_metadata("add-sub")["versions"][0]
        self.assertTrue(self.client.is_model_ready("add-sub"))
        self.assertTrue(self.client.is_model_ready("add-sub", version))
        self.assertFalse(self.client.is_model_ready("add-sub", "none"))
        self.assertFalse(self.client.is_model_ready("none"))

    def test_server_metadata_lists_extensions(self):
        metadata = self.client.get_server_metadata()
        self.assertEqual(metadata["name"], "modelwright")
        self.assertTrue(metadata["version"])
        wanted = {"binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"}
        self.assertLessEqual(wanted, {name.partition("(")[0] for name in metadata["extensions"]})

    def test_model_metadata_describes_tensors(self):
        metadata = self.client.get_model_metadata("add-sub")
        self.assertEqual(metadata["name"], "add-sub")
        self.assertEqual(metadata["platform"], "onnxruntime_onnx")
        values = metadata["inputs"] + metadata["outputs"]
        described = {value["name"]: (value["datatype"], value["shape"]) for value in values}
        self.assertEqual(described, {name: ("FP32", [-1, 16]) for name in ("a", "b", "sum", "difference")})

    def test_model_config_describes_tensors(self):
        config = self.client.get_model_config("add-sub")
        self.assertEqual(config["name"], "add-sub")
        self.assertEqual({value["name"] for value in config["input"]}, {"a", "b"})
        self.assertEqual({value["name"] for value in config["output"]}, {"sum", "difference"})
        self.assertEqual({value["data_type"] for value in config["input"]}, {"TYPE_FP32"})

    def test_statistics_count_what_was_asked(self):
        def statistics() -> dict:
            [of_model] = self.client.get_inference_statistics("identity-fp64")["model_stats"]
            return of_model

        before = statistics()
        self.client.infer("identity-fp64", [tensor("x", SAMPLES["FP64"], "FP64")])
        after = statistics()
        self.assertEqual(after["name"], "identity-fp64")
        self.assertEqual(after["inference_count"], before["inference_count"] + 1)
        self.assertEqual(after["execution_count"], before["execution_count"] + 1)
        success = after["inference_stats"]["success"]
        self.assertEqual(success["count"], before["inference_stats"]["success"]["count"] + 1)
        self.assertGreater(success["ns"], before["inference_stats"]["success"]["ns"])
        every = self.client.get_inference_statistics()["model_stats"]
        self.assertEqual({of_model["name"] for of_model in every}, self.server.ready)

    def test_repository_index_lists_models(self):
        index = {entry["name"]: entry["state"] for entry in self.client.get_model_repository_index()}
        self.assertEqual(index, {name: "READY" for name in self.server.ready})

    def test_models_cannot_be_controlled_on_the_data_port(self):
        for verb in (self.client.load_model, self.client.unload_model):
            with self.assertRaises(InferenceServerException):
                verb("add-sub")
        self.assertTrue(self.client.is_model_ready("add-sub"))

    def test_json_and_binary_and_both_give_the_same(self):
        for inputs in (add_sub(True), add_sub(False), [*add_sub(True)[:1], *add_sub(False)[1:]]):
            for binary in ((True, True), (False, False), (True, False), (False, True)):
                outputs = [
                    triton.InferRequestedOutput(name, binary_data=form)
                    for name, form in zip(("sum", "difference"), binary, strict=True)
                ]
                result = self.client.infer("add-sub", inputs, outputs=outputs)
                self.assert_sum_and_difference(result)
                for name, form in zip(("sum", "difference"), binary, strict=True):
                    self.assertEqual("data" in result.get_output(name), not form)

    def test_outputs_are_binary_unless_told_otherwise(self):
        result = self.client.infer("add-sub", add_sub())
        self.assert_sum_and_difference(result)
        self.assertEqual(result.get_output("sum")["parameters"]["binary_data_size"], A.nbytes)

    def test_every_datatype_in_binary(self):
        for datatype, sample in SAMPLES.items():
            with self.subTest(datatype):
                result = self.client.infer(f"identity-{datatype.lower()}", [tensor("x", sample, datatype)])
                self.assertEqual(result.get_output("y")["datatype"], datatype)
                self.assert_same(result.as_numpy("y"), sample)

    def test_every_datatype_in_json(self):
        for datatype, sample in SAMPLES.items():
            if datatype == "BF16":
                continue  # the client refuses to send it
            with self.subTest(datatype):
                output = triton.InferRequestedOutput("y", binary_data=False)
                inputs = [tensor("x", sample, datatype, binary=False)]
                result = self.client.infer(f"identity-{datatype.lower()}", inputs, outputs=[output])
                self.assert_same(result.as_numpy("y"), sample)

    def assert_same(self, actual: np.ndarray, sample: np.ndarray):
        self.assertEqual((actual.dtype, actual.shape), (sample.dtype, sample.shape))
        if sample.dtype == np.object_:
            texts = [value.decode() if isinstance(value, bytes) else value for value in actual.flat]
            self.assertEqual(texts, list(sample.flat))
        else:
            self.assertEqual(actual.tobytes(), sample.tobytes())

    def test_only_the_outputs_asked_for_are_sent_in_their_order(self):
        for names in (["difference"], ["difference", "sum"]):
            outputs = [triton.InferRequestedOutput(name) for name in names]
            response = self.client.infer("add-sub", add_sub(), outputs=outputs).get_response()
            self.assertEqual([output["name"] for output in response["outputs"]], names)

    def test_classification_names_the_highest(self):
        for binary in (True, False):
            output = triton.InferRequestedOutput("y", binary_data=binary, class_count=2)
            inputs = [tensor("x", models.SCORES, "FP32")]
            result = self.client.infer("scores", inputs, outputs=[output])
            self.assertEqual(result.get_output("y")["datatype"], "BYTES")
            rows = result.as_numpy("y")
            self.assertEqual(rows.shape, (2, 2))
            for row, scores, highest in zip(rows, models.SCORES, models.HIGHEST, strict=True):
                for text, place in zip(row, highest, strict=False):
                    text = text.decode() if isinstance(text, bytes) else text
                    value, index = text.split(":")[:2]
                    self.assertEqual(int(index), place)
                    self.assertAlmostEqual(float(value), scores[place], places=5)

    def test_id_and_version_come_back(self):
        version = self.client.get_model_metadata("add-sub")["versions"][0]
        response = self.client.infer("add-sub", add_sub(), model_version=version, request_id="the id").get_response()
        self.assertEqual(response["id"], "the id")
        self.assertEqual((response["model_name"], response["model_version"]), ("add-sub", version))
        self.assertNotIn("id", self.client.infer("add-sub", add_sub()).get_response())

    def test_parameters_that_mean_nothing_here_are_taken(self):
        parameters = {"mine": "value", "count": 3, "on": True}
        self.assert_sum_and_difference(self.client.infer("add-sub", add_sub(), parameters=parameters))

    def test_timeout_is_kept(self):
        self.assert_sum_and_difference(self.client.infer("add-sub", add_sub(), timeout=60_000_000))
        rows = np.zeros((8192, 16), np.float32)
        inputs = [tensor("a", rows, "FP32"), tensor("b", rows, "FP32")]
        with self.assertRaises(InferenceServerException) as raised:
            self.client.infer("add-sub", inputs, timeout=1)
        self.assertIn(raised.exception.status(), ("503", "504"))

    def test_compression_both_ways(self):
        rows = np.zeros((512, 16), np.float32)
        for request in (None, "gzip", "deflate"):
            for response in (None, "gzip", "deflate"):
                for binary in (True, False):
                    with self.subTest(request=request, response=response, binary=binary):
                        result = self.client.infer(
                            "add-sub",
                            [tensor("a", rows, "FP32", binary), tensor("b", rows, "FP32", binary)],
                            outputs=[triton.InferRequestedOutput("sum", binary_data=binary)],
                            request_compression_algorithm=request,
                            response_compression_algorithm=response,
                        )
                        np.testing.assert_array_equal(result.as_numpy("sum"), rows)

    def test_what_does_not_exist_is_not_found(self):
        self.assert_refused("404", ['"none"'], self.client.infer, "none", add_sub())
        self.assert_refused("404", ['"none"'], self.client.infer, "add-sub", add_sub(), model_version="none")
        self.assert_refused("404", ['"none"'], self.client.get_model_metadata, "none")
        self.assert_refused("404", ['"none"'], self.client.get_model_config, "none")
        self.assert_refused("404", ['"none"'], self.client.get_inference_statistics, "none")

    def test_what_does_not_fit_the_model_is_refused_by_name(self):
        def refused(words, inputs, **named):
            self.assert_refused("400", words, self.client.infer, "add-sub", inputs, **named)

        for binary in (True, False):
            a, b = add_sub(binary)
            wide = np.zeros((2, 16), np.float64)
            refused(['input "b"'], [a])
            refused(['"none"'], [a, b, tensor("none", A, "FP32", binary)])
            refused(['input "b"', "FP64", "FP32"], [a, tensor("b", wide, "FP64", binary)])
            refused(['input "b"'], [a, tensor("b", np.zeros((2, 15), np.float32), "FP32", binary)])
            refused(['input "b"'], [a, tensor("b", np.zeros(16, np.float32), "FP32", binary)])
            refused(['"none"'], [a, b], outputs=[triton.InferRequestedOutput("none", binary_data=binary)])

    def test_shared_memory_is_refused(self):
        shared = triton.InferInput("b", [2, 16], "FP32")
        shared.set_shared_memory("region", B.nbytes)
        self.assert_refused("400", ["shared memory"], self.client.infer, "add-sub", [add_sub()[0], shared])

    def test_requests_at_once(self):
        pending = [self.client.async_infer("add-sub", add_sub(), request_id=str(index)) for index in range(32)]
        for index, request in enumerate(pending):
            result = request.get_result()
            self.assertEqual(result.get_response()["id"], str(index))
            self.assert_sum_and_difference(result)

    def test_error_of_a_request_among_others_is_its_own(self):
        good = self.client.async_infer("add-sub", add_sub())
        bad = self.client.async_infer("add-sub", add_sub()[:1])
        self.assert_sum_and_difference(good.get_result())
        self.assert_refused("400", ['input "b"'], bad.get_result)

    def test_body_made_and_read_apart_from_the_client(self):
        body, length = triton.InferenceServerClient.generate_request_body(add_sub())
        headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
        response = self.client._post("v2/models/add-sub/infer", body, headers, None)
        length = int(response.get("Inference-Header-Content-Length"))
        result = triton.InferenceServerClient.parse_response_body(response.read(), header_length=length)
        self.assert_sum_and_difference(result)

    def test_asyncio_client(self):
        async def ask():
            async with triton_aio.InferenceServerClient(self.server.address) as client:
                self.assertTrue(await client.is_server_ready())
                return await asyncio.gather(*(client.infer("add-sub", add_sub()) for _ in range(8)))

        for result in asyncio.run(ask()):
            self.assert_sum_and_difference(result)
