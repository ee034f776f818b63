"""Triton's gRPC client, unchanged. It sends tensors raw and reads nothing but raw outputs."""

import asyncio
import queue
import unittest

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

import models
from models import A, B, SAMPLES

# For an answer that a callback brings; nothing is asserted about how long it takes.
PATIENCE = 60.0


def tensor(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    return triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array)


def add_sub() -> list[triton.InferInput]:
    return [tensor("a", A, "FP32"), tensor("b", B, "FP32")]


class TritonGrpc(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(models.start())
        cls.client = triton.InferenceServerClient(cls.server.address)
        cls.addClassCleanup(cls.client.close)

    def assert_sum_and_difference(self, result):
        np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
        np.testing.assert_array_equal(result.as_numpy("difference"), A - B)

    def assert_refused(self, code: str, words: list[str], call, *arguments, **named):
        with self.assertRaises(InferenceServerException) as raised:
            call(*arguments, **named)
        self.assert_error(raised.exception, code, words)

    def assert_error(self, error: InferenceServerException, code: str, words: list[str]):
        self.assertEqual(error.status(), f"StatusCode.{code}", error)
        for word in words:
            self.assertIn(word, error.message())

    def test_server_is_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())

    def test_readiness_is_each_models_own(self):
        version = self.client.get_model_metadata("add-sub").versions[0]
        self.assertTrue(self.client.is_model_ready("add-sub"))
        self.assertTrue(self.client.is_model_ready("add-sub", version))
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.is_model_ready, "add-sub", "none")
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.is_model_ready, "none")

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
        self.assertEqual(config["name"], "add-sub")
        self.assertEqual({value["name"] for value in config["input"]}, {"a", "b"})
        self.assertEqual({value["name"] for value in config["output"]}, {"sum", "difference"})
        self.assertEqual({value["data_type"] for value in config["input"]}, {"TYPE_FP32"})

    def test_statistics_count_what_was_asked(self):
        def statistics():
            [of_model] = self.client.get_inference_statistics("identity-fp64").model_stats
            return of_model

        before = statistics()
        self.client.infer("identity-fp64", [tensor("x", SAMPLES["FP64"], "FP64")])
        after = statistics()
        self.assertEqual(after.name, "identity-fp64")
        self.assertEqual(after.inference_count, before.inference_count + 1)
        self.assertEqual(after.execution_count, before.execution_count + 1)
        self.assertEqual(after.inference_stats.success.count, before.inference_stats.success.count + 1)
        self.assertGreater(after.inference_stats.success.ns, before.inference_stats.success.ns)
        every = self.client.get_inference_statistics().model_stats
        self.assertEqual({of_model.name for of_model in every}, self.server.ready)

    def test_repository_index_lists_models(self):
        index = {entry.name: entry.state for entry in self.client.get_model_repository_index().models}
        self.assertEqual(index, {name: "READY" for name in self.server.ready})

    def test_models_cannot_be_controlled_on_the_data_port(self):
        for verb in (self.client.load_model, self.client.unload_model):
            with self.assertRaises(InferenceServerException):
                verb("add-sub")
        self.assertTrue(self.client.is_model_ready("add-sub"))

    def test_every_datatype(self):
        for datatype, sample in SAMPLES.items():
            with self.subTest(datatype):
                result = self.client.infer(f"identity-{datatype.lower()}", [tensor("x", sample, datatype)])
                self.assertEqual(result.get_output("y").datatype, datatype)
                actual = result.as_numpy("y")
                self.assertEqual((actual.dtype, actual.shape), (sample.dtype, sample.shape))
                if datatype == "BYTES":
                    self.assertEqual([value.decode() for value in actual.flat], list(sample.flat))
                else:
                    self.assertEqual(actual.tobytes(), sample.tobytes())

    def test_only_the_outputs_asked_for_are_sent_in_their_order(self):
        for names in (["difference"], ["difference", "sum"]):
            outputs = [triton.InferRequestedOutput(name) for name in names]
            result = self.client.infer("add-sub", add_sub(), outputs=outputs)
            self.assertEqual([output.name for output in result.get_response().outputs], names)
            np.testing.assert_array_equal(result.as_numpy("difference"), A - B)

    def test_classification_names_the_highest(self):
        output = triton.InferRequestedOutput("y", class_count=2)
        result = self.client.infer("scores", [tensor("x", models.SCORES, "FP32")], outputs=[output])
        self.assertEqual(result.get_output("y").datatype, "BYTES")
        rows = result.as_numpy("y")
        self.assertEqual(rows.shape, (2, 2))
        for row, scores, highest in zip(rows, models.SCORES, models.HIGHEST, strict=True):
            for text, place in zip(row, highest, strict=False):
                value, index = text.decode().split(":")[:2]
                self.assertEqual(int(index), place)
                self.assertAlmostEqual(float(value), scores[place], places=5)

    def test_id_and_version_come_back(self):
        version = self.client.get_model_metadata("add-sub").versions[0]
        result = self.client.infer("add-sub", add_sub(), model_version=version, request_id="the id")
        response = result.get_response()
        self.assertEqual(response.id, "the id")
        self.assertEqual((response.model_name, response.model_version), ("add-sub", version))

    def test_parameters_that_mean_nothing_here_are_taken(self):
        parameters = {"mine": "value", "count": 3, "on": True, "share": 0.5}
        self.assert_sum_and_difference(self.client.infer("add-sub", add_sub(), parameters=parameters))

    def test_timeouts_are_kept(self):
        self.assert_sum_and_difference(
            self.client.infer("add-sub", add_sub(), timeout=60_000_000, client_timeout=60.0)
        )
        rows = np.zeros((8192, 16), np.float32)
        inputs = [tensor("a", rows, "FP32"), tensor("b", rows, "FP32")]
        self.assert_refused("DEADLINE_EXCEEDED", [], self.client.infer, "add-sub", inputs, timeout=1)
        self.assert_refused("DEADLINE_EXCEEDED", [], self.client.infer, "add-sub", inputs, client_timeout=1e-6)

    def test_compression(self):
        for algorithm in ("gzip", "deflate"):
            with self.subTest(algorithm):
                result = self.client.infer("add-sub", add_sub(), compression_algorithm=algorithm)
                self.assert_sum_and_difference(result)

    def test_messages_above_the_usual_limit(self):
        # gRPC's own is 4 MiB.
        rows = np.ones((100_000, 16), np.float32)
        result = self.client.infer("add-sub", [tensor("a", rows, "FP32"), tensor("b", rows, "FP32")])
        np.testing.assert_array_equal(result.as_numpy("sum"), rows + rows)

    def test_what_does_not_exist_is_not_found(self):
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.infer, "none", add_sub())
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.infer, "add-sub", add_sub(), model_version="none")
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.get_model_metadata, "none")
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.get_model_config, "none")
        self.assert_refused("NOT_FOUND", ['"none"'], self.client.get_inference_statistics, "none")

    def test_what_does_not_fit_the_model_is_refused_by_name(self):
        def refused(words, inputs, **named):
            self.assert_refused("INVALID_ARGUMENT", words, self.client.infer, "add-sub", inputs, **named)

        a, b = add_sub()
        refused(['input "b"'], [a])
        refused(['"none"'], [a, b, tensor("none", A, "FP32")])
        refused(['input "b"', "FP64", "FP32"], [a, tensor("b", np.zeros((2, 16), np.float64), "FP64")])
        refused(['input "b"'], [a, tensor("b", np.zeros((2, 15), np.float32), "FP32")])
        refused(['input "b"'], [a, tensor("b", np.zeros(16, np.float32), "FP32")])
        refused(['"none"'], [a, b], outputs=[triton.InferRequestedOutput("none")])

    def test_shared_memory_is_refused(self):
        shared = triton.InferInput("b", [2, 16], "FP32")
        shared.set_shared_memory("region", B.nbytes)
        self.assert_refused("INVALID_ARGUMENT", ["shared memory"], self.client.infer, "add-sub", [add_sub()[0], shared])

    def test_requests_at_once(self):
        answers = queue.Queue()
        for index in range(32):
            self.client.async_infer(
                "add-sub", add_sub(), lambda result, error: answers.put((result, error)), request_id=str(index)
            )
        self.client.async_infer("add-sub", add_sub()[:1], lambda result, error: answers.put((result, error)))
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
        self.assert_error(error, "INVALID_ARGUMENT", ['input "b"'])

    def test_stream_answers_in_order_and_survives_an_error(self):
        answers = queue.Queue()
        self.client.start_stream(lambda result, error: answers.put((result, error)))
        self.addCleanup(self.client.stop_stream)
        wrong = 3
        for index in range(8):
            inputs = add_sub()[:1] if index == wrong else add_sub()
            self.client.async_stream_infer("add-sub", inputs, request_id=str(index))
        for index in range(8):
            result, error = answers.get(timeout=PATIENCE)
            if index == wrong:
                self.assertIn('input "b"', error.message())
                continue
            self.assertIsNone(error)
            self.assertEqual(result.get_response().id, str(index))
            self.assert_sum_and_difference(result)

    def test_asyncio_client(self):
        async def ask():
            async with triton_aio.InferenceServerClient(self.server.address) as client:
                self.assertTrue(await client.is_server_ready())
                return await asyncio.gather(*(client.infer("add-sub", add_sub()) for _ in range(8)))

        for result in asyncio.run(ask()):
            self.assert_sum_and_difference(result)
