-- A ledger row that cannot go, as a foreign key of the application or a trigger of others has it, keeps neither other
-- tenants' rows nor the rest of housekeeping from their turn.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set VERBOSITY terse
insert into copilot_internal.tenants (id, name) values (:'acme', 'Acme'), (:'other', 'Other');
select count(*) from (select record_llm_cost(t.id::uuid, 'p', 'm', 1, 1, p_cost_usd => 1, p_occurred_at => '2026-01-15Z')
    from unnest(array[:'acme', :'other']) t (id)) r;
update copilot_internal.llm_cost_records set recorded_at = occurred_at;
select done > 0 as folded from copilot_internal.maintain() where task = 'fold';
create table answers (cost_id uuid, tenant_id uuid,
    foreign key (cost_id, tenant_id) references copilot_internal.llm_cost_records (id, tenant_id));
insert into answers select id, tenant_id from copilot_internal.llm_cost_records where tenant_id = :'acme';
select recorded from record_llm_cost(:'acme', 'p', 'm', 1, 1, p_cost_usd => 1);
select reservation_id is not null as held from reserve_quota(:'acme', 'llm', 1, 'r', p_ttl => '1 second');
select pg_sleep(1.1);
set pg_tollgate.ledger_retention_days = 35;
select task, done > 0 as some from copilot_internal.maintain() where task in ('fold', 'expire', 'retire') order by 1;
select count(*) from copilot_internal.pending_costs;
select tenant_id, records, cost_usd from copilot_internal.retired_costs;
select count(*) from copilot_internal.llm_cost_records where tenant_id = :'acme';
-- What a step has begun is undone with it.
create function refuse() returns trigger language plpgsql security definer as $$ begin raise exception 'the ledger is kept'; end $$;
drop table answers;
create trigger keeps after delete on copilot_internal.llm_cost_records for each row execute function refuse();
select count(*) from copilot_internal.maintain() where task = 'retire';
select count(*) from copilot_internal.retired_costs;
drop trigger keeps on copilot_internal.llm_cost_records;
select done from copilot_internal.maintain() where task = 'retire';
select * from copilot_internal.verify();
