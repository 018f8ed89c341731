-- Ledger rows that are older than the retention are added up. Every total, rollup and quota stays what it was.
\set acme a0000000-0000-4000-8000-000000000001
\set keeps a0000000-0000-4000-8000-000000000002
\set bob b0000000-0000-4000-8000-0000000000b0
\set chat c0000000-0000-4000-8000-0000000000c0
\set VERBOSITY terse
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id, settings) values
    (:'acme', 'Acme', :'bob', '{}'), (:'keeps', 'Keeps', :'bob', '{"ledger_retention_days": 0}');
-- The platform counts what providers bill, which is half of what acme pays for one model.
set pg_tollgate.platform_counts = 'provider_cost';
set role service_role;
select set_model_price('acme', 'dear', 1, 1, '2020-01-01Z') is not null as priced;
insert into copilot_internal.price_markups (tenant_id, factor, effective_from) values (:'acme', 2, '2020-01-01Z');
select count(set_quota('tenant', t.id::uuid, 'all', 1000, 'lifetime')) from unnest(array[:'acme', :'keeps']) t (id);
select set_quota('platform', null, 'all', 5000, 'lifetime') is not null as made;
-- Costs that are rounded up to the nano-dollar one by one, in two hours of one day, by two users or none.
select count(*) from (select record_llm_cost(t.id::uuid, 'acme', m.name, 10, 1, u.id::uuid, c.id::uuid, p_cost_usd => 0.0000000001,
        p_occurred_at => o.at::timestamptz, p_request_id => 'old-' || row_number() over ())
    from (values (:'acme'), (:'keeps')) t (id), (values (null), (:'bob')) u (id), (values (null), (:'chat')) c (id),
        (values ('m'), ('n')) m (name), (values ('2026-01-31 22:59:59.9Z'), ('2026-01-31 23:44Z'), ('2026-01-31 23:46Z')) o (at),
        generate_series(1, 3)) r;
select cost_usd from record_llm_cost(:'acme', 'acme', 'dear', 1000000, 0, p_request_id => 'dear', p_occurred_at => '2026-01-31 23:00Z');
select cost_status from record_llm_cost(:'acme', 'unheard', 'of', 1, 1, p_occurred_at => '2026-01-31 23:00Z');
select count(*) from (select record_e2b_cost(:'acme', 'box', 'standard', 10, p_occurred_at => '2026-01-31 23:00Z')) r;
select cost_usd from record_llm_cost(:'acme', 'acme', 'm', 1, 1, p_cost_usd => 1, p_request_id => 'refunded', p_occurred_at => '2026-01-31 23:00Z');
select id as refunded from copilot_internal.llm_cost_records where request_id = 'refunded' \gset
select refunded_usd from refund_cost(:'refunded', 0.3333333333, 'r');
select c.status from reserve_quota(:'acme', 'llm', 0.5, 'committed') h, lateral commit_reservation(h.reservation_id, 0.25) c;
select reservation_id as hold from reserve_quota(:'acme', 'llm', 0.5, 'held') \gset
select allowed from check_and_record_quota_atomic('tenant', :'acme', 0.5, 'e2b');
-- Nearly a year goes by for all of it. Nothing is folded yet.
reset role;
update copilot_internal.llm_cost_records set recorded_at = occurred_at;
update copilot_internal.e2b_cost_records set recorded_at = occurred_at;
update copilot_internal.cost_corrections set recorded_at = occurred_at;
update copilot_internal.quota_charges set recorded_at = '2026-02-01Z', charged_at = '2026-02-01Z' where record_id is null;
update copilot_internal.quota_charges set recorded_at = charged_at where record_id is not null;
update copilot_internal.pending_costs p set charged_at = '2026-02-01Z' where source = 'charge' and tenant_id = :'acme';
update copilot_internal.quota_reservations set expires_at = '2026-02-01 00:10Z', resolved_at = '2026-02-01Z' where state = 'committed';
select recorded from record_llm_cost(:'acme', 'acme', 'm', 10, 1, p_cost_usd => 2, p_request_id => 'young');
create temp view figures as
    select 'summary' as figure, to_jsonb(s) as value from get_tenant_cost_summary(:'acme', '2026-01-01Z', '2027-01-01Z') s
    union all
    select 'hour', to_jsonb(s) from get_tenant_cost_summary(:'acme', '2026-01-31 23:00Z', '2026-02-01 00:00Z') s
    union all
    select 'model', to_jsonb(m) from metrics.llm_costs m
    union all
    select 'user', to_jsonb(u) from metrics.cost_by_user u
    union all
    select 'conversation', to_jsonb(c) from metrics.cost_by_conversation c
    union all
    select 'total', to_jsonb(t) from metrics.tenant_total_costs t
    union all
    select 'quota', jsonb_build_array(q.scope, q.current_spend_usd, q.remaining_usd) from metrics.quota_status q;
create temp table before as select * from figures;
select count(*) > 10 as many from before;
-- Without a retention everything stays.
select copilot_internal.retire_ledger(10000, 'infinity');
-- With one, what is pending stays until it is folded. Then there is nothing left to do.
set pg_tollgate.ledger_retention_days = 1;
select copilot_internal.retire_ledger(10000, 'infinity');
select task, done > 0 as some from copilot_internal.maintain(100000) where task in ('fold', 'retire');
select task from copilot_internal.maintain() where task = 'retire';
select count(*), count(*) filter (where tenant_id = :'keeps') as kept, count(*) filter (where request_id = 'young') as young from copilot_internal.llm_cost_records;
select count(*) from copilot_internal.e2b_cost_records;
select state, count(*) from copilot_internal.quota_reservations group by 1 order by 1;
-- What the platform has counted of a record goes with it.
select (select count(*) from copilot_internal.quota_charges) as charges, (select count(*) from copilot_internal.cost_corrections) as corrections;
select tenant_id is null as of_platform, source, provider, name, charged_at, occurred_at, records, cost_usd, charge_nanos, input_tokens, user_id is null as of_none, conversation_id is null as outside
from copilot_internal.retired_costs order by 1, 2, 3, 4, 5, 6, 11, 12, 8;
select b.*, f.value as now from before b full join figures f on f.figure = b.figure and f.value = b.value where b.value is null or f.value is null;
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
-- What an id was for is forgotten.
set role service_role;
select recorded, replayed from record_llm_cost(:'acme', 'acme', 'm', 10, 1, p_cost_usd => 1, p_request_id => 'refunded');
select refund_cost(:'refunded', 0.1, 'later');
-- A person is erased from the sums, too, and a tenant that is purged leaves none.
select count(*) from copilot_internal.retired_costs where user_id = :'bob';
select source, count(*) from export_user_data(:'bob', :'acme') where data ? 'charge_nanos' group by 1 order by 1;
update copilot_internal.tenants set owner_id = gen_random_uuid() where id = :'acme';
select finished, remaining from erase_user(:'bob', :'acme');
select count(*) from copilot_internal.retired_costs where user_id = :'bob';
select count(distinct user_id) from copilot_internal.retired_costs;
select * from copilot_internal.verify();
select current_spend_usd from metrics.quota_status where scope = 'platform';
select delete_tenant(:'acme');
select status from release_reservation(:'hold');
select finished from purge_tenant(:'acme');
select finished from purge_tenant(:'acme');
select count(*) from copilot_internal.retired_costs where tenant_id = :'acme';
select current_spend_usd from metrics.quota_status where scope = 'platform';
select * from copilot_internal.verify();
select * from copilot_internal.verify_counters();
