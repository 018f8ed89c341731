-- Of the prices in force a tenant's own goes first, then the operator's for all, then the shipped list.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
set role service_role;
create function pg_temp.record(p_tenant uuid) returns table (tenant text, cost_usd numeric, source text)
    language plpgsql as $$
declare
    v_id uuid;
begin
    select r.cost_record_id into v_id from public.record_llm_cost(p_tenant, 'openai', 'gpt-4o', 1000000, 0) r;
    return query select right(l.tenant_id::text, 1), l.cost_usd, l.pricing ->> 'source'
        from copilot_internal.llm_cost_records l where l.id = v_id;
end $$;
select * from pg_temp.record(:'tenant');

-- For all tenants.
select set_model_price('openai', 'gpt-4o', 2, 8, '2020-01-01Z') is not null as made;
select * from pg_temp.record(:'tenant');
select * from pg_temp.record(:'other');

-- For one tenant, older than the operator's and yet before it.
select set_model_price('openai', 'gpt-4o', 1, 4, '2019-01-01Z', p_tenant_id => :'tenant') is not null as made;
select * from pg_temp.record(:'tenant');
select * from pg_temp.record(:'other');

-- Over, it gives way again.
update copilot_internal.model_pricing set effective_to = '2020-06-01Z' where tenant_id = :'tenant';
select * from pg_temp.record(:'tenant');

-- An estimate has no tenant: it is by the prices for all.
select estimated_cost_usd, basis from estimate_llm_cost('openai', 'gpt-4o', 1000000, 0);

-- Sandboxes alike: shipped 0.00003025, the operator's 0.0002, the tenant's 0.0003 USD a second; 100 seconds.
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100);
insert into copilot_internal.e2b_pricing (sandbox_type, per_second_usd, effective_from)
values ('standard', 0.0002, '2020-01-01Z');
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100);
insert into copilot_internal.e2b_pricing (sandbox_type, tenant_id, per_second_usd, effective_from)
values ('standard', :'tenant', 0.0003, '2019-01-01Z');
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100);
select cost_usd from record_e2b_cost(:'other', 'box', 'standard', 100);
