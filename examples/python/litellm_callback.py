"""LiteLLM: `litellm.callbacks = [Tollgate(pool)]`, and the payer in each call's metadata:

    await litellm.acompletion(model="openai/gpt-4o", messages=…, metadata={"tenant_id": tenant})

LiteLLM records in the background, after it has answered. A stream that you abandon tells no callback: its reservation
expires.
"""

import asyncio
import json
from uuid import UUID

from litellm import get_llm_provider
from litellm.integrations.custom_logger import CustomLogger
from psycopg_pool import ConnectionPool

from tollgate import Hold, Payer, reserve


class Tollgate(CustomLogger):
    def __init__(self, pool: ConnectionPool):
        super().__init__()
        self.pool = pool

    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        """Before each attempt. What it raises is raised to the caller, and the model is not called."""
        metadata = kwargs.get("metadata") or {}
        user = metadata.get("user_id")
        payer = Payer(UUID(str(metadata["tenant_id"])), user and UUID(str(user)))
        model, provider, *_ = get_llm_provider(kwargs["model"])
        most = kwargs.get("max_completion_tokens") or kwargs.get("max_tokens")
        prompt = json.dumps([kwargs.get("messages"), kwargs.get("tools")], default=str)
        hold = await asyncio.to_thread(reserve, self.pool, payer, provider, model, prompt, most)
        changed = kwargs | {"metadata": metadata | {"tollgate_hold": hold}}
        if kwargs.get("stream"):
            # Without it a stream does not say what it used, and LiteLLM guesses.
            changed["stream_options"] = {**(kwargs.get("stream_options") or {}), "include_usage": True}
        return changed

    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        """After an answer, or the last chunk of a stream."""
        if (hold := self._hold(kwargs["litellm_params"])) and (usage := getattr(response_obj, "usage", None)):
            # LiteLLM adds the cost that it computed to a stream's usage. It is no bill, unless OpenRouter said so.
            computed = None if hold.arguments["provider"] == "openrouter" else {"cost"}
            reported = usage.model_dump(mode="json", exclude=computed, exclude_none=True)
            tier = getattr(response_obj, "service_tier", None)
            # What is raised at last is logged by LiteLLM.
            await asyncio.to_thread(hold.record, {"usage": reported, "service_tier": tier})

    async def async_post_call_failure_deployment_hook(self, request_data, exception, call_type, fallback_depth=None):
        """After each attempt that failed: its money is free for the next."""
        if hold := self._hold(request_data):
            await asyncio.to_thread(hold.release, "the call failed")

    def _hold(self, call: dict) -> Hold | None:
        return (call.get("metadata") or {}).get("tollgate_hold")
