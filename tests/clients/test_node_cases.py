"""How a node test is asked, without a server."""

import unittest
from types import SimpleNamespace

import numpy as np
from onnx import TensorProto, helper

from node_cases import NO_FORM, compare_all


class Echo:
    """A client whose server repeats the input, and how often it was asked."""

    def __init__(self):
        self.asked = 0

    def infer(self, model, tensors, outputs):
        self.asked += 1
        return SimpleNamespace(as_numpy=lambda name: np.array([-np.inf], np.float32))


def case_of(value: float) -> SimpleNamespace:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "echo",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    array = np.array([value], np.float32)
    return SimpleNamespace(
        model=SimpleNamespace(graph=graph), data_sets=[([array], [array])], rtol=1e-3, atol=1e-7
    )


class NodeCases(unittest.TestCase):
    def test_infinity_is_not_asked_as_json_and_does_not_pass_as_it(self):
        client = Echo()
        self.assertEqual(compare_all(client, "m", case_of(-np.inf), ("json",)).stage, NO_FORM)
        self.assertEqual(client.asked, 0)

    def test_infinity_passes_by_its_binary_form(self):
        client = Echo()
        self.assertEqual(compare_all(client, "m", case_of(-np.inf), ("binary", "json")).stage, "passed")
        self.assertEqual(client.asked, 1)

    def test_another_value_fails_in_every_form(self):
        for form in ("binary", "json"):
            self.assertEqual(compare_all(Echo(), "m", case_of(1.0), (form,)).stage, "compare")


if __name__ == "__main__":
    unittest.main()
