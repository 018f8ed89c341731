-- A policy wraps its question in (select …): one InitPlan for the statement, whatever the number of rows.
create table notes (tenant_id uuid not null, note text);
insert into notes select gen_random_uuid(), 'x' from generate_series(1, 1000);
alter table notes enable row level security;
create policy own on notes for select to authenticated using (tenant_id = (select get_current_tenant_id()));
grant select on notes to authenticated;
set role authenticated;
set enable_indexscan = off;
set enable_bitmapscan = off;
explain (analyze, buffers off, costs off, timing off, summary off) select * from notes;
explain (costs off) select cost_usd from copilot_internal.llm_cost_records;
explain (costs off) select * from copilot_internal.user_preferences;
-- With an index the tenant's rows are found by it.
reset enable_indexscan;
reset enable_bitmapscan;
set enable_seqscan = off;
explain (costs off) select * from copilot_internal.tenant_llm_policies;
