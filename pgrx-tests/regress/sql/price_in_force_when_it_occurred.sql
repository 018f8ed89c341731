-- The price of p_occurred_at counts, not that of the moment of recording; and a price that changes later changes no
-- cost that was recorded.
\set tenant a0000000-0000-4000-8000-000000000001
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
select set_model_price('acme', 'm', 1, 1, '2024-01-01Z') is not null as made;
select set_model_price('acme', 'm', 2, 2, '2024-07-01Z') is not null as made;
-- A special offer for January 2025, and a price that is not in force yet.
insert into copilot_internal.model_pricing
    (model_provider, model_name, input_per_million_usd, output_per_million_usd, effective_from, effective_to)
values ('acme', 'm', 0.5, 0.5, '2025-01-01Z', '2025-02-01Z');
select set_model_price('acme', 'm', 9, 9, '2198-01-01Z') is not null as made;

-- A million tokens each, so the cost is the price. Ranges are half-open.
select o.at, r.cost_usd, r.cost_status
from unnest(array['2023-12-31 23:59:59.999999Z', '2024-01-01Z', '2024-06-30 23:59:59.999999Z', '2024-07-01Z',
        '2024-12-31 23:59:59.999999Z', '2025-01-01Z', '2025-01-31 23:59:59.999999Z', '2025-02-01Z']::timestamptz[])
        as o (at),
     lateral record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => o.at) r
order by o.at;
-- Now.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0);
select estimated_cost_usd from estimate_llm_cost('acme', 'm', 1000000, 0);
-- Enforced, the moment decides the price all the same.
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_enforce => true, p_occurred_at => '2024-01-01Z');

-- The same moment again corrects the price for what is recorded from now on.
select set_model_price('acme', 'm', 2.5, 2, '2024-07-01Z') =
    (select id from copilot_internal.model_pricing where effective_from = '2024-07-01Z') as same_row;
select cost_usd from record_llm_cost(:'tenant', 'acme', 'm', 1000000, 0, p_occurred_at => '2024-07-01Z');
select cost_usd from copilot_internal.llm_cost_records where occurred_at = '2024-07-01Z' order by recorded_at;

-- Every record says which row priced it.
select distinct r.occurred_at, p.effective_from
from copilot_internal.llm_cost_records r
left join copilot_internal.model_pricing p on p.id = (r.pricing ->> 'price_id')::uuid
where r.occurred_at < '2025-03-01Z'
order by r.occurred_at;
