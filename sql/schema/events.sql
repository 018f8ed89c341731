-- The outbox. What writes into it, and why no charge waits for it, heads the library's module events.

create table copilot_internal.quota_events (
    -- Ordered by time, as a UUID of version 7 is (RFC 9562).
    id uuid primary key default pg_catalog.encode(pg_catalog.set_bit(pg_catalog.set_bit(pg_catalog.overlay(
        pg_catalog.uuid_send(pg_catalog.gen_random_uuid()),
        pg_catalog.substring(pg_catalog.int8send(
            pg_catalog.floor(extract(epoch from pg_catalog.clock_timestamp()) * 1000)::bigint), 3),
        1, 6), 52, 1), 53, 1), 'hex')::uuid,
    tenant_id uuid,
    quota_id uuid,
    event_type text not null check (event_type in ('threshold', 'overrun', 'limit_changed', 'denied')),
    threshold numeric,
    period_start timestamptz,
    payload jsonb not null default '{}',
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    acknowledged_at timestamptz,
    period_end timestamptz,
    limit_nanos bigint,
    spent_nanos bigint,
    claimed_until timestamptz
);
comment on table copilot_internal.quota_events is
    'The outbox: what happened to quotas, written in the transaction that did it, to be told to the world once. Read '
    'with claim_quota_events, answered with acknowledge_quota_events.';
comment on column copilot_internal.quota_events.id is 'Key, ordered by time.';
comment on column copilot_internal.quota_events.tenant_id is
    'The tenant, whose members may read it; NULL for a quota of the platform.';
comment on column copilot_internal.quota_events.quota_id is
    'The quota, by its id in metrics.quota_status; NULL for a denial that no quota was the reason of.';
comment on column copilot_internal.quota_events.event_type is
    'threshold: a share of the limit was reached; overrun: more than the limit was spent. Also limit_changed (limit, '
    'mode or suspension) and denied (a refusal whose caller asked for an event).';
comment on column copilot_internal.quota_events.threshold is
    'The share of the limit that was reached; NULL for the other types.';
comment on column copilot_internal.quota_events.period_start is
    'When the period began; NULL for lifetime and limit_changed.';
comment on column copilot_internal.quota_events.payload is
    'For people and programs: scope, resource_type, period, mode, limit_usd, current_spend_usd; old and new of a '
    'change; tenant, amount and reason of a denial.';
comment on column copilot_internal.quota_events.created_at is 'When it was written.';
comment on column copilot_internal.quota_events.acknowledged_at is 'When a consumer was done with it.';
comment on column copilot_internal.quota_events.period_end is
    'When the period ends; NULL for lifetime and limit_changed.';
comment on column copilot_internal.quota_events.limit_nanos is 'The limit that held when it was written, in nano USD.';
comment on column copilot_internal.quota_events.spent_nanos is
    'What was counted when it was written, in nano USD: committed charges and that of the writing transaction.';
comment on column copilot_internal.quota_events.claimed_until is
    'Until when it is with a consumer, who has claimed and not yet acknowledged it.';

create unique index quota_events_once_idx on copilot_internal.quota_events
    (quota_id, period_start, event_type, threshold, limit_nanos) nulls not distinct
    where event_type in ('threshold', 'overrun');
create index quota_events_tenant_idx on copilot_internal.quota_events (tenant_id, created_at);
create index quota_events_open_idx on copilot_internal.quota_events (created_at, threshold, id)
    where acknowledged_at is null;
create index quota_events_done_idx on copilot_internal.quota_events (acknowledged_at) where acknowledged_at is not null;
create index quota_events_denied_idx on copilot_internal.quota_events
    (coalesce(quota_id, tenant_id, '00000000-0000-0000-0000-000000000000'), created_at) where event_type = 'denied';
create index quota_events_denied_tenant_idx on copilot_internal.quota_events ((payload ->> 'tenant_id'))
    where event_type = 'denied';
-- The user that an event is about: the subject of a quota, or who was refused.
create index quota_events_user_idx on copilot_internal.quota_events ((coalesce(payload ->> 'user_id',
    case payload ->> 'scope' when 'user' then payload ->> 'scope_id' end)), id)
    where coalesce(payload ->> 'user_id', case payload ->> 'scope' when 'user' then payload ->> 'scope_id' end)
        is not null;

-- A restore inserts, so it is not told of here.
create function copilot_internal.note_limit_change() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- A role that may execute it could hang it on a table of its own, and make events up.
    if tg_relid <> 'copilot_internal.cost_quotas'::regclass or tg_op <> 'UPDATE' then
        raise exception 'only a change of a quota is noted' using errcode = 'insufficient_privilege';
    end if;
    insert into copilot_internal.quota_events (tenant_id, quota_id, event_type, limit_nanos, payload)
    values (new.tenant_id, new.id, 'limit_changed', floor(new.limit_usd * 1000000000)::bigint, jsonb_build_object(
        'scope', new.scope, 'scope_id', new.scope_id, 'resource_type', new.resource_type, 'period', new.period,
        'old', jsonb_build_object(
            'limit_usd', trim_scale(old.limit_usd), 'mode', old.mode, 'suspended', old.suspended),
        'new', jsonb_build_object(
            'limit_usd', trim_scale(new.limit_usd), 'mode', new.mode, 'suspended', new.suspended)));
    return null;
end $$;
comment on function copilot_internal.note_limit_change() is
    'Writes a limit_changed event, in the transaction of the change.';
create trigger note_limit_change after update on copilot_internal.cost_quotas
    for each row
    when ((old.limit_usd, old.mode, old.suspended) is distinct from (new.limit_usd, new.mode, new.suspended))
    execute function copilot_internal.note_limit_change();

create function copilot_internal.catch_up_events(p_tenant_id uuid, p_limit bigint) returns bigint
    language c volatile as 'MODULE_PATHNAME', 'catch_up_events_wrapper';
comment on function copilot_internal.catch_up_events(uuid, bigint) is
    'Writes events that the tables call for and that are not there, at most so many. In the present periods of one '
    'tenant''s quotas. The nil UUID stands for the platform. Run as the owner.';

-- What was charged and not yet folded marks the tenants whose events may be missing: maintain() looks after it has
-- folded. A fold that has not looked to the end leaves a pending row of nothing. One look costs as much as a view of
-- the tenant's quotas, so a call makes a bounded number of them, from a random place on, and many calls reach all.
create function copilot_internal.catch_up_events_of_charged(p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_start constant uuid := gen_random_uuid();
    -- Each is written under a lock, perhaps.
    v_most constant bigint := copilot_internal.lock_share();
    v_tenant_id uuid;
    v_written bigint := 0;
begin
    for v_tenant_id in
        with recursive charged as (
            (select p.tenant_id, 1 as number from copilot_internal.pending_costs p
             where p.tenant_id > v_start order by p.tenant_id limit 1)
            union all
            select (select p.tenant_id from copilot_internal.pending_costs p
                    where p.tenant_id > c.tenant_id order by p.tenant_id limit 1), c.number + 1
            from charged c
            where c.tenant_id is not null and c.number < p_limit
        ), wrapped as (
            (select p.tenant_id, 1 as number from copilot_internal.pending_costs p
             where p.tenant_id > '00000000-0000-0000-0000-000000000000' and p.tenant_id <= v_start
             order by p.tenant_id limit 1)
            union all
            select (select p.tenant_id from copilot_internal.pending_costs p
                    where p.tenant_id > w.tenant_id and p.tenant_id <= v_start
                    order by p.tenant_id limit 1), w.number + 1
            from wrapped w
            where w.tenant_id is not null and w.number < p_limit
        )
        select t.tenant_id
        from (select c.tenant_id from charged c union all select w.tenant_id from wrapped w) t
        where t.tenant_id is not null
        limit p_limit
    loop
        v_written := v_written + copilot_internal.catch_up_events(v_tenant_id, v_most - v_written);
        exit when v_written >= v_most;
    end loop;
    if exists (select from copilot_internal.cost_quotas q where q.tenant_id is null) then
        v_written := v_written + copilot_internal.catch_up_events('00000000-0000-0000-0000-000000000000', v_most);
    end if;
    return v_written;
end $$;
comment on function copilot_internal.catch_up_events_of_charged(integer) is
    'catch_up_events for at most so many tenants that have charges which are not folded, and for the platform. Run as '
    'the owner.';

-- What an event's key guards against is written again while its period lasts, so it stays that long.
create function copilot_internal.delete_old_events(p_limit integer) returns bigint
    language sql volatile
begin atomic
    with gone as (
        delete from copilot_internal.quota_events e
        where e.id = any (array(
            select d.id from copilot_internal.quota_events d
            where d.acknowledged_at < pg_catalog.clock_timestamp() - interval '90 days'
              and (d.event_type in ('limit_changed', 'denied')
                   or d.period_end < pg_catalog.clock_timestamp() - interval '90 days')
            order by d.acknowledged_at
            limit p_limit
            for update skip locked))
        returning e.id
    )
    select count(*) from gone;
end;
comment on function copilot_internal.delete_old_events(integer) is
    'Deletes at most so many events that were acknowledged, and whose period ended, more than 90 days ago. Run as the '
    'owner.';

create function copilot_internal.claim_events(p_limit integer, p_lease interval, p_tenant_id uuid)
    returns table (id uuid, tenant_id uuid, quota_id uuid, event_type text, threshold numeric, period_start timestamptz,
        payload jsonb, created_at timestamptz, acknowledged_at timestamptz)
    language plpgsql volatile rows 100 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    if p_limit is null or p_limit < 1 or p_limit > 1000 then
        raise exception 'p_limit must be between 1 and 1000' using errcode = 'invalid_parameter_value';
    end if;
    if p_lease is null or p_lease < interval '1 second' or p_lease > interval '1 day' then
        raise exception 'p_lease must be between 1 second and 1 day' using errcode = 'invalid_parameter_value';
    end if;
    if p_tenant_id is null then
        perform copilot_internal.catch_up_events_of_charged(100);
    else
        perform copilot_internal.catch_up_events(p_tenant_id, copilot_internal.lock_share());
    end if;
    return query
    with next as (
        select e.id
        from copilot_internal.quota_events e
        where e.acknowledged_at is null and (e.claimed_until is null or e.claimed_until <= clock_timestamp())
          and (p_tenant_id is null or e.tenant_id = p_tenant_id)
        order by e.created_at, e.threshold, e.id
        limit p_limit
        for update skip locked
    ), claimed as (
        update copilot_internal.quota_events e
        set claimed_until = clock_timestamp() + p_lease
        from next n
        where e.id = n.id
        returning e.*
    )
    select c.id, c.tenant_id, c.quota_id, c.event_type, c.threshold, c.period_start, c.payload, c.created_at,
           c.acknowledged_at
    from claimed c
    order by c.created_at, c.threshold, c.id;
end $$;
comment on function copilot_internal.claim_events(integer, interval, uuid) is
    'What claim_quota_events does, for its kernel, which has asked who calls. Run as the owner.';

create function public.claim_quota_events(
    p_limit integer default 100, p_lease interval default '1 minute', p_tenant_id uuid default null)
    returns table (id uuid, tenant_id uuid, quota_id uuid, event_type text, threshold numeric, period_start timestamptz,
        payload jsonb, created_at timestamptz, acknowledged_at timestamptz)
    language c volatile rows 100 as 'MODULE_PATHNAME', 'claim_quota_events_wrapper';
comment on function public.claim_quota_events(integer, interval, uuid) is
    'The oldest events, of all or of one tenant, that are neither acknowledged nor with another consumer, at most '
    '1,000. They are the caller''s for p_lease (1 second to 1 day), and then come again unless '
    'acknowledge_quota_events has named them.';

create function copilot_internal.acknowledge_events(p_event_ids uuid[], p_tenant_id uuid) returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_count integer;
begin
    if p_event_ids is null or exists (select from unnest(p_event_ids) u (id) where u.id is null) then
        raise exception 'p_event_ids must neither be NULL nor hold one' using errcode = 'invalid_parameter_value';
    end if;
    update copilot_internal.quota_events e
    set acknowledged_at = clock_timestamp()
    where e.id = any (p_event_ids) and e.acknowledged_at is null and (p_tenant_id is null or e.tenant_id = p_tenant_id);
    get diagnostics v_count = row_count;
    return v_count;
end $$;
comment on function copilot_internal.acknowledge_events(uuid[], uuid) is
    'What acknowledge_quota_events does, for its kernel, which has asked who calls. Run as the owner.';

create function public.acknowledge_quota_events(p_event_ids uuid[], p_tenant_id uuid default null) returns integer
    language c volatile as 'MODULE_PATHNAME', 'acknowledge_quota_events_wrapper';
comment on function public.acknowledge_quota_events(uuid[], uuid) is
    'Says that these events are dealt with: claim_quota_events gives them no more. Returns how many were not '
    'acknowledged before; unknown ids, and those of another tenant than is named, are passed over.';
