"""Triton's gRPC client, unchanged. It sends tensors raw and reads nothing but raw outputs."""

import queue
import unittest

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

import models
from models import A, B, SAMPLES
from triton_cases import TritonCases

# For an answer that a callback brings; nothing is asserted about how long it takes.
PATIENCE = 60.0


class TritonGrpc(TritonCases, unittest.TestCase):
    triton, triton_aio = triton, triton_aio
    NOT_FOUND, INVALID = "StatusCode.NOT_FOUND", "StatusCode.INVALID_ARGUMENT"
    MORE_PARAMETERS = {"share": 0.5}

    def test_readiness_is_each_models_own(self):
        version = self.client.get_model_metadata("add-sub").versions[0]
        self.assertTrue(self.client.is_model_ready("add-sub"))
        self.assertTrue(self.client.is_model_ready("add-sub", version))
        self.assert_refused(self.NOT_FOUND, ['"none"'], self.client.is_model_ready, "add-sub", "none")
        self.assert_refused(self.NOT_FOUND, ['"none"'], self.client.is_model_ready, "none")

    def test_server_metadata_lists_extensions(self):
        metadata = self.client.get_server_metadata()
        self.assertEqual(metadata.name, "modelwright")
        self.assertTrue(metadata.version)
        extensions = {name.partition("(")[0] for name in metadata.extensions}
        wanted = {"classification", "model_configuration", "model_repository", "statistics"}
        self.assertLessEqual(wanted, extensions)

    def test_model_metadata_describes_tensors(self):
        metadata = self.client.get_model_metadata("add-sub")
        self.assertEqual((metadata.name, metadata.platform), ("add-sub", "onnxruntime_onnx"))
        described = {
            value.name: (value.datatype, list(value.shape)) for value in [*metadata.inputs, *metadata.outputs]
        }
        self.assertEqual(described, {name: ("FP32", [-1, 16]) for name in ("a", "b", "sum", "difference")})

    def test_model_config_describes_tensors(self):
        config = self.client.get_model_config("add-sub", as_json=True)["config"]
        self.assert_config(config)

    def test_statistics_count_what_was_asked(self):
        def statistics():
            [of_model] = self.client.get_inference_statistics("identity-fp64").model_stats
            return of_model

        before = statistics()
        self.client.infer("identity-fp64", [self.tensor("x", SAMPLES["FP64"], "FP64")])
        after = statistics()
        self.assertEqual(after.name, "identity-fp64")
        self.assertEqual(after.inference_count, before.inference_count + 1)
        self.assertEqual(after.execution_count, before.execution_count + 1)
        self.assertEqual(after.inference_stats.success.count, before.inference_stats.success.count + 1)
        self.assertGreater(after.inference_stats.success.ns, before.inference_stats.success.ns)
        self.assertTrue(all(batch.batch_size > 0 for batch in after.batch_stats))
        self.assertEqual(sum(batch.compute_infer.count for batch in after.batch_stats), after.execution_count)
        every = self.client.get_inference_statistics().model_stats
        self.assertEqual({of_model.name for of_model in every}, self.server.ready)

    def test_repository_index_lists_models(self):
        index = {entry.name: entry.state for entry in self.client.get_model_repository_index().models}
        self.assertEqual(index, {name: "READY" for name in self.server.ready})

    def test_every_datatype(self):
        for datatype, sample in SAMPLES.items():
            with self.subTest(datatype):
                result = self.client.infer(f"identity-{datatype.lower()}", [self.tensor("x", sample, datatype)])
                self.assertEqual(result.get_output("y").datatype, datatype)
                self.assert_same(result.as_numpy("y"), sample)

    def test_only_the_outputs_asked_for_are_sent_in_their_order(self):
        for names in (["difference"], ["difference", "sum"]):
            outputs = [triton.InferRequestedOutput(name) for name in names]
            result = self.client.infer("add-sub", self.add_sub(), outputs=outputs)
            self.assertEqual([output.name for output in result.get_response().outputs], names)
            np.testing.assert_array_equal(result.as_numpy("difference"), A - B)

    def test_classification_names_the_highest(self):
        output = triton.InferRequestedOutput("y", class_count=2)
        result = self.client.infer("scores", [self.tensor("x", models.SCORES, "FP32")], outputs=[output])
        self.assertEqual(result.get_output("y").datatype, "BYTES")
        self.assert_highest(result.as_numpy("y"))

    def test_id_and_version_come_back(self):
        version = self.client.get_model_metadata("add-sub").versions[0]
        result = self.client.infer("add-sub", self.add_sub(), model_version=version, request_id="the id")
        response = result.get_response()
        self.assertEqual(response.id, "the id")
        self.assertEqual((response.model_name, response.model_version), ("add-sub", version))

    def test_timeouts_are_kept(self):
        self.assert_sum_and_difference(
            self.client.infer("add-sub", self.add_sub(), timeout=60_000_000, client_timeout=60.0)
        )
        rows = np.zeros((8192, 16), np.float32)
        inputs = [self.tensor("a", rows, "FP32"), self.tensor("b", rows, "FP32")]
        self.assert_refused("StatusCode.DEADLINE_EXCEEDED", [], self.client.infer, "add-sub", inputs, timeout=1)
        self.assert_refused("StatusCode.DEADLINE_EXCEEDED", [], self.client.infer, "add-sub", inputs, client_timeout=1e-6)

    def test_compression(self):
        for algorithm in ("gzip", "deflate"):
            with self.subTest(algorithm):
                result = self.client.infer("add-sub", self.add_sub(), compression_algorithm=algorithm)
                self.assert_sum_and_difference(result)

    def test_messages_above_the_usual_limit(self):
        # gRPC's own is 4 MiB.
        rows = np.ones((100_000, 16), np.float32)
        result = self.client.infer("add-sub", [self.tensor("a", rows, "FP32"), self.tensor("b", rows, "FP32")])
        np.testing.assert_array_equal(result.as_numpy("sum"), rows + rows)

    def test_requests_at_once(self):
        answers = queue.Queue()
        for index in range(32):
            self.client.async_infer(
                "add-sub", self.add_sub(), lambda result, error: answers.put((result, error)), request_id=str(index)
            )
        self.client.async_infer("add-sub", self.add_sub()[:1], lambda result, error: answers.put((result, error)))
        ids, errors = set(), []
        for _ in range(33):
            result, error = answers.get(timeout=PATIENCE)
            if error is None:
                self.assert_sum_and_difference(result)
                ids.add(result.get_response().id)
            else:
                errors.append(error)
        self.assertEqual(ids, {str(index) for index in range(32)})
        [error] = errors
        self.assert_error(error, self.INVALID, ['input "b"'])

    def test_stream_answers_in_order_and_survives_an_error(self):
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        self.addCleanup(self.client.stop_stream)
        wrong = 3
        for index in range(8):
            inputs = self.add_sub()[:1] if index == wrong else self.add_sub()
            self.client.async_stream_infer("add-sub", inputs, request_id=str(index))
        for index in range(8):
            result, error = answers.get(timeout=PATIENCE)
            if index == wrong:
                self.assertIn('input "b"', error.message())
                continue
            self.assertIsNone(error)
            self.assertEqual(result.get_response().id, str(index))
            self.assert_sum_and_difference(result)
