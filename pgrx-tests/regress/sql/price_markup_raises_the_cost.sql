-- A markup multiplies computed costs, and is in each figure of the record.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
select set_model_price('acme', 'm', 1, 1, '2020-01-01Z', '{"provider_specific_entry": {"us": 1.1}}') is not null as made;
insert into copilot_internal.price_markups (tenant_id, model_provider, model_name, factor, effective_from, effective_to) values
    (null, null, null, 1.5, '2020-01-01Z', null),
    (:'tenant', null, null, 1.2, '2020-01-01Z', null),
    (:'tenant', 'acme', 'm', 2, '2024-01-01Z', '2025-01-01Z');
select o.at, r.cost_usd from unnest(array['2023-12-31Z', '2024-06-01Z', '2025-01-01Z']::timestamptz[]) as o (at),
     lateral record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => o.at) r order by o.at;
select cost_usd from record_llm_cost(:'other', 'acme', 'm', 1000000, 0);
-- 1 × 1.1 in the US, × 1.2.
select cost_record_id as id from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_usage => '{"inference_geo": "us"}')
\gset
select pricing - 'price_id' as pricing from copilot_internal.llm_cost_records where id = :'id';
-- A sandbox: 100 × 0.00003025 × 1.2.
select cost_usd from record_e2b_cost(:'tenant', 'box', 'standard', 100);
-- What a caller provides is what it is.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_cost_usd => 7);
-- An estimate is a tenant's when it is told so: at most 1 × 1.1 × 1.2, and × 1.5 for anybody.
select estimated_cost_usd from estimate_llm_cost('acme', 'm', 1000000, 0, p_tenant_id => :'tenant');
select estimated_cost_usd from estimate_llm_cost('acme', 'm', 1000000, 0);
select estimated_cost_usd from estimate_e2b_cost('standard', 100, p_tenant_id => :'tenant');
insert into copilot_internal.price_markups (factor) values (-1);
insert into copilot_internal.price_markups (factor) values (1001);
insert into copilot_internal.price_markups (factor) values (1.0000001);
-- Gone with its row.
delete from copilot_internal.price_markups where true;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0);
-- Nobody asks about a tenant of others.
set role authenticated;
set request.jwt.claims = '{"sub": "b0000000-0000-4000-8000-000000000009"}';
select * from estimate_llm_cost('acme', 'm', 1, 1, p_tenant_id => :'tenant');
select get_llm_cost_estimate('acme', 'm', p_tenant_id => :'tenant');
select count(*) from copilot_internal.price_markups;
