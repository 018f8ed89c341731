import asyncio

import litellm
from environment import Model, model_url, tell, tenant, user
from litellm.litellm_core_utils.logging_worker import GLOBAL_LOGGING_WORKER
from litellm_callback import Tollgate
from tollgate import QuotaRefused, connect

pool = connect()
litellm.suppress_debug_info = True  # it would print advice between the lines of JSON
litellm.callbacks = [Tollgate(pool)]
options = {"model": "openai/gpt-4o", "api_base": model_url(), "api_key": "none", "max_completion_tokens": 200,
           "max_retries": 0, "metadata": {"tenant_id": tenant}}


async def ask(content: str, **more):
    return await litellm.acompletion(messages=user(content), **options | more)


async def main():
    tell("answered", text=(await ask("Hi")).choices[0].message.content)
    words = [chunk.choices[0].delta.content async for chunk in await ask("Hi", stream=True) if chunk.choices]
    tell("streamed", text="".join(word or "" for word in words))
    tell("served", text=(await ask("priority")).choices[0].message.content)
    try:
        await ask("down")
    except litellm.exceptions.InternalServerError as error:
        tell("failed", code=error.status_code)
    calls = Model.calls
    try:
        await ask("Hi", max_completion_tokens=10_000_000)
    except QuotaRefused as refused:
        tell("refused", status=refused.status, calls=Model.calls - calls)
    await GLOBAL_LOGGING_WORKER.flush()


asyncio.run(main())
pool.close()
