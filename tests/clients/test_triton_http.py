"""Triton's HTTP client, unchanged. It asks for binary outputs unless told otherwise, and sends no Content-Type."""

import unittest

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

import models
from models import A, SAMPLES
from triton_cases import TritonCases


class TritonHttp(TritonCases, unittest.TestCase):
    triton, triton_aio = triton, triton_aio
    NOT_FOUND, INVALID = "404", "400"
    OPTIONS = {"concurrency": 4}
    FORMS = ({"binary_data": True}, {"binary_data": False})

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
        self.assert_config(config)

    def test_statistics_count_what_was_asked(self):
        def statistics() -> dict:
            [of_model] = self.client.get_inference_statistics("identity-fp64")["model_stats"]
            return of_model

        before = statistics()
        self.client.infer("identity-fp64", [self.tensor("x", SAMPLES["FP64"], "FP64")])
        after = statistics()
        self.assertEqual(after["name"], "identity-fp64")
        self.assertEqual(after["inference_count"], before["inference_count"] + 1)
        self.assertEqual(after["execution_count"], before["execution_count"] + 1)
        success = after["inference_stats"]["success"]
        self.assertEqual(success["count"], before["inference_stats"]["success"]["count"] + 1)
        self.assertGreater(success["ns"], before["inference_stats"]["success"]["ns"])
        batches = after["batch_stats"]
        self.assertTrue(all(batch["batch_size"] > 0 for batch in batches))
        self.assertEqual(sum(batch["compute_infer"]["count"] for batch in batches), after["execution_count"])
        every = self.client.get_inference_statistics()["model_stats"]
        self.assertEqual({of_model["name"] for of_model in every}, self.server.ready)

    def test_repository_index_lists_models(self):
        index = {entry["name"]: entry["state"] for entry in self.client.get_model_repository_index()}
        self.assertEqual(index, {name: "READY" for name in self.server.ready})

    def test_json_and_binary_and_both_give_the_same(self):
        for inputs in (self.add_sub(binary_data=True), self.add_sub(binary_data=False), [*self.add_sub(binary_data=True)[:1], *self.add_sub(binary_data=False)[1:]]):
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
        result = self.client.infer("add-sub", self.add_sub())
        self.assert_sum_and_difference(result)
        self.assertEqual(result.get_output("sum")["parameters"]["binary_data_size"], A.nbytes)

    def test_every_datatype_in_binary(self):
        for datatype, sample in SAMPLES.items():
            with self.subTest(datatype):
                result = self.client.infer(f"identity-{datatype.lower()}", [self.tensor("x", sample, datatype)])
                self.assertEqual(result.get_output("y")["datatype"], datatype)
                self.assert_same(result.as_numpy("y"), sample)

    def test_every_datatype_in_json(self):
        for datatype, sample in SAMPLES.items():
            if datatype == "BF16":
                continue  # the client refuses to send it
            with self.subTest(datatype):
                output = triton.InferRequestedOutput("y", binary_data=False)
                inputs = [self.tensor("x", sample, datatype, binary_data=False)]
                result = self.client.infer(f"identity-{datatype.lower()}", inputs, outputs=[output])
                self.assert_same(result.as_numpy("y"), sample)

    def test_only_the_outputs_asked_for_are_sent_in_their_order(self):
        for names in (["difference"], ["difference", "sum"]):
            outputs = [triton.InferRequestedOutput(name) for name in names]
            response = self.client.infer("add-sub", self.add_sub(), outputs=outputs).get_response()
            self.assertEqual([output["name"] for output in response["outputs"]], names)

    def test_classification_names_the_highest(self):
        for binary in (True, False):
            output = triton.InferRequestedOutput("y", binary_data=binary, class_count=2)
            inputs = [self.tensor("x", models.SCORES, "FP32")]
            result = self.client.infer("scores", inputs, outputs=[output])
            self.assertEqual(result.get_output("y")["datatype"], "BYTES")
            self.assert_highest(result.as_numpy("y"))

    def test_id_and_version_come_back(self):
        version = self.client.get_model_metadata("add-sub")["versions"][0]
        response = self.client.infer("add-sub", self.add_sub(), model_version=version, request_id="the id").get_response()
        self.assertEqual(response["id"], "the id")
        self.assertEqual((response["model_name"], response["model_version"]), ("add-sub", version))
        self.assertNotIn("id", self.client.infer("add-sub", self.add_sub()).get_response())

    def test_timeout_is_kept(self):
        self.assert_sum_and_difference(self.client.infer("add-sub", self.add_sub(), timeout=60_000_000))
        rows = np.zeros((8192, 16), np.float32)
        inputs = [self.tensor("a", rows, "FP32"), self.tensor("b", rows, "FP32")]
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
                            [self.tensor("a", rows, "FP32", binary_data=binary), self.tensor("b", rows, "FP32", binary_data=binary)],
                            outputs=[triton.InferRequestedOutput("sum", binary_data=binary)],
                            request_compression_algorithm=request,
                            response_compression_algorithm=response,
                        )
                        np.testing.assert_array_equal(result.as_numpy("sum"), rows)

    def test_requests_at_once(self):
        pending = [self.client.async_infer("add-sub", self.add_sub(), request_id=str(index)) for index in range(32)]
        for index, request in enumerate(pending):
            result = request.get_result()
            self.assertEqual(result.get_response()["id"], str(index))
            self.assert_sum_and_difference(result)

    def test_error_of_a_request_among_others_is_its_own(self):
        good = self.client.async_infer("add-sub", self.add_sub())
        bad = self.client.async_infer("add-sub", self.add_sub()[:1])
        self.assert_sum_and_difference(good.get_result())
        self.assert_refused(self.INVALID, ['input "b"'], bad.get_result)

    def test_body_made_and_read_apart_from_the_client(self):
        body, length = triton.InferenceServerClient.generate_request_body(self.add_sub())
        headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
        response = self.client._post("v2/models/add-sub/infer", body, headers, None)
        length = int(response.get("Inference-Header-Content-Length"))
        result = triton.InferenceServerClient.parse_response_body(response.read(), header_length=length)
        self.assert_sum_and_difference(result)
