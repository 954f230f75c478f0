"""Check the names and types of model options before they are sent: hosts ignore what they do not know.

Options that nobody here knows pass, unless they look like a misspelled known one. ``-o NAME:=JSON`` insists on any
name and value; in files and programs, a name that ends with ``:`` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmctl.core.errors import UsageError

_NUMBERS = """
temperature top_p topP min_p top_a typical_p tfs_z frequency_penalty presence_penalty frequencyPenalty presencePenalty
repetition_penalty repeat_penalty length_penalty diversity_penalty mirostat_tau mirostat_eta dynatemp_range
dynatemp_exponent xtc_probability xtc_threshold dry_multiplier dry_base smoothing_factor smoothing_curve
"""
_INTEGERS = """
max_tokens max_completion_tokens max_output_tokens maxOutputTokens num_predict n_predict min_tokens top_k topK seed
random_seed best_of top_logprobs num_ctx num_gpu num_thread num_batch num_keep n_keep repeat_last_n mirostat
candidateCount candidate_count dry_allowed_length max_tool_calls thinking_budget
"""
_BOOLEANS = "parallel_tool_calls ignore_eos include_reasoning safe_prompt enable_thinking"
_OTHERS = """
stop stop_sequences stopSequences logit_bias logprobs prompt_logprobs n store response_format tool_choice tools
tool_config toolConfig reasoning reasoning_effort reasoning_format thinking think effort verbosity service_tier user
metadata modalities audio prediction web_search_options plugins provider models route transforms usage cache
cache_control cache_prompt keep_alive format options safety_settings safetySettings generationConfig generation_config
responseModalities response_modalities responseMimeType response_mime_type responseSchema responseJsonSchema
systemInstruction system_instruction cachedContent cached_content include instructions text truncation truncate shift
background conversation previous_response_id prompt prompt_cache_key prompt_cache_retention prompt_mode
safety_identifier context_management betas container mcp_servers output_config inference_geo guided_json guided_regex
guided_choice guided_grammar structured_outputs chat_template chat_template_kwargs extra_body grammar json_schema
samplers id_slot search_parameters search_mode search_domain_filter search_recency_filter return_citations
return_images disable_search enable_search thinkingConfig thinking_config documents citation_options size quality style
output_format output_compression moderation dimensions encoding_format task_type taskType aspect_ratio aspectRatio
image_config imageConfig speechConfig mediaResolution labels input_type stream_options
reply replies repeat tool delay stall after length fail fail_times retry_after cut end error garbage html empty
"""
_KINDS = {
    **dict.fromkeys(_NUMBERS.split(), "a number"),
    **dict.fromkeys(_INTEGERS.split(), "a whole number"),
    **dict.fromkeys(_BOOLEANS.split(), "true or false"),
    **dict.fromkeys(_OTHERS.split(), ""),
}
#: What the request itself sets, and how the user sets that.
_RESERVED = {
    "model": "use --model",
    "system": "use --system",
    "messages": "use --messages",
    "input": "use --messages",
    "contents": "use --messages",
    "stream": "use --no-stream",
}
#: Shorter names are similar to too many others.
_MIN_NAME_CHARS = 6
_LONG_NAME_CHARS = 8


def is_model_option(name: str) -> bool:
    """Return whether models of some provider know an option of this name."""
    return name in _KINDS


def check_model_options(values: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return the options by their names, without the mark of those that insist. Raises UsageError."""
    checked: dict[str, Any] = {}
    for key, value in values.items():
        name = key.removesuffix(":") or key
        if name in _RESERVED:
            raise UsageError(f'{label} cannot set "{name}"', hint=_RESERVED[name])
        if name == key:
            _check_option(name, value, label)
        checked[name] = value
    return checked


def _check_option(name: str, value: Any, label: str) -> None:
    if name not in _KINDS:
        if near := _find_near(name):
            raise UsageError(
                f'{label} must be an option of the model, got "{name}"',
                hint=f'did you mean "{near}"? To send it as it is: {name}:=JSON',
            )
    elif value is not None and not _has_kind(_KINDS[name], value):
        shown = str(value).lower() if isinstance(value, bool) else value
        raise UsageError(f'{label} {name} must be {_KINDS[name]}, got "{shown}"')


def _has_kind(kind: str, value: Any) -> bool:
    if kind == "true or false":
        return isinstance(value, bool)
    if kind == "a number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return not kind or (isinstance(value, int) and not isinstance(value, bool))


def _find_near(name: str) -> str | None:
    """Return the known option that a name probably means: other case or separators, or one or two wrong letters."""
    plain = _to_plain(name)
    for known in _KINDS:
        if _to_plain(known) == plain:
            return known
    if len(name) < _MIN_NAME_CHARS:
        return None
    most = 2 if len(name) >= _LONG_NAME_CHARS else 1
    candidates = (known for known in _KINDS if min(len(known), len(name)) >= _MIN_NAME_CHARS)
    distances = {known: _distance(name.lower(), known.lower()) for known in candidates}
    near = min(distances, key=distances.__getitem__)
    return near if distances[near] <= most else None


def _to_plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _distance(first: str, second: str) -> int:
    """Return how many letters must be added, removed, replaced or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, last, row = row, before, [i]
        for j, b in enumerate(second, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == second[j - 2] and first[i - 2] == b:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
    return row[-1]
