-- A fold looks its records up by their ids in every part of the ledger. Otherwise it reads the ledger once for each.
set enable_seqscan = off;
create function pg_temp.plan_of(p_query text) returns setof text language plpgsql as $$
begin
    return query execute 'explain (costs off) ' || p_query;
end $$;
create temp view plan as
    select line from pg_temp.plan_of('
        with batch as materialized (
            select gen_random_uuid() as tenant_id, gen_random_uuid() as record_id, ''llm'' as source
            from generate_series(1, 10))
        select l.* from batch b
        join copilot_internal.ledger_lines l
          on l.tenant_id = b.tenant_id and l.record_id = b.record_id and l.written_in = b.source') as line;
select count(*) filter (where line ~ 'Index Scan using') as parts, count(*) filter (where line ~ 'b\.record_id') as looked_up,
       count(*) filter (where line ~ 'Seq Scan') as read_through
from plan;
