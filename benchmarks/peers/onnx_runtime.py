"""ONNX Runtime's LinearAttention on the CPU.

    S_t = S_{t-1} + k_t v_t^T,   o_t = S_t^T q_t           (update_rule "linear", scale 1)

A contributed operator of the domain com.microsoft; tensors are [B, T, H D]. It divides by nothing
and takes features as they come, so there are two models: the operator alone, and a graph with
elu + 1 before it and the sum of weights beside it, which computes what `linear_attention` does.
Forward only. Schema: onnx.ai/onnx/operators/onnx__LinearAttention.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from adaptive_attention_tiling.optional import installed

INSTALL = 'pip install "adaptive-attention-tiling[bench]"'


def missing() -> str:
    """What is not installed; empty where nothing is."""
    lacking = [name for name in ("onnx", "onnxruntime") if not installed(name)]
    return f"needs {' and '.join(lacking)}: {INSTALL}" if lacking else ""


class LinearAttention:
    """A session on one model, fed with tensors laid out as the operator takes them."""

    def __init__(self, heads: int, width: int, *, whole_rule: bool) -> None:
        import onnxruntime

        self.heads = heads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        # Threads that spin while they wait would take the processor from whoever is timed next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(
            _model(heads, width, whole_rule=whole_rule).SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
        )

    def prepared(self, query: Tensor, key: Tensor, value: Tensor) -> Callable[[], Tensor]:
        """A call on these tensors; its result is [B, H, T, E] in strides, without a copy."""
        batch, _, tokens, _ = query.shape
        feed = {
            name: x.detach().transpose(1, 2).reshape(batch, tokens, -1).numpy()
            for name, x in (("query", query), ("key", key), ("value", value))
        }

        def run() -> Tensor:
            (out,) = self.session.run(["out"], feed)
            return torch.from_numpy(out).unflatten(-1, (self.heads, -1)).transpose(1, 2)

        return run


def _model(heads: int, width: int, *, whole_rule: bool) -> Any:
    from onnx import TensorProto, helper

    def attention(inputs: list[str], out: str) -> Any:
        return helper.make_node(
            "LinearAttention",
            inputs,
            [out, f"{out}_state"],
            domain="com.microsoft",
            q_num_heads=heads,
            kv_num_heads=heads,
            update_rule="linear",
            scale=1.0,
        )

    constants = []
    if whole_rule:
        nodes, constants = _with_features_and_mass(attention, heads, width)
    else:
        nodes = [attention(["query", "key", "value"], "out")]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", "T", heads * width])
        for name in ("query", "key", "value")
    ]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["B", "T", heads * width])
    graph = helper.make_graph(nodes, "linear_attention", inputs, [out], constants)
    domains = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=10)


def _with_features_and_mass(
    attention: Callable[[list[str], str], Any], heads: int, width: int
) -> tuple[list[Any], list[Any]]:
    """phi = elu + 1 of queries and keys, values with a one appended, and the quotient."""
    from onnx import TensorProto, helper

    ints = {
        "by_head": [0, 0, heads, -1],
        "packed": [0, 0, -1],
        "first": [0],
        "mass": [width],
        "end": [width + 1],
        "last": [3],
    }
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [len(value)], value)
        for name, value in ints.items()
    ]
    constants.append(helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]))
    node = helper.make_node
    nodes = []
    for name in ("query", "key"):
        nodes += [
            node("Elu", [name], [f"{name}_elu"]),
            node("Add", [f"{name}_elu", "one"], [f"{name}_features"]),
        ]
    nodes += [
        node("Reshape", ["value", "by_head"], ["values"]),
        node("Pad", ["values", "pads", "one_scalar"], ["values_and_one"], mode="constant"),
        node("Reshape", ["values_and_one", "packed"], ["written"]),
        attention(["query_features", "key_features", "written"], "sums"),
        node("Reshape", ["sums", "by_head"], ["sums_by_head"]),
        node("Slice", ["sums_by_head", "first", "mass", "last"], ["numerator"]),
        node("Slice", ["sums_by_head", "mass", "end", "last"], ["denominator"]),
        node("Div", ["numerator", "denominator"], ["quotient"]),
        node("Reshape", ["quotient", "packed"], ["out"]),
    ]
    pads = [0, 0, 0, 0, 0, 0, 0, 1]
    constants += [
        helper.make_tensor("pads", TensorProto.INT64, [8], pads),
        helper.make_tensor("one_scalar", TensorProto.FLOAT, [], [1.0]),
    ]
    return nodes, constants
