-- One tenant's bill between two moments, half-open and exact: not rounded to days or buckets.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set VERBOSITY sqlstate
set timezone = 'UTC';
set datestyle = 'ISO';
set role service_role;
insert into copilot_internal.tenants (id, name, owner_id) values (:'acme', 'Acme', :'ann'), (:'other', 'Other', null);
-- A million tokens each: gpt-4o costs 2.5, gpt-4o-mini 0.15. 100 seconds of gpu cost 0.1.
select count(*) from (values ('gpt-4o', '2024-01-31 12:00Z'), ('gpt-4o', '2024-01-31 12:00:00.000001Z'),
        ('gpt-4o-mini', '2024-02-15 00:00Z'), ('unheard-of', '2024-02-15 00:00Z'), ('gpt-4o', '2024-02-29 17:59:59.999999Z'),
        ('gpt-4o', '2024-02-29 18:00Z')) as r (model, at),
    lateral record_llm_cost(:'acme', 'openai', r.model, 1000000, 0, p_occurred_at => r.at::timestamptz);
select recorded from record_e2b_cost(:'acme', 'box', 'gpu', 100, p_occurred_at => '2024-02-15Z');
select recorded from record_llm_cost(:'other', 'openai', 'gpt-4o', 1000000, 0, p_occurred_at => '2024-02-15Z');
create temp view spans as
    select * from (values
        ('in the middle of two days', '2024-01-31 12:00:00.000001Z'::timestamptz, '2024-02-29 18:00Z'::timestamptz),
        ('one microsecond less', '2024-01-31 12:00:00.000002Z', '2024-02-29 17:59:59.999999Z'),
        ('whole days', '2024-02-01Z', '2024-03-01Z'),
        ('within one day', '2024-02-29 17:00Z', '2024-02-29 18:00Z'),
        ('across one midnight', '2024-01-31 12:00Z', '2024-02-01 01:00Z'),
        ('empty', '2024-02-15Z', '2024-02-15Z'),
        ('all of time', '-infinity', 'infinity')) as s (name, first, last);

-- By hand, over [first, last): 2.5 + 0.15 + 2.5; 0.15; 0.15 + 2 × 2.5; 2.5; 2 × 2.5; nothing; 4 × 2.5 + 0.15.
select s.name, c.llm_cost_usd, c.e2b_cost_usd, c.total_cost_usd, c.llm_request_count, c.e2b_session_count, c.input_tokens, c.unpriced_count
from spans s, lateral get_tenant_cost_summary(:'acme', s.first, s.last) c;
-- The same from the rollups.
select task from copilot_internal.maintain() where task = 'fold';
select s.name, c.llm_cost_usd, c.e2b_cost_usd, c.total_cost_usd, c.llm_request_count, c.e2b_session_count, c.input_tokens, c.unpriced_count
from spans s, lateral get_tenant_cost_summary(:'acme', s.first, s.last) c;

-- By model, the dearest first; a model without any price has none.
select m from get_tenant_cost_summary(:'acme', '2024-02-01Z', '2024-03-01Z'), jsonb_array_elements(by_model) as m;
select by_sandbox_type, e2b_duration_seconds, output_tokens, reserved_usd, period_start, period_end
from get_tenant_cost_summary(:'acme', '2024-02-01Z', '2024-03-01Z');
-- The tenant's quotas as they stand now: of these defaults nothing is spent this month.
select q ->> 'resource_type' as resource_type, q -> 'limit_usd' as limit_usd, q -> 'current_spend_usd' as spent,
       q ->> 'status' as status, q ->> 'mode' as mode
from get_tenant_cost_summary(:'acme'), jsonb_array_elements(quotas) as q;

-- By default the present calendar month in UTC; a charge that no record explains is in the total.
select allowed from check_and_record_quota_atomic('tenant', :'acme', 0.75);
select llm_cost_usd, e2b_cost_usd, other_charges_usd, total_cost_usd,
       period_start = date_trunc('month', now(), 'UTC') as from_the_first,
       period_end = (date_trunc('month', now() at time zone 'UTC') + interval '1 month') at time zone 'UTC' as to_the_next
from get_tenant_cost_summary(:'acme');

select * from get_tenant_cost_summary(null);
select * from get_tenant_cost_summary(:'acme', '2024-02-02Z', '2024-02-01Z');
-- A tenant that nobody knows has cost nothing.
select total_cost_usd, by_model, quotas from get_tenant_cost_summary('a0000000-0000-4000-8000-00000000000f');
-- A member may read it; others may not, and are not told whether there is such a tenant.
set role authenticated;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001"}', false) is not null as signed_in;
select total_cost_usd from get_tenant_cost_summary(:'acme', '2024-02-01Z', '2024-03-01Z');
select * from get_tenant_cost_summary(:'other');
select * from get_tenant_cost_summary('a0000000-0000-4000-8000-00000000000f');
