-- A request that comes twice is one: a hold, and a record in a batch. An id that another call had is told, as an empty one is.
-- LerianStudio/midaz#2279, Lore-Hex/quill-router#1239; BerriAI/litellm#28376 (Ollama's chatcmpl-213 comes again), #6633 (an empty id).
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 100, 'lifetime') is not null as made;
select allowed, remaining_usd, replayed from reserve_quota(:'tenant', 'llm', 60, 'k');
select allowed, remaining_usd, replayed from reserve_quota(:'tenant', 'llm', 60, 'k');
select ordinal, recorded, replayed, remaining_usd from record_llm_costs((select jsonb_agg(jsonb_build_object('tenant_id', :'tenant', 'model_provider', 'acme',
    'model_name', 'm', 'input_tokens', 1, 'output_tokens', 1, 'cost_usd', 1, 'request_id', 'twin')) from generate_series(1, 2)));
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 2, 1, p_cost_usd => 1, p_request_id => 'twin');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 2, 1, p_cost_usd => 1, p_request_id => '');
select count(*) from copilot_internal.llm_cost_records;
