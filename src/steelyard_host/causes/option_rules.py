"""Rules for options and values that engines refuse, and what mends each: part of `rules`, whose order these keep."""

from __future__ import annotations

from steelyard_host.causes.rule import rule as _rule

LEAVE_OUT = "take `{option}` out of `serve.options` in models.yml, or spell it as the engine does"
SET_RIGHT = "set `{option}` under `serve.options` in models.yml to a value that it takes"
SHORTER = "set `serve.max_model_len` in models.yml to {most} or less"


OPTIONS = (
    # options
    _rule(
        "option-unknown",
        r"error: unrecognized arguments: --?(?P<option>[\w.-]+)",
        "this version of the engine has no option `{option}`",
        LEAVE_OUT,
    ),
    _rule(
        "option-unknown",
        r"error: ambiguous option: --(?P<option>[\w.-]+)\S* could match (?P<allowed>[^\n]*)",
        "option `{option}` is short for more than one: {allowed}",
        "spell it out under `serve.options` in models.yml",
    ),
    _rule(
        "option-value",
        r"error: unrecognized arguments: (?P<value>[^-\s]\S*)",
        "the value `{value}` belongs to no option: one of `serve.options` takes none, or fewer",
        (
            "set options that are switches to `true` or `false` in models.yml, without quotes; `vllm serve "
            "--help=all` says which are"
        ),
    ),
    _rule(
        "option-unknown",
        r"this version of llama\.cpp has no option `(?P<option>\w+)`",
        "this version of llama.cpp has no option `{option}`",
        LEAVE_OUT,
    ),
    _rule(
        "option-value",
        (
            r"error: argument (?:-\w+/)?--(?P<option>[\w.-]+)[^:]*: invalid choice: '?(?P<value>[^']*?)'? "
            r"\(choose from (?P<allowed>.*?)\)"
        ),
        "option `{option}` cannot be `{value}`; it is one of {allowed}",
        SET_RIGHT,
    ),
    _rule(
        "option-value",
        r"error: argument (?:-\w+/)?--(?P<option>[\w.-]+)[^:]*: (?P<why>.*)",
        "option `{option}` is refused: {why}",
        SET_RIGHT,
    ),
    _rule(
        "option-value",
        r"option `(?P<option>\w+)` cannot be (?P<value>.*?): ",
        "option `{option}` cannot be {value}",
        SET_RIGHT,
    ),
    _rule(
        "option-value",
        r"^(?P<option>[\w.]+) Input should be (?P<allowed>[^\[]*?) \[type=\w+, input_value=(?P<value>'[^']*'|[^,\]]*)",
        "option `{option}` cannot be {value}; it should be {allowed}",
        "set `{option}`, under `serve` or `serve.options` in models.yml, to a value that it takes",
    ),
    _rule(
        "option-unknown",
        r"^(?P<option>[\w.]+) (?:Unexpected keyword argument|Extra inputs are not permitted) \[type=",
        "this version of the engine has no option `{option}` there",
        LEAVE_OUT,
    ),
    _rule(
        "option-value",
        (
            r"invalid (?P<option>reasoning|tool call) parser: (?P<value>\S+) \(chose from \{+ "
            r"?(?P<allowed>[^}]*)|(?P<option2>Reasoning|Tool) parser '(?P<value2>[^']*)' not found(?:\. "
            r"Available parsers: (?P<allowed2>[^\n\"]*))?"
        ),
        "there is no {option} parser `{value}`; there are {allowed}",
        "set `reasoning-parser` or `tool-call-parser` under `serve.options` in models.yml to one of them",
    ),
    _rule(
        "option-value",
        (
            r"max_num_batched_tokens \((?P<found>\d+)\) (?:is smaller than|must be greater than or equal to) "
            r"(?P<other>max_model_len|max_num_seqs) \((?P<least>\d+)\)"
        ),
        "`max_num_batched_tokens` {found} is less than `{other}` {least}",
        "raise `max-num-batched-tokens` under `serve.options` in models.yml, or lower `{other}`",
    ),
    _rule(
        "option-value",
        r"max_tokens_per_mm_item \((?P<least>\d+)\) is larger than max_num_batched_tokens \((?P<found>\d+)\)",
        "`max_num_batched_tokens` {found} is less than the {least} tokens of one image or recording",
        "raise `max-num-batched-tokens` under `serve.options` in models.yml to {least} or more",
    ),
    _rule(
        "option-value",
        r"max_num_seqs \((?P<found>\d+)\) exceeds available Mamba cache blocks \((?P<most>\d+)\)",
        "`max_num_seqs` {found} is more than the {most} requests whose state has room",
        (
            "set `max-num-seqs` under `serve.options` in models.yml to {most} or less, or raise "
            "`serve.gpu_memory_utilization`"
        ),
    ),
    _rule(
        "lora",
        r"LoRA rank (?P<found>\d+) is greater than max_lora_rank (?P<most>\d+)",
        "a LoRA adapter has rank {found}, and `max_lora_rank` is {most}",
        "raise `max-lora-rank` under `serve.options` in models.yml to {found} or the next that it takes",
    ),
    _rule(
        "lora",
        r"max_cpu_loras \((?P<found>\d+)\) must be >= max_loras \((?P<least>\d+)\)",
        "`max_cpu_loras` {found} is less than `max_loras` {least}",
        "raise `max-cpu-loras` under `serve.options` in models.yml, or lower `max-loras`",
    ),
    _rule(
        "lora",
        r"(?P<architecture>\w+) does not support LoRA yet",
        "`{architecture}` cannot take LoRA adapters in this version of the engine",
        "take `enable-lora` out of `serve.options` in models.yml, or set another `serve.engine_version`",
    ),
    _rule(
        "speculative",
        (
            r"(?P<why>(?:num_speculative_tokens\b|speculative_\w+=|A speculative model was provided|Target and "
            r"draft model should|Either "
            r"prompt_lookup_max|prompt_lookup_min=|rejection_sample_method=|synthetic_acceptance)[^\n]*)"
        ),
        "speculative decoding cannot be set up so: {why}",
        "mend `speculative-config` under `serve.options` in models.yml",
    ),
    _rule(
        "code-of-the-model",
        (
            r"custom code which must be executed|custom code contained in|requires you to execute (?:the "
            r"configuration file|custom code)|consider setting `trust_remote_code=True`"
        ),
        "the model needs Python code of its own, which the engine was not allowed to run",
        (
            "read that code, and then set `trust-remote-code: true` under `serve.options` in models.yml; or "
            "serve another model"
        ),
    ),
    _rule(
        "attention-backend",
        r"Selected backend (?:\w+\.)?(?P<found>\w+) is not valid for this configuration\. Reason: (?P<why>[^\n]*)",
        "the attention backend `{found}` cannot serve this model here: {why}",
        "take `attention-backend` out of `serve.options` in models.yml: the engine chooses one that fits",
    ),
    _rule(
        "attention-backend",
        r"No valid (?:MLA prefill|attention) backend found [^\n]*?Reasons: (?P<why>[^\n]*)",
        "no attention backend of this engine can serve this model here: {why}",
        (
            "see `dtype`, `kv-cache-dtype` and `block-size` under `serve.options` in models.yml, or set "
            "another `serve.engine_version`"
        ),
    ),
    _rule(
        "attention-backend",
        r"Unknown attention backend: '(?P<found>[^']*)'\. Valid options are: (?P<allowed>[^\n]*)",
        "there is no attention backend `{found}`; there are {allowed}",
        "take `attention-backend` out of `serve.options` in models.yml: the engine chooses one that fits",
    ),
    _rule(
        "dtype",
        (
            r"Bfloat16 is only supported on GPUs with compute capability of at least (?P<least>[\d.]+)\. Your "
            r"(?P<gpu>[^\n]*?) GPU (?:has compute capability (?P<capability>[\d.]+\d))?"
        ),
        "bfloat16 needs a GPU of compute capability {least}, and {gpu} has {capability}",
        "set `dtype: half` under `serve.options` in models.yml",
    ),
    _rule(
        "dtype",
        r"model type '(?P<found>[^']*)' does not support float16\. Reason: (?P<why>[^.\n]*)",
        "a `{found}` model does not work in float16: {why}",
        "set `dtype: bfloat16` or `dtype: float32` under `serve.options` in models.yml",
    ),
    _rule(
        "environment-value",
        r"Invalid value (?P<why>'[^']*') for (?P<variable>[A-Z]\w+)",
        "environment variable `{variable}` cannot be {why}",
        "mend `{variable}` under `serve.environment` in models.yml",
    ),
    # context, blocks, ranks
    _rule(
        "context-too-long",
        (
            r"max_model_len[` ]*\((?P<found>\d+)\) is greater than the derived max_model_len "
            r"\(\w*(?:max_position_embeddings)?\w*=?(?P<most>\d+)"
        ),
        "`max_model_len` {found} is more than the model's own {most}",
        SHORTER,
    ),
    _rule(
        "block-size",
        r"No common block size for (?P<found>\d+)(?: \((?P<allowed>[^)]*\)?\]?)\))?",
        "block size {found} is none that the attention takes: {allowed}",
        "take `block-size` out of `serve.options` in models.yml; the engine chooses one that fits",
    ),
    _rule(
        "block-size",
        (
            r"[Bb]lock[_ -]size\S{0,20} (?:\S{1,20} )?(?:must|should|(?:is )?not (?:a "
            r"multiple|supported))|block_size not supported"
        ),
        "the block size is none that the attention takes",
        "take `block-size` out of `serve.options` in models.yml; the engine chooses one that fits",
    ),
    _rule(
        "ranks",
        (
            r"[Tt]otal number of attention heads \((?P<heads>\d+)\) must be divisible by tensor parallel size "
            r"\((?P<ranks>\d+)\)"
        ),
        "{heads} attention heads cannot be shared out to {ranks} ranks",
        "set `serve.tensor_parallel_size` in models.yml to a divisor of {heads}",
    ),
    _rule(
        "ranks",
        r"CUDA error: invalid device ordinal",
        "a process of the service asks for a GPU that it does not see",
        "lower `serve.tensor_parallel_size` in models.yml, or see `vllm.gpus` for what else has them",
    ),
    _rule(
        "ranks",
        (
            r"(?P<why>Timed out after \d+ seconds waiting for clients\. \d+/\d+ clients joined|client socket "
            r"has timed out after [^\n]*)"
        ),
        "the processes of the service did not find each other: {why}",
        (
            "see what the others say in the service's log; with `serve.pipeline_parallel_size` over hosts, the "
            "network between them"
        ),
    ),
    _rule(
        "ranks",
        r"World size \((?P<ranks>\d+)\) is larger than the number of available GPUs \((?P<gpus>\d+)\)",
        "{ranks} GPUs are asked, and the engine sees {gpus}",
        "lower `serve.tensor_parallel_size` in models.yml, or see `vllm.gpus` for what else has them",
    ),
)
