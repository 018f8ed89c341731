from environment import Model, model_url, tell, tenant, user
from openai import APIError, OpenAI
from openai_wrapper import create
from tollgate import Payer, QuotaRefused, connect

client = OpenAI(base_url=model_url(), api_key="none", max_retries=0)
pool, payer = connect(), Payer(tenant)
options = {"model": "gpt-4o", "max_completion_tokens": 200}


def ask(content: str, **more):
    return create(client, pool, payer, messages=user(content), **options | more)


tell("answered", text=ask("Hi").choices[0].message.content)
words = [chunk.choices[0].delta.content for chunk in ask("Hi", stream=True) if chunk.choices]
tell("streamed", text="".join(word or "" for word in words))
for stream in [False, True]:
    try:
        ask("down", stream=stream)
    except APIError as error:
        tell("failed", stream=stream, code=error.status_code)
list(ask("cut", stream=True))
tell("cut")
left = ask("Hi", stream=True)
next(left)
left.close()
tell("left")
calls = Model.calls
try:
    ask("Hi", max_completion_tokens=10_000_000)
except QuotaRefused as refused:
    tell("refused", status=refused.status, calls=Model.calls - calls)
pool.close()
