-- Names of any letters are taken up to 500 bytes. A NUL, which jsonb has not, is refused by Postgres, and nothing is recorded.
-- BerriAI/litellm#21290, #31705 (a NUL in a prompt), #39618 (counts in quotes).
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 1, p_task => '😀🇩🇪 ünï', p_request_id => '😀');
select recorded from record_llm_cost(:'tenant', 'acme', repeat('模', 166), 1, 1, p_cost_usd => 1);
select recorded from record_llm_cost(:'tenant', 'acme', repeat('模', 167), 1, 1, p_cost_usd => 1);
select task, request_id, octet_length(model_name) as bytes from copilot_internal.llm_cost_records order by recorded_at;
select count(*) from record_llm_costs('[
    {"tenant_id": "a0000000-0000-4000-8000-000000000001", "model_provider": "acme", "model_name": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 1},
    {"tenant_id": "a0000000-0000-4000-8000-000000000001", "model_provider": "acme", "model_name": "m", "input_tokens": 1, "output_tokens": 1, "cost_usd": 1,
     "metadata": {"q": "a\u0000b"}}]');
select count(*) from copilot_internal.llm_cost_records;
select normalize_llm_usage('openai', '{"prompt_tokens": "19", "completion_tokens": "21"}');
