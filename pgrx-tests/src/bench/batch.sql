-- Tenants that charge by batches, and what they charge.
insert into copilot_internal.tenants (id, name)
select ('10000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'Tenant ' || i from generate_series(1, 200) i;
create function bench.one(p_kind text, p_tenants integer) returns jsonb language sql volatile as $$
    select jsonb_build_object(
               'tenant_id', '10000000-0000-4000-8000-' || lpad((1 + random() * (p_tenants - 1))::integer::text, 12, '0'),
               'user_id', '20000000-0000-4000-8000-' || lpad((random() * 60)::integer::text, 12, '0'),
               'request_id', gen_random_uuid(),
               'occurred_at', to_char((now() - random() * interval '1 day') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
        || case p_kind
           when 'llm' then jsonb_build_object(
               'model_provider', 'openai', 'model_name', (array['gpt-4o', 'gpt-4o-mini', 'gpt-4.1'])[1 + (random() * 2)::integer],
               'input_tokens', 1000 + (random() * 1000)::integer, 'output_tokens', 100 + (random() * 200)::integer,
               'usage', jsonb_build_object('cache_read_input_tokens', (random() * 500)::integer))
           else jsonb_build_object(
               'sandbox_id', 'sbx-' || (random() * 1000)::integer, 'sandbox_type', 'standard',
               'duration_seconds', 60 + (random() * 600)::integer, 'vcpu_seconds', 120 + (random() * 900)::integer)
           end
$$;
-- One batch a row.
create unlogged table bench.batches (records jsonb not null);
-- The ledger without what charges it: its columns, constraints and indexes.
create table bench.llm (like copilot_internal.llm_cost_records including all);
create table bench.e2b (like copilot_internal.e2b_cost_records including all);
