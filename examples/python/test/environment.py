"""The tenant, what a test's program tells, and a model that answers over HTTP as OpenAI does."""

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID

tenant = UUID(os.environ["TENANT"])
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100,
         "prompt_tokens_details": {"cached_tokens": 0}}


def tell(what: str, **facts) -> None:
    print(json.dumps({"what": what, **facts}, default=str), flush=True)


class Model(BaseHTTPRequestHandler):
    """What it does follows from the prompt: `down` fails, `cut` ends a stream in the middle, `priority` is the tier."""

    calls = 0

    def do_POST(self):
        Model.calls += 1
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = request["messages"][-1]["content"]
        if prompt == "down":
            return self.answer(500, "application/json", json.dumps({"error": {"message": "down"}}))
        if not request.get("stream"):
            message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
            return self.answer(200, "application/json", json.dumps(completion("chat.completion", [message], USAGE, prompt)))
        delta = [{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": "Hello"}}]
        end = [{"index": 0, "finish_reason": "stop", "delta": {}}]
        chunks = [completion("chat.completion.chunk", delta), completion("chat.completion.chunk", end)]
        if request.get("stream_options", {}).get("include_usage"):
            chunks.append(completion("chat.completion.chunk", [], USAGE))
        if prompt == "cut":
            chunks = chunks[:1]
        events = [json.dumps(chunk) for chunk in chunks] + ["[DONE]"]
        self.answer(200, "text/event-stream", "".join(f"data: {event}\n\n" for event in events))

    def answer(self, status: int, kind: str, body: str):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def completion(kind: str, choices: list, usage: dict | None = None, prompt: str = "") -> dict:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "gpt-4o", "choices": choices, "usage": usage,
            "service_tier": "priority" if prompt == "priority" else "default"}


def model_url() -> str:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/v1"


def user(content: str) -> list[dict]:
    return [{"role": "user", "content": content}]
