"""Rules for what engines say of a version's files, and what mends each: part of `rules`, whose order these keep."""

from __future__ import annotations

from steelyard_host.causes.rule import rule as _rule

VERIFY = "compare it with its manifest, `steelyard models verify`, and bring it again, `steelyard models push`"
WHOLE = "publish the version anew from a whole source, under another name: a published one never changes"

FILES = (
    _rule(
        "architecture-unknown",
        r"Model architectures \['(?P<architecture>[^\]]*)'\] (?:are not supported|failed)",
        "this version of the engine does not know the architecture `{architecture}`",
        "set `serve.engine_version` in models.yml to one that does, or serve another model",
    ),
    _rule(
        "architecture-unknown",
        r"model type `(?P<architecture>[^`]*)` but Transformers does not recognize",
        "this version of the engine does not know the model type `{architecture}`",
        "set `serve.engine_version` in models.yml to one that does, or serve another model",
    ),
    _rule(
        "architecture-unknown",
        r"unknown model architecture: '(?P<architecture>[^']*)'",
        "this version of llama.cpp does not know the architecture `{architecture}`",
        "set `serve.engine_version` in models.yml to one that does, or serve another model",
    ),
    _rule(
        "architecture-unknown",
        r"GGUF file is version (?P<found>\d+) but this software only supports up to version (?P<most>\d+)",
        "the GGUF is of format version {found}, and this version of llama.cpp reads up to {most}",
        "set `serve.engine_version` in models.yml to a newer one, or publish a GGUF of version {most}",
    ),
    _rule(
        "not-gguf",
        r"invalid magic characters: '(?P<found>[^']*)'",
        "the file is no GGUF: it begins with `{found}`",
        "publish a GGUF of the model, or serve it with `engine: vllm`",
    ),
    _rule(
        "version-holds",
        r"illegal split file|model must be loaded with the first split|invalid split file",
        "the parts of the GGUF do not belong together, or the first one is missing",
        "publish a version with one GGUF; of one in parts all its parts",
    ),
    _rule(
        "tensor-missing",
        r"wrong number of tensors; expected (?P<found>\d+), got (?P<most>\d+)",
        "the GGUF's architecture has {found} tensors, and the file holds {most}",
        WHOLE,
    ),
    _rule(
        "version-holds",
        r"the version must hold one model as GGUF, and it holds (?P<found>.*)",
        "the version must hold one model as GGUF, and it holds {found}",
        "publish a version with one GGUF; of one in parts all its parts",
    ),
    _rule(
        "folder-unwritable",
        r"Errno 30\] Read-only file system: '(?P<file>[^'\n]+)'",
        "the engine wants to write to {file}, and units may not",
        (
            "see which of `serve.environment` in models.yml, or which drop-in (`systemctl cat`), leads it "
            "there: caches lie below /var/cache/steelyard"
        ),
    ),
    _rule(
        "limit-reached",
        r"Errno 24\]? Too many open files",
        "the engine has too many files open for its limit",
        "see that no drop-in lowers LimitNOFILE: `systemctl cat`",
    ),
    _rule(
        "limit-reached",
        r"can't start new thread",
        "the engine may start no more threads",
        (
            "see that no drop-in lowers TasksMax, `systemctl cat`; `OMP_NUM_THREADS` under `serve.environment` "
            "sets how many each process starts"
        ),
    ),
    _rule(
        "file-unreadable",
        (
            r"'(?P<file>[^'\n]+)'[^'\n]{0,4}Permission denied|PermissionError: "
            r"[^\n]*?'(?P<file2>[^'\n]+)'|Permission denied"
        ),
        "the engine may not read {file}",
        (
            "publish the version again, `steelyard models push`, which sets who may read it; `steelyard apply` "
            "does for what else the host has"
        ),
    ),
    _rule(
        "file-truncated",
        (
            r"tensor '(?P<tensor>[^']*)' data is not within the file bounds|data is not within (?:the )?file "
            r"bounds|unexpectedly reached end of file|failed to read (?:tensor|magic|key|header)[^\n]*"
        ),
        "the GGUF ends before its tensors do",
        VERIFY,
        "llamacpp",
    ),
    _rule(
        "file-truncated",
        (
            r"Error while deserializing header: "
            r"(?P<why>[^\n]*)|MetadataIncompleteBuffer|HeaderTooSmall|InvalidHeaderDeserialization"
        ),
        "a safetensors file of the version is cut or broken: {why}",
        VERIFY,
    ),
    _rule(
        "file-broken",
        r"PytorchStreamReader failed reading zip archive: (?P<why>[^\n]*)|UnpicklingError: (?P<why2>[^\n]*)",
        "a file of the version is no PyTorch checkpoint, or is cut: {why}",
        VERIFY,
    ),
    _rule(
        "license",
        r"gated repo|GatedRepoError|Access to model \S+ is restricted|401 Client Error|awaiting a review",
        "the model's licence must be accepted, and a token given, where it comes from",
        "accept it there, and `steelyard models push` with HF_TOKEN set on the controller: engines fetch nothing",
    ),
    _rule(
        "not-offline",
        (
            r"(?P<found>\S+) is not a local folder and is not a valid model identifier|Repo id must be in the "
            r"form [^\n]*?: '(?P<found2>[^'\n]*)'"
        ),
        "`{found}` is no folder that the engine sees, and engines fetch nothing",
        "publish it with the version, and name it by a path below /run/steelyard/SERVICE/model in `serve.options`",
    ),
    _rule(
        "not-offline",
        (
            r"Cannot find an appropriate cached snapshot|LocalEntryNotFoundError|outgoing traffic has been "
            r"disabled|OfflineModeIsEnabled|couldn't connect to '?https?://\S+"
        ),
        "the engine wanted to fetch something, and engines have no network",
        (
            "publish what it wants with the version, and name it by a path below /run/steelyard/SERVICE/model "
            "in `serve.options`"
        ),
    ),
    _rule(
        "tokenizer-missing",
        r"Tokenizer class (?P<found>\w+) does not exist or is not currently imported",
        "the engine does not know the version's tokenizer class `{found}`",
        (
            "set `serve.engine_version` in models.yml to one that does; of a model with code of its own, "
            "`trust-remote-code` lets it run"
        ),
    ),
    _rule(
        "tokenizer-broken",
        r"(?P<why>data did not match any variant of untagged enum \w+(?: at line \d+ column \d+)?)",
        "the version's tokenizer.json is broken, or of a newer format than the engine reads: {why}",
        VERIFY + "; if it is whole, set another `serve.engine_version`",
    ),
    _rule(
        "tokenizer-missing",
        (
            r"(?:Couldn't instantiate the backend tokenizer|Can't load tokenizer|Unable to load "
            r"vocabulary|tokenizer\.json[^\n]*(?:not found|No such file)|does not appear to have a file named "
            r"tokenizer|make sure you don't have a local directory with the same name|[Nn]o tokenizer file)"
        ),
        "the version has no tokenizer that can be loaded",
        "publish it with its tokenizer's files (tokenizer.json, tokenizer_config.json)",
    ),
    _rule(
        "tokenizer-missing",
        r"(?:error loading vocab|cannot find tokenizer|unknown (?:pre-)?tokenizer(?: type)?:? ?'?(?P<why>[^'\n]*))",
        "the version has no tokenizer that can be loaded: {why}",
        WHOLE,
    ),
    _rule(
        "chat-template",
        r"chat template string \((?P<path>[^)]*)\) appears path-like",
        "the chat template `{path}` is not there",
        (
            "publish it with the version and name it by its path below /run/steelyard/SERVICE/model, under "
            "`serve.options` in models.yml"
        ),
    ),
    _rule(
        "chat-template",
        r"common_chat_templates_init: error: (?P<why>[^\n]*)",
        "the chat template cannot be used: {why}",
        "mend `chat_template` under `serve.options` in models.yml, or the version's own template",
        "llamacpp",
    ),
    _rule(
        "chat-template",
        (
            r"(?:supplied chat template|chat[_ ]template)[^\n]*?(?P<why>does not exist|looks like a file "
            r"path[^\n]*?(?= |$)|doesn't exist|not (?:a )?valid|failed to (?:open|parse))|TemplateSyntaxError: "
            r"(?P<why2>[^\n]*)|[Ff]ailed to (?:parse|init\w*|apply)[^\n]{0,20}chat template:?(?P<why3>[^\n]*)"
        ),
        "the chat template cannot be used: {why}",
        "mend `chat-template` under `serve.options` in models.yml, or the version's own template",
    ),
    _rule(
        "file-missing",
        r"Weight files referenced in index but missing: \{(?P<file>[^}]*)\}",
        "files of the version are missing that its index names: {file}",
        VERIFY,
    ),
    _rule(
        "file-missing",
        (
            r"Invalid repository ID or local directory specified.*?'(?P<file3>config\.json)'|Cannot find any "
            r"model weights|no file named (?P<file>config\.json)|does not appear to have a file named "
            r"(?P<file2>\S+)"
        ),
        "the engine finds no model in the version: {file} is missing or cannot be read",
        WHOLE,
    ),
    _rule(
        "file-broken",
        r"It looks like the config file at '(?P<file>[^']*)' is not a valid JSON",
        "{file} of the version is no valid JSON",
        VERIFY,
    ),
    _rule(
        "file-broken",
        r"JSONDecodeError: (?P<why>.*)",
        "a file of the version is no valid JSON: {why}",
        VERIFY,
    ),
    _rule(
        "tensor-unknown",
        r"no module or parameter named '(?P<tensor>[^']*)' in (?P<architecture>\w+)",
        "the version holds a tensor `{tensor}`, which the engine's `{architecture}` does not have",
        (
            "set `serve.engine_version` in models.yml to one that knows it, or publish the model anew from a "
            "whole source, under another name"
        ),
    ),
    _rule(
        "tensor-unknown",
        r"Attempted to load weight \((?P<found>[^\n]*?)\) into parameter \((?P<wanted>[^\n]*?)\)(?:\s|$)",
        "a tensor of the version has another shape than its config says: {found}, not {wanted}",
        WHOLE,
    ),
    _rule(
        "tensor-missing",
        (
            r"[Ff]ollowing weights were not initialized from checkpoint: (?P<tensor>.*)|missing tensor "
            r"'(?P<tensor2>[^']*)'"
        ),
        "the version lacks tensors that its config asks for: {tensor}",
        WHOLE,
    ),
    _rule(
        "quantization",
        (
            r"quantization method (?P<found>\S+) is not supported for the current GPU\. Minimum capability: "
            r"(?P<least>\d+)\. Current capability: (?P<capability>\d+)"
        ),
        "the quantization `{found}` needs a GPU of compute capability {least}, and this one has {capability}",
        "serve it on other GPUs, or serve a version that is quantized otherwise",
    ),
    _rule(
        "quantization",
        (
            r"torch\.(?P<dtype>\w+) is not supported for quantization method (?P<found>\S+?)\. Supported "
            r"dtypes: \[(?P<allowed>[^\]]*)"
        ),
        "the quantization `{found}` does not take `dtype` {dtype}; it takes {allowed}",
        (
            "set `dtype` under `serve.options` in models.yml to one that it takes, or serve a version that is "
            "quantized otherwise"
        ),
    ),
    _rule(
        "quantization",
        r"(?P<found>\w+) quantization is currently not supported in (?P<device>\w+)",
        "the quantization `{found}` does not run on this host's devices ({device})",
        "serve it on other hosts, or serve a version that is quantized otherwise",
    ),
    _rule(
        "quantization",
        (
            r"[Uu]nknown quantization method:? (?P<found>\S+?)[.,;]? |quantization[^\n]*?Input should be "
            r"(?P<allowed>[^\n\[]*)\[[^\n]*input_value='(?P<found2>[^']*)'"
        ),
        "the engine does not know the quantization `{found}`",
        "take `quantization` out of `serve.options` in models.yml: the version's own config says how it is quantized",
    ),
    _rule(
        "quantization",
        (
            r"Cannot find the config file for (?P<found>\w+)|Quantization method specified in the model config "
            r"\((?P<own>\w+)\) does not match[^\n]*?\((?P<found2>\w+)\)"
        ),
        "the version is not quantized as `{found}`",
        "take `quantization` out of `serve.options` in models.yml: the version's own config says how it is quantized",
    ),
)
