"""Asks an HTTP server in PostgREST's place (npm @supabase/lite with driver = "postgres") as members, forgers and strangers do.

    python3 over_http.py URL JWT_SECRET TENANT OTHER_TENANT

`tests/clients.rs` runs it. URL is that of the API (http://127.0.0.1:54391/rest/v1). TENANT is owned by b0…01 and has
spent its llm limit; OTHER_TENANT is somebody else's. Prints status, Retry-After and the beginning of each body, and ends
with 1 when an answer is not the one that is expected, or when one names the other tenant without having been asked
about it.
"""
import base64
import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request

url, secret, own, other = sys.argv[1], sys.argv[2].encode(), sys.argv[3], sys.argv[4]
ANN = "b0000000-0000-4000-8000-000000000001"
MALLORY = "b0000000-0000-4000-8000-00000000000f"


def token(user, tenant):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": user, "role": "authenticated", "aud": "authenticated", "email": f"{user}@example.com",
              "app_metadata": {"tenant_id": tenant}, "user_metadata": {"tenant_id": other}, "exp": int(time.time()) + 3600}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


def ask(path, who=None, body=None, schema="public"):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, method="GET" if body is None else "POST")
    request.add_header("apikey", "sb_publishable_examples")
    request.add_header("Content-Type", "application/json")
    request.add_header("Content-Profile", schema)
    request.add_header("Accept-Profile", schema)
    if who:
        request.add_header("Authorization", "Bearer " + who)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


ann, forged = token(ANN, own), token(MALLORY, other)
quota = {"p_resource_type": "llm", "p_estimated_cost_usd": 0.5}
cases = [
    (429, "nothing left", "/rpc/require_quota", ann, {"p_tenant_id": own, **quota}),
    (403, "a foreign tenant", "/rpc/require_quota", ann, {"p_tenant_id": other, **quota}),
    (403, "a foreign tenant's bill", "/rpc/get_tenant_cost_summary", ann, {"p_tenant_id": other}),
    (403, "a foreign tenant's policy", "/rpc/resolve_llm_policy", ann, {"p_tenant_id": other}),
    (200, "one's own tenants", "/rpc/get_user_tenants", ann, {}),
    (403, "another's tenants", "/rpc/get_user_tenants", ann, {"p_user_id": MALLORY}),
    (200, "the current tenant", "/rpc/get_current_tenant_id", ann, {}),
    (200, "the same with a forged tenant: null", "/rpc/get_current_tenant_id", forged, {}),
    (200, "one's own personal tenant", "/rpc/create_personal_tenant", ann, {"p_user_id": ANN, "p_user_email": f"{ANN}@example.com"}),
    (403, "another's personal tenant", "/rpc/create_personal_tenant", ann, {"p_user_id": MALLORY, "p_user_email": f"{ANN}@example.com"}),
    (403, "a tenant more", "/rpc/create_tenant", ann, {"p_name": "X"}),
    (403, "an invitation to a foreign tenant", "/rpc/invite_member", ann, {"p_tenant_id": other, "p_user_id": ANN}),
    (403, "an invitation that is none", "/rpc/accept_invitation", forged, {"p_tenant_id": other}),
    (403, "deleting a foreign tenant", "/rpc/delete_tenant", ann, {"p_tenant_id": other}),
    (403, "recording a cost as a member", "/rpc/record_llm_cost", ann,
     {"p_tenant_id": own, "p_model_provider": "p", "p_model_name": "m", "p_input_tokens": 1, "p_output_tokens": 1}),
    (400, "no amount", "/rpc/require_quota", ann, {"p_tenant_id": own, "p_resource_type": "llm", "p_estimated_cost_usd": "NaN"}),
    (401, "no token", "/rpc/get_current_tenant_id", None, {}),
    (404, "no such function", "/rpc/no_such_function", ann, {}),
    (404, "a function of copilot_internal", "/rpc/grant_api_roles", ann, {}),
    (404, "a table of copilot_internal", "/llm_cost_records", ann, None),
    (406, "the schema copilot_internal", "/tenants", ann, None, "copilot_internal"),
    (200, "costs", "/llm_costs", ann, None, "metrics"),
    (200, "quotas", "/quota_status", ann, None, "metrics"),
    (200, "quotas with a forged tenant: none", "/quota_status", forged, None, "metrics"),
    (401, "costs without a token", "/tenant_total_costs", None, None, "metrics"),
]
wrong = 0
for expected, what, path, *rest in cases:
    status, headers, body = ask(path, *rest)
    retry = headers.get("Retry-After")
    failed = status != expected or other in body or (status == 429) != (retry is not None)
    wrong += failed
    print(f"{'WRONG' if failed else 'ok   '} {status} {what}{f' (Retry-After: {retry})' if retry else ''}: {body[:90]}")
print(f"{len(cases)} requests, {wrong} wrong")
sys.exit(wrong > 0)
