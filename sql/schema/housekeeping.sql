-- Housekeeping: what maintain(), the worker and a scheduler do beside the charges. No figure depends on it.

-- The look costs in proportion to the queue, so of a very long one it samples 32 MB, some 300,000 rows.
create function copilot_internal.pending_tails()
    returns table (tenant_id uuid, length bigint, oldest timestamptz)
    language plpgsql volatile set search_path = pg_catalog, pg_temp set jit = off as $$
#variable_conflict use_column
declare
    c_bytes constant bigint := 32 * 1024 * 1024;
    v_share constant real :=
        least(100, 100.0 * c_bytes / greatest(pg_relation_size('copilot_internal.pending_costs'), 1));
begin
    return query
    select p.tenant_id, ceil(count(*) * 100 / v_share)::bigint, min(p.charged_at)
    from copilot_internal.pending_costs p tablesample system (v_share)
    group by p.tenant_id;
end $$;
comment on function copilot_internal.pending_tails() is
    'Who has pending rows, about how many, and the oldest moment charged among them. Run as the owner.';

-- Half of the seats are for the oldest tails and half for the longest, so that none waits for ever. Each tenant with a
-- seat folds an equal share, the oldest tail first; what is left over is for the longest. The two take turns by
-- batches, so that each has half of the time where that is short.
create function copilot_internal.fold_plan(p_limit integer, p_seats integer)
    returns table (number bigint, tenant_ids uuid[], limits integer[])
    language sql volatile
begin atomic
    with tails as materialized (
        select t.tenant_id, t.length,
               row_number() over (order by t.oldest, t.tenant_id) as by_age,
               row_number() over (order by t.length desc, t.tenant_id) as by_length
        from copilot_internal.pending_tails() t
        where t.tenant_id <> '00000000-0000-0000-0000-000000000000'
    ), seated as (
        select t.*, least(t.length, greatest(p_limit / count(*) over (), 1)) as share
        from tails t
        where t.by_age <= p_seats - p_seats / 2 or t.by_length <= p_seats / 2
    ), shared as (
        select s.*, p_limit - sum(s.share) over () as rest,
               sum(s.length - s.share) over (order by s.by_length) - (s.length - s.share) as before
        from seated s
    ), turns as (
        select 1 as round, s.by_age as place, s.tenant_id, s.share as most from shared s
        union all
        select 2, s.by_length, s.tenant_id, least(s.length - s.share, s.rest - s.before)::bigint from shared s
        where s.length > s.share and s.before < s.rest
    ), pieces as (
        -- A statement folds about 5,000 rows.
        select t.round, t.place, i.piece, t.tenant_id, least(5000, t.most - 5000 * i.piece)::integer as most
        from turns t
        cross join lateral pg_catalog.generate_series(0, (t.most - 1) / 5000) as i (piece)
    ), numbered as (
        select (sum(p.most) over (partition by p.round order by p.place, p.piece) - 1) / 5000 * 2 + p.round as number,
               p.tenant_id, p.most
        from pieces p
    ), batches as (
        select n.number, n.tenant_id, sum(n.most)::integer as most from numbered n group by n.number, n.tenant_id
    )
    select b.number, pg_catalog.array_agg(b.tenant_id order by b.tenant_id),
           pg_catalog.array_agg(b.most order by b.tenant_id)
    from batches b
    group by b.number
    order by b.number;
end;
comment on function copilot_internal.fold_plan(integer, integer) is
    'Which tenants to fold next, at most so many, in batches and in turn, and how many rows of each, at most p_limit '
    'in all. The platform is not among them. Run as the owner.';

-- A tenant that is folded, and each of its quotas that lacks events, take a place in the server's lock table until the
-- transaction ends. A quota that lacks one lacks three, mostly.
create function copilot_internal.lock_share() returns integer
    language sql stable
begin atomic
    select least(1000, greatest(16, pg_catalog.current_setting('max_connections')::integer
        * pg_catalog.current_setting('max_locks_per_transaction')::integer / 16));
end;
comment on function copilot_internal.lock_share() is
    'How many tenants one transaction of housekeeping may fold: a sixteenth of what connections alone would give the '
    'lock table. Run as the owner.';

create function copilot_internal.fold_pending(p_limit integer, p_until timestamptz,
    out folded bigint, out events bigint, out tenants uuid[])
    language plpgsql volatile set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    v_share constant integer := copilot_internal.lock_share();
    v_tenant_id uuid;
    c_platform constant uuid := '00000000-0000-0000-0000-000000000000';
    c_step constant integer := 5000;
    v_batch record;
    v_done bigint;
    v_platform bigint := 0;
begin
    folded := 0;
    events := 0;
    tenants := '{}';
    for v_batch in select * from copilot_internal.fold_plan(p_limit, least(p_limit, v_share)) loop
        v_done := copilot_internal.fold_batch(v_batch.tenant_ids, v_batch.limits);
        folded := folded + v_done;
        tenants := tenants || v_batch.tenant_ids;
        -- Nothing may be left that marks them: see events.sql.
        for v_tenant_id in
            select i.id from unnest(v_batch.tenant_ids) as i (id)
            where v_done > 0
              and not exists (select from copilot_internal.pending_costs p where p.tenant_id = i.id)
        loop
            events := events + copilot_internal.catch_up_events(v_tenant_id, 3 * v_share - events);
        end loop;
        exit when clock_timestamp() >= p_until;
    end loop;
    -- The platform's queue, in every call. The folds of its tenants have added to it.
    loop
        v_done := copilot_internal.fold_batch(array[c_platform], array[least(c_step, p_limit)]);
        v_platform := v_platform + v_done;
        exit when v_done < c_step or v_platform >= p_limit or clock_timestamp() >= p_until;
    end loop;
    folded := folded + v_platform;
end $$;
comment on function copilot_internal.fold_pending(integer, timestamptz) is
    'Folds at most p_limit rows of tenants, and as many of the platform, until about the moment. Says how many rows it '
    'folded, how many events it wrote, and which tenants it turned to. Run as the owner.';

-- A tenant's named estimates from its own latest records: at most 5,000 of thirty days, twenty of a kind at least.
create function copilot_internal.refresh_estimates(p_tenant_id uuid) returns bigint
    language sql volatile
begin atomic
    with calls as (
        select r.model_provider, r.model_name, coalesce(r.task, 'chat') as operation_type, r.cost_usd
        from copilot_internal.llm_cost_records r
        where r.tenant_id = p_tenant_id and r.cost_usd is not null
          and r.occurred_at > pg_catalog.clock_timestamp() - interval '30 days'
        order by r.occurred_at desc
        limit 5000
    ), call_levels as (
        select c.model_provider, c.model_name, c.operation_type, l.level, pg_catalog.trim_scale(
                   pg_catalog.percentile_disc(l.fraction) within group (order by c.cost_usd)) as estimate
        from calls c
        cross join (values ('conservative', 0.95::float8), ('typical', 0.5), ('optimistic', 0.05))
            as l (level, fraction)
        where pg_catalog.length(c.model_provider) <= 200 and pg_catalog.length(c.model_name) <= 200
          and pg_catalog.length(c.operation_type) <= 200
        group by c.model_provider, c.model_name, c.operation_type, l.level, l.fraction
        having count(*) >= 20
    ), calls_done as (
        insert into copilot_internal.llm_cost_estimates as e
            (tenant_id, from_history, model_provider, model_name, operation_type, confidence_level, estimated_cost_usd)
        select p_tenant_id, true, c.model_provider, c.model_name, c.operation_type, c.level, c.estimate
        from call_levels c order by 3, 4, 5, 6
        on conflict (tenant_id, model_provider, model_name, operation_type, confidence_level) where from_history
        do update set estimated_cost_usd = excluded.estimated_cost_usd, effective_from = excluded.effective_from
        where e.effective_from < excluded.effective_from
        returning 1
    ), sessions as (
        select r.sandbox_type, coalesce(r.region, 'us-east-1') as region, r.cost_usd
        from copilot_internal.e2b_cost_records r
        where r.tenant_id = p_tenant_id and r.cost_usd is not null
          and r.occurred_at > pg_catalog.clock_timestamp() - interval '30 days'
        order by r.occurred_at desc
        limit 5000
    ), session_levels as (
        select s.sandbox_type, s.region, l.level, pg_catalog.trim_scale(
                   pg_catalog.percentile_disc(l.fraction) within group (order by s.cost_usd)) as estimate
        from sessions s
        cross join (values ('conservative', 0.95::float8), ('typical', 0.5), ('optimistic', 0.05))
            as l (level, fraction)
        where pg_catalog.length(s.sandbox_type) <= 200 and pg_catalog.length(s.region) <= 200
        group by s.sandbox_type, s.region, l.level, l.fraction
        having count(*) >= 20
    ), sessions_done as (
        insert into copilot_internal.e2b_cost_estimates as e
            (tenant_id, from_history, sandbox_type, region, confidence_level, estimated_cost_usd)
        select p_tenant_id, true, s.sandbox_type, s.region, s.level, s.estimate
        from session_levels s order by 3, 4, 5
        on conflict (tenant_id, sandbox_type, region, operation_type, confidence_level) where from_history
        do update set estimated_cost_usd = excluded.estimated_cost_usd, effective_from = excluded.effective_from
        where e.effective_from < excluded.effective_from
        returning 1
    )
    select (select count(*) from calls_done) + (select count(*) from sessions_done);
end;
comment on function copilot_internal.refresh_estimates(uuid) is
    'Brings a tenant''s named estimates up to date with its own records and returns how many there are. Run as the '
    'owner.';

-- Only the newest row of the nil UUID says anything.
create function copilot_internal.forget_voided_starts(p_limit integer) returns void
    language sql volatile
begin atomic
    delete from copilot_internal.queue_starts s
    where s.ctid = any (array(
        select o.ctid from copilot_internal.queue_starts o
        where o.tenant_id = '00000000-0000-0000-0000-000000000000'
          and o.since < (select n.since from copilot_internal.queue_starts n
                         where n.tenant_id = '00000000-0000-0000-0000-000000000000'
                         order by n.since desc limit 1)
          -- Elsewhere a row that another has deleted since would be a serialization failure.
          and pg_catalog.current_setting('transaction_isolation') = 'read committed'
        limit p_limit for update skip locked));
end;
comment on function copilot_internal.forget_voided_starts(integer) is
    'Deletes at most so many rows of queue_starts that newer ones stand for. Run as the owner.';

create function copilot_internal.run_maintenance(p_limit integer, p_within interval, p_looks integer)
    returns table (task text, done bigint)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_until timestamptz;
    v_tenant_id uuid;
    v_pending record;
begin
    if p_limit is null or p_limit < 1 then
        raise exception 'p_limit must be at least 1' using errcode = 'invalid_parameter_value';
    end if;
    if p_within is null or p_within <= interval '0' or p_within > interval '1 day' then
        raise exception 'p_within must be more than 0 and at most 1 day' using errcode = 'invalid_parameter_value';
    end if;
    v_until := clock_timestamp() + p_within;
    perform copilot_internal.refuse_triggers(false);
    perform copilot_internal.forget_voided_starts(p_limit);
    select * into v_pending from copilot_internal.fold_pending(p_limit, v_until);
    task := 'fold';
    done := v_pending.folded;
    return next;
    task := 'expire';
    done := copilot_internal.expire_reservations(p_limit::bigint);
    return next;
    task := 'events';
    done := v_pending.events + copilot_internal.catch_up_events_of_charged(p_looks);
    return next;
    task := 'old events';
    done := copilot_internal.delete_old_events(p_limit);
    return next;
    -- Of those who have spent something, once an hour.
    task := 'estimate';
    done := 0;
    for v_tenant_id in
        select distinct t.id from unnest(v_pending.tenants[1:100]) as t (id)
        where not exists (select from copilot_internal.llm_cost_estimates e
                          where e.from_history and e.tenant_id = t.id
                            and e.effective_from > clock_timestamp() - interval '1 hour')
          and not exists (select from copilot_internal.e2b_cost_estimates e
                          where e.from_history and e.tenant_id = t.id
                            and e.effective_from > clock_timestamp() - interval '1 hour')
    loop
        exit when clock_timestamp() >= v_until;
        done := done + copilot_internal.refresh_estimates(v_tenant_id);
    end loop;
    return next;
    task := 'triggers';
    done := copilot_internal.arm_triggers();
    if done > 0 then
        return next;
    end if;
    -- Last, since refunds of these tenants wait from then on.
    task := 'retire';
    done := copilot_internal.retire_ledger(p_limit, v_until);
    if done > 0 then
        return next;
    end if;
end $$;
comment on function copilot_internal.run_maintenance(integer, interval, integer) is
    'What maintain() does, for its kernel, which has asked who calls, and for the worker. Run as the owner.';

create function copilot_internal.housekeeping_step(p_whole boolean, out folded bigint, out remaining bigint)
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    if p_whole then
        select m.done into folded from copilot_internal.run_maintenance(20000, '500 milliseconds', 10) m
        where m.task = 'fold';
    else
        perform copilot_internal.refuse_triggers(false);
        select p.folded into folded
        from copilot_internal.fold_pending(20000, clock_timestamp() + interval '500 milliseconds') p;
    end if;
    select count(*) into remaining from (select from copilot_internal.pending_costs limit 50000) p;
end $$;
comment on function copilot_internal.housekeeping_step(boolean) is
    'One step of housekeep() or of a worker: about half a second''s work. Says how many rows it folded and, up to '
    '50,000, how many are there. Unless it is whole it only folds. Run as the owner.';

create function copilot_internal.maintain(p_limit integer default 10000, p_within interval default '20 seconds')
    returns table (task text, done bigint)
    language c volatile as 'MODULE_PATHNAME', 'maintain_wrapper';
comment on function copilot_internal.maintain(integer, interval) is
    'Housekeeping: folds pending rows into the rollups, oldest and longest tails first, marks expired reservations, '
    'writes missed events, deletes old ones, retires old rows. At most p_limit rows a task; no step begins after '
    'p_within. Safe at any time.';

create procedure copilot_internal.housekeep(p_within interval default '50 seconds')
    language c as 'MODULE_PATHNAME', 'housekeep_wrapper';
comment on procedure copilot_internal.housekeep(interval) is
    'maintain() in steps that commit, until little is left to fold or the time is over. What is done stays done when '
    'it is cancelled. For a scheduler or a person; in a transaction it is one step.';
