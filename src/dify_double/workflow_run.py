"""Runs a published workflow: start, llm, answer and end nodes, one after the other, as events.

Nodes of other kinds are not imitated: a workflow that has one breaks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .clock import Clock
from .credential_forms import DoubleBroken, Invalid
from .json_object import JsonObject, new_id
from .model_providers import NotInitialized, ProviderModels
from .upstream import Complete

NAMED = re.compile(r"\{\{#([^.#]+)\.([^#]+)#\}\}")
NOT_TOLD = {"iteration_id": None, "loop_id": None}
STARTED: JsonObject = {"inputs": None, "inputs_truncated": False, "extras": {}, **NOT_TOLD, "agent_strategy": None}


class WorkflowRun:
    """One run of `workflow` for `user`. `events` yields kind and data of each event in order; afterwards `outputs` and
    `usage` are known.
    """

    def __init__(
        self, workflow: JsonObject, models: ProviderModels, complete: Complete, clock: Clock, system: JsonObject
    ) -> None:
        self.workflow, self.models, self.complete, self.clock, self.system = workflow, models, complete, clock, system
        self.id, self.at = new_id(), clock.unix()
        self.values: JsonObject = {}
        self.outputs: JsonObject = {}
        self.usage: JsonObject = {}
        self.steps = 0

    def check(self, inputs: JsonObject) -> None:
        """Check inputs and models. Raises Invalid where an input is missing, or a model cannot be used."""
        for node in self._nodes():
            data = node["data"]
            for variable in data.get("variables", []) if data["type"] == "start" else []:
                if variable.get("required") and not inputs.get(variable["variable"]):
                    raise Invalid("%s is required in input form" % variable["variable"])
            if data["type"] == "llm":
                try:
                    self._credentials(data["model"])
                except NotInitialized as gone:
                    raise Invalid("Model %s not exist." % data["model"]["name"]) from gone

    def _credentials(self, model: JsonObject) -> dict[str, str]:
        return self.models.credentials(model["provider"], model["name"], "llm")

    def _nodes(self) -> list[JsonObject]:
        """Return the nodes from the start along the edges."""
        graph = self.workflow["graph"]
        nodes = {node["id"]: node for node in graph.get("nodes", [])}
        after = {edge["source"]: edge["target"] for edge in graph.get("edges", [])}
        at: str | None = next((name for name, node in nodes.items() if node["data"]["type"] == "start"), None)
        ordered = []
        while at is not None:
            ordered.append(nodes[at])
            at = after.get(at)
        return ordered

    def events(self, inputs: JsonObject) -> Iterator[tuple[str, JsonObject]]:
        """Run, and yield what happens. Raises EndpointFailed, and DoubleBroken for an unknown kind of node."""
        given = {**inputs, **self.system, "sys.workflow_id": self.workflow["id"], "sys.workflow_run_id": self.id}
        head = {"id": self.id, "workflow_id": self.workflow["id"]}
        yield "workflow_started", {**head, "inputs": given, "created_at": self.at, "reason": "initial"}
        self.values = {"sys": {name.partition("sys.")[2]: value for name, value in given.items()}}
        for node in self._nodes():
            yield from self._node(node, inputs)
        yield (
            "workflow_finished",
            {
                **head,
                "status": "succeeded",
                "outputs": self.outputs,
                "error": None,
                "elapsed_time": 0.1,
                "total_tokens": self.usage.get("total_tokens", 0),
                "total_steps": self.steps,
                "created_at": self.at,
                "finished_at": self.clock.unix(),
            },
        )

    def _node(self, node: JsonObject, inputs: JsonObject) -> Iterator[tuple[str, JsonObject]]:
        """Run one node between its two events."""
        data, kind = node["data"], node["data"]["type"]
        head = {"id": new_id(), "node_id": node["id"], "node_type": kind, "title": data["title"]}
        head |= {"index": 1, "predecessor_node_id": None}
        self.steps += 1
        yield "node_started", {**head, **STARTED, "created_at": self.clock.unix()}
        given: JsonObject = {}
        process: JsonObject = {}
        if kind == "start":
            names = [variable["variable"] for variable in data.get("variables", [])]
            given = outputs = {name: inputs[name] for name in names if name in inputs}
        elif kind == "llm":
            given, process, outputs = self._ask(data)
            for part in (*self.parts, "", ""):
                yield "text", {"text": part, "from_variable_selector": [node["id"], "text"]}
        elif kind == "answer":
            outputs = self.outputs = {"answer": self._filled(data["answer"]), "files": []}
        elif kind == "end":
            chosen = {entry["variable"]: self._value(*entry["value_selector"]) for entry in data["outputs"]}
            given = outputs = self.outputs = chosen
        else:
            raise DoubleBroken("node of kind %s" % kind)
        self.values[node["id"]] = outputs
        spent = {name: self.usage[name] for name in ("total_tokens", "total_price", "currency")} if process else None
        yield (
            "node_finished",
            {
                **head,
                "inputs": given,
                "inputs_truncated": False,
                "process_data": process,
                "process_data_truncated": False,
                "outputs": outputs,
                "outputs_truncated": False,
                "status": "succeeded",
                "error": None,
                "elapsed_time": 0.01,
                "execution_metadata": spent,
                "created_at": self.clock.unix(),
                "finished_at": self.clock.unix(),
                "files": [],
                **NOT_TOLD,
            },
        )

    def _ask(self, data: JsonObject) -> tuple[JsonObject, JsonObject, JsonObject]:
        """Ask a node's model; return the node's inputs, what it did, and its outputs."""
        model, prompts = data["model"], data["prompt_template"]
        messages = [{"role": prompt["role"], "content": self._filled(prompt["text"])} for prompt in prompts]
        options = {**model.get("completion_params", {}), "stream": True}
        answer = self.complete(model["name"], self._credentials(model), messages, options)
        self.parts, self.usage = answer.parts, priced(answer.usage, streamed=True, timed=True)
        named = {"model_provider": model["provider"], "model_name": model["name"]}
        shown = [{"role": message["role"], "text": message["content"], "files": []} for message in messages]
        process = {"model_mode": model["mode"], "prompts": shown, "usage": self.usage, "finish_reason": "stop", **named}
        outputs = {"text": answer.text, "reasoning_content": "", "usage": self.usage, "finish_reason": "stop"}
        return named, process, outputs

    def _filled(self, text: str) -> str:
        """Return a text with the values that it names."""
        return NAMED.sub(lambda found: str(self._value(found[1], found[2])), text)

    def _value(self, node: str, name: str) -> Any:
        return self.values.get(node, {}).get(name, "")


def priced(usage: JsonObject, streamed: bool, timed: bool, untimed: bool = False) -> JsonObject:
    """Return an endpoint's count of tokens as Dify tells it: nothing costs anything, and nought is written in two
    ways. `timed`: with the times of a stream; `untimed`: with null in their place.
    """
    nought = "0E-7" if streamed else "0.0000000"
    counts: JsonObject = {name: usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    counts |= {"total_price": nought, "currency": "USD", "latency": 0.05}
    for kind in ("prompt", "completion"):
        counts |= {kind + "_unit_price": "0", kind + "_price_unit": "0", kind + "_price": nought}
    if timed or untimed:
        counts |= dict.fromkeys(("time_to_first_token", "time_to_generate"), 0.05 if timed else None)
    return counts
