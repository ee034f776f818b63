"""What both of Triton's clients do alike. Each test brings its own client, `triton` and `triton_aio`, and its words for errors."""

import asyncio

import numpy as np
from tritonclient.utils import InferenceServerException

import models
from models import A, B


class TritonCases:
    # The modules of a client, and what it calls what is not there and what does not fit.
    triton = None
    triton_aio = None
    NOT_FOUND = ""
    INVALID = ""
    # What the client is made with, how it can write tensors, as arguments of `tensor`, and parameters that only it takes.
    OPTIONS = {}
    FORMS = ({},)
    MORE_PARAMETERS = {}

    @classmethod
    def setUpClass(cls):
        cls.server = cls.enterClassContext(models.start())
        cls.client = cls.triton.InferenceServerClient(cls.server.address, **cls.OPTIONS)
        cls.addClassCleanup(cls.client.close)

    @classmethod
    def tensor(cls, name: str, array: np.ndarray, datatype: str, **form):
        return cls.triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, **form)

    @classmethod
    def add_sub(cls, **form) -> list:
        return [cls.tensor("a", A, "FP32", **form), cls.tensor("b", B, "FP32", **form)]

    def assert_sum_and_difference(self, result):
        np.testing.assert_array_equal(result.as_numpy("sum"), A + B)
        np.testing.assert_array_equal(result.as_numpy("difference"), A - B)

    def assert_same(self, actual: np.ndarray, sample: np.ndarray):
        self.assertEqual((actual.dtype, actual.shape), (sample.dtype, sample.shape))
        if sample.dtype == np.object_:
            texts = [value.decode() if isinstance(value, bytes) else value for value in actual.flat]
            self.assertEqual(texts, list(sample.flat))
        else:
            self.assertEqual(actual.tobytes(), sample.tobytes())

    def assert_error(self, error: InferenceServerException, status: str, words: list[str]):
        self.assertEqual(error.status(), status, error)
        for word in words:
            self.assertIn(word, error.message())

    def assert_refused(self, status: str, words: list[str], call, *arguments, **named):
        with self.assertRaises(InferenceServerException) as raised:
            call(*arguments, **named)
        self.assert_error(raised.exception, status, words)

    def assert_highest(self, rows):
        """Checks the classification of `models.SCORES`."""
        self.assertEqual(rows.shape, (2, 2))
        for row, scores, highest in zip(rows, models.SCORES, models.HIGHEST, strict=True):
            for text, place in zip(row, highest, strict=False):
                text = text.decode() if isinstance(text, bytes) else text
                value, index = text.split(":")[:2]
                self.assertEqual(int(index), place)
                self.assertAlmostEqual(float(value), scores[place], places=5)

    def assert_config(self, config: dict):
        self.assertEqual(config["name"], "add-sub")
        self.assertEqual({value["name"] for value in config["input"]}, {"a", "b"})
        self.assertEqual({value["name"] for value in config["output"]}, {"sum", "difference"})
        self.assertEqual({value["data_type"] for value in config["input"]}, {"TYPE_FP32"})

    def test_server_is_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())

    def test_models_cannot_be_controlled_on_the_data_port(self):
        for verb in (self.client.load_model, self.client.unload_model):
            with self.assertRaises(InferenceServerException):
                verb("add-sub")
        self.assertTrue(self.client.is_model_ready("add-sub"))

    def test_parameters_that_mean_nothing_here_are_taken(self):
        parameters = {"mine": "value", "count": 3, "on": True, **self.MORE_PARAMETERS}
        self.assert_sum_and_difference(self.client.infer("add-sub", self.add_sub(), parameters=parameters))

    def test_what_does_not_exist_is_not_found(self):
        inputs = self.add_sub()
        self.assert_refused(self.NOT_FOUND, ['"none"'], self.client.infer, "none", inputs)
        self.assert_refused(self.NOT_FOUND, ['"none"'], self.client.infer, "add-sub", inputs, model_version="none")
        for call in (
            self.client.get_model_metadata,
            self.client.get_model_config,
            self.client.get_inference_statistics,
        ):
            self.assert_refused(self.NOT_FOUND, ['"none"'], call, "none")

    def test_what_does_not_fit_the_model_is_refused_by_name(self):
        def refused(words, inputs, **named):
            self.assert_refused(self.INVALID, words, self.client.infer, "add-sub", inputs, **named)

        for form in self.FORMS:
            a, b = self.add_sub(**form)
            wide = np.zeros((2, 16), np.float64)
            refused(['input "b"'], [a])
            refused(['"none"'], [a, b, self.tensor("none", A, "FP32", **form)])
            refused(['input "b"', "FP64", "FP32"], [a, self.tensor("b", wide, "FP64", **form)])
            refused(['input "b"'], [a, self.tensor("b", np.zeros((2, 15), np.float32), "FP32", **form)])
            refused(['input "b"'], [a, self.tensor("b", np.zeros(16, np.float32), "FP32", **form)])
            refused(['"none"'], [a, b], outputs=[self.triton.InferRequestedOutput("none", **form)])

    def test_shared_memory_is_refused(self):
        shared = self.triton.InferInput("b", [2, 16], "FP32")
        shared.set_shared_memory("region", B.nbytes)
        inputs = [self.add_sub()[0], shared]
        self.assert_refused(self.INVALID, ["shared memory"], self.client.infer, "add-sub", inputs)

    def test_asyncio_client(self):
        async def ask():
            async with self.triton_aio.InferenceServerClient(self.server.address) as client:
                self.assertTrue(await client.is_server_ready())
                return await asyncio.gather(*(client.infer("add-sub", self.add_sub()) for _ in range(8)))

        for result in asyncio.run(ask()):
            self.assert_sum_and_difference(result)
