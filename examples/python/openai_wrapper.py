"""OpenAI's client: `create(client, pool, payer, …)` in place of `client.chat.completions.create(…)`."""

import json
from collections.abc import Iterator

from openai import OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from psycopg_pool import ConnectionPool

from tollgate import Hold, Payer, reserve


def create(client: OpenAI, pool: ConnectionPool, payer: Payer, **request) -> ChatCompletion | Iterator[ChatCompletionChunk]:
    """Raises QuotaRefused where the call does not fit. A call that failed costs nothing."""
    prompt = json.dumps([request["messages"], request.get("tools")])
    hold = reserve(pool, payer, "openai", request["model"], prompt, request.get("max_completion_tokens"))
    if request.get("stream"):
        # Without it a stream does not say what it used.
        request["stream_options"] = {**request.get("stream_options", {}), "include_usage": True}
    try:
        response = client.chat.completions.create(**request)
    except BaseException:
        hold.release("the call failed")
        raise
    if request.get("stream"):
        return _recorded(response, hold)
    hold.record(_reported(response))
    return response


def _recorded(stream, hold: Hold) -> Iterator[ChatCompletionChunk]:
    """The same chunks. It records when the usage arrives; a stream that ends without it is given back."""
    try:
        with stream:
            for chunk in stream:
                if chunk.usage:
                    hold.record(_reported(chunk))
                yield chunk
    finally:
        hold.release("the stream ended without usage")


def _reported(response: ChatCompletion | ChatCompletionChunk) -> dict:
    """Usage as it came, and the tier that it is billed at."""
    return response.model_dump(mode="json", include={"usage", "service_tier"}, exclude_none=True)
