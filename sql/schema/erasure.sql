-- Erasing a person. In each tenant the user's id gives way to a pseudonym: random, the same in all tables, and known
-- beside the id only while the erasure is in progress. Ledger rows move with their share of the rollups in one
-- transaction, so every sum is exact before, between and after steps. What they say of the person in words is dropped.

create table copilot_internal.erasures (
    user_id uuid not null,
    tenant_id uuid not null,
    pseudonym uuid not null default pg_catalog.gen_random_uuid(),
    salt uuid not null default pg_catalog.gen_random_uuid(),
    started_at timestamptz not null default pg_catalog.clock_timestamp(),
    primary key (user_id, tenant_id)
);
comment on table copilot_internal.erasures is
    'Erasures in progress: the only place where a user''s id stands beside the pseudonym. The last step deletes the '
    'row.';
comment on column copilot_internal.erasures.user_id is 'The user who is erased.';
comment on column copilot_internal.erasures.tenant_id is 'In which tenant.';
comment on column copilot_internal.erasures.pseudonym is 'What stands for the user there from now on.';
comment on column copilot_internal.erasures.salt is 'By which sandboxes get other ids.';
comment on column copilot_internal.erasures.started_at is 'When it began.';

create function copilot_internal.left_of_person(p_user_id uuid, p_tenant_id uuid) returns text[]
    language sql stable
begin atomic
    select pg_catalog.array_remove(array(
        select distinct case w.source when 'llm' then 'llm_cost_records' when 'e2b' then 'e2b_cost_records'
                                      when 'charge' then 'quota_charges' else 'cost_corrections' end
        from (
            select p.source from copilot_internal.pending_costs p
            where p.tenant_id = p_tenant_id and p.user_id = p_user_id
            union all
            select case when c.record_count = 0 and c.source <> 'charge' then 'correction' else c.source end
            from copilot_internal.cost_rollups c
            where c.user_id = p_user_id and c.tenant_id = p_tenant_id
        ) w) || array[
        case when exists (select from copilot_internal.pending_costs p
            where p.tenant_id = p_tenant_id and p.user_id = p_user_id) then 'pending_costs' end,
        case when exists (select from copilot_internal.quota_reservations r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'quota_reservations' end,
        case when exists (select from copilot_internal.cost_rollups r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'cost_rollups' end,
        case when exists (select from copilot_internal.quota_rollups r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'quota_rollups' end,
        case when exists (select from copilot_internal.user_rollups r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'user_rollups' end,
        case when exists (select from copilot_internal.quota_events e
            where coalesce(e.payload ->> 'user_id',
                      case e.payload ->> 'scope' when 'user' then e.payload ->> 'scope_id' end) = p_user_id::text
              and coalesce(e.tenant_id, (e.payload ->> 'tenant_id')::uuid) = p_tenant_id) then 'quota_events' end,
        case when exists (select from copilot_internal.tenant_memberships m
            where m.user_id = p_user_id and m.tenant_id = p_tenant_id) then 'tenant_memberships' end,
        case when exists (select from copilot_internal.cost_quotas q
            where q.scope = 'user' and q.scope_id = p_user_id and q.tenant_id = p_tenant_id) then 'cost_quotas' end,
        case when exists (select from copilot_internal.tenant_llm_policies p, pg_catalog.jsonb_object_keys(
                p.user_overrides) k where p.tenant_id = p_tenant_id and pg_catalog.lower(k) = p_user_id::text)
            then 'tenant_llm_policies' end,
        case when exists (select from copilot_internal.user_preferences p
            where p.user_id = p_user_id and p.current_tenant_id = p_tenant_id) then 'user_preferences' end,
        case when exists (select from copilot_internal.tenants t
            where t.id = p_tenant_id and p_user_id in (t.owner_id, t.created_by)) then 'tenants' end], null);
end;
comment on function copilot_internal.left_of_person(uuid, uuid) is
    'The tables that hold something of a user in a tenant; of the ledger, those that may. Run as the owner.';

create function copilot_internal.tenants_of_person(p_user_id uuid) returns setof uuid
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_last uuid;
    v_next uuid;
begin
    return query
        select m.tenant_id from copilot_internal.tenant_memberships m where m.user_id = p_user_id
        union
        select t.id from copilot_internal.tenants t where t.owner_id = p_user_id
        union
        select t.id from copilot_internal.tenants t where t.created_by = p_user_id
        union
        select p.current_tenant_id from copilot_internal.user_preferences p
        where p.user_id = p_user_id and p.current_tenant_id is not null
        union
        select q.tenant_id from copilot_internal.cost_quotas q where q.scope = 'user' and q.scope_id = p_user_id
        union
        select coalesce(e.tenant_id, (e.payload ->> 'tenant_id')::uuid) from copilot_internal.quota_events e
        where coalesce(e.payload ->> 'user_id',
                  case e.payload ->> 'scope' when 'user' then e.payload ->> 'scope_id' end) = p_user_id::text
          and coalesce(e.tenant_id, (e.payload ->> 'tenant_id')::uuid) is not null
        union
        select p.tenant_id from copilot_internal.tenant_llm_policies p
        cross join lateral jsonb_object_keys(p.user_overrides) k
        where p.user_overrides <> '{}' and lower(k) = p_user_id::text;
    return query select distinct p.tenant_id from copilot_internal.pending_costs p where p.user_id = p_user_id;
    -- From tenant to tenant by the index, whatever there is of each.
    foreach v_table in array array['quota_reservations', 'cost_rollups']
    loop
        v_last := '00000000-0000-0000-0000-000000000000';
        loop
            execute format('select r.tenant_id from copilot_internal.%I r where r.user_id = $1 and r.tenant_id > $2 '
                'order by r.user_id, r.tenant_id limit 1', v_table) into v_next using p_user_id, v_last;
            exit when v_next is null;
            return next v_next;
            v_last := v_next;
        end loop;
    end loop;
end $$;
comment on function copilot_internal.tenants_of_person(uuid) is
    'The tenants in which there is something of a user, some of them more than once. Run as the owner.';

-- No sum moves but by move_lines(). Words by which no price goes are dropped, and prices come to the same. What a
-- sandbox was called gives way to a digest: one that is recorded from time to time stays one. reprice() knows its own
-- corrections by their request ids, and an execution context its bill, so that it is billed once.
create function copilot_internal.erase_rows(p_erasure copilot_internal.erasures, p_source text, p_ids uuid[])
    returns integer
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_tenant constant uuid := p_erasure.tenant_id;
    c_pseudonym constant uuid := p_erasure.pseudonym;
begin
    if p_ids = '{}' then
        return 0;
    end if;
    perform copilot_internal.move_lines(c_tenant, p_source, p_ids, c_pseudonym);
    case p_source
        when 'llm' then
            update copilot_internal.llm_cost_records r
            set user_id = c_pseudonym, conversation_id = null, path_id = null, task = null, request_id = null,
                trace_id = null, span_id = null, metadata = '{}', pricing = copilot_internal.pricing_alone(r.pricing),
                service_tier = copilot_internal.tier_understood(r.service_tier),
                usage = copilot_internal.usage_understood(r.model_provider, r.input_tokens, r.output_tokens, r.usage)
            where r.id = any (p_ids) and r.tenant_id = c_tenant;
        when 'e2b' then
            update copilot_internal.e2b_cost_records r
            set user_id = c_pseudonym, conversation_id = null, path_id = null, metadata = '{}',
                request_id = case when r.request_id ~ '^execution_context:[0-9a-f-]{36}$' then r.request_id end,
                pricing = copilot_internal.pricing_alone(r.pricing),
                region = (select p.region from copilot_internal.e2b_pricing p where p.region = r.region limit 1),
                sandbox_id = encode(sha256(convert_to(p_erasure.salt::text || r.sandbox_id, 'UTF8')), 'hex')
            where r.id = any (p_ids) and r.tenant_id = c_tenant;
        when 'charge' then
            update copilot_internal.quota_charges r
            set user_id = c_pseudonym, request_id = null, reason = null
            where r.id = any (p_ids) and r.tenant_id = c_tenant;
        when 'retired' then
            update copilot_internal.retired_costs r set user_id = c_pseudonym, conversation_id = null, path_id = null
            where r.id = any (p_ids) and r.tenant_id = c_tenant;
        when 'correction' then
            update copilot_internal.cost_corrections r
            set user_id = c_pseudonym, conversation_id = null, path_id = null,
                request_id = case r.request_id when 'reprice:' || r.id then r.request_id else 'erased:' || r.id end,
                reason = case r.request_id when 'reprice:' || r.id then r.reason end
            where r.id = any (p_ids) and r.tenant_id = c_tenant;
    end case;
    return cardinality(p_ids);
end $$;
comment on function copilot_internal.erase_rows(copilot_internal.erasures, text, uuid[]) is
    'Erases these rows of one ledger table, with their share of the rollups; returns how many. The fold lock is held. '
    'Run as the owner.';

-- Where a user's rows of the ledger are: what is not folded is known by its id, and every row that is folded has its
-- share in the user's rollups of its day, whatever it came to. These stay until a step has looked the whole day
-- through, under the fold lock. So what is folded between two steps is found by the rollup that it brings or finds. A
-- day is read by the index of moments.
create function copilot_internal.erase_day(
    p_erasure copilot_internal.erasures, p_source text, p_day date, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_moment text;
    v_written_in text;
    v_ids uuid[];
    v_done bigint := 0;
    v_count bigint;
begin
    for v_table, v_moment, v_written_in in
        select t.name, t.moment, t.written_in
        from (values ('llm_cost_records', 'occurred_at', 'llm', array['llm']),
                     ('e2b_cost_records', 'occurred_at', 'e2b', array['e2b']),
                     ('quota_charges', 'charged_at', 'charge', array['charge']),
                     ('retired_costs', 'occurred_at', 'retired', array['llm', 'charge']),
                     ('cost_corrections', 'occurred_at', 'correction', array['llm', 'e2b']))
            as t (name, moment, written_in, sources)
        where p_source = any (t.sources)
    loop
        execute format('select array(select r.id from copilot_internal.%1$I r where r.tenant_id = $1 and r.%2$I >= $2 '
            'and r.%2$I < $3 and r.user_id = $4 limit $5)', v_table, v_moment)
        into v_ids
        using p_erasure.tenant_id, p_day::timestamp at time zone 'UTC', (p_day + 1)::timestamp at time zone 'UTC',
              p_erasure.user_id, p_limit - v_done;
        v_done := v_done + copilot_internal.erase_rows(p_erasure, v_written_in, v_ids);
        if v_done >= p_limit then
            return v_done;
        end if;
    end loop;
    delete from copilot_internal.cost_rollups c
    where c.tenant_id = p_erasure.tenant_id and c.day = p_day and c.source = p_source and c.user_id = p_erasure.user_id
      and c.cost_usd = 0 and c.record_count = 0 and c.unpriced_count = 0 and c.input_tokens = 0 and c.output_tokens = 0
      and c.duration_seconds = 0 and c.provider_cost_usd = 0;
    get diagnostics v_count = row_count;
    return v_done + v_count;
end $$;
comment on function copilot_internal.erase_day(copilot_internal.erasures, text, date, integer) is
    'Erases at most so many rows of a user in a tenant on one UTC day, and the day''s rollups once no row is '
    'left. Returns how many. The fold lock is held. Run as the owner.';

-- At most so many rows of the tables that can be long. It looks at one day at least, and at no other past the moment.
create function copilot_internal.erase_long(
    p_erasure copilot_internal.erasures, p_limit integer, p_until timestamptz) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_source text;
    v_day date;
    v_ids uuid[];
    v_done bigint := 0;
begin
    for v_source, v_ids in
        select p.source, array_agg(p.record_id)
        from (select c.source, c.record_id from copilot_internal.pending_costs c
              where c.tenant_id = p_erasure.tenant_id and c.user_id = p_erasure.user_id limit p_limit) p
        group by p.source
    loop
        v_done := v_done + copilot_internal.erase_rows(p_erasure, v_source, v_ids);
    end loop;
    for v_source, v_day in
        select distinct c.source, c.day from copilot_internal.cost_rollups c
        where c.user_id = p_erasure.user_id and c.tenant_id = p_erasure.tenant_id
        order by c.day, c.source
    loop
        exit when v_done >= p_limit;
        v_done := v_done + copilot_internal.erase_day(p_erasure, v_source, v_day, (p_limit - v_done)::integer);
        exit when clock_timestamp() >= p_until;
    end loop;
    -- A hold has no user from then on: a cost that settles it may name any, and is never refused. What another
    -- transaction is just resolving waits for the next call.
    v_ids := array(select r.id from copilot_internal.quota_reservations r
        where r.user_id = p_erasure.user_id and r.tenant_id = p_erasure.tenant_id
        limit greatest(p_limit - v_done, 0) for update skip locked);
    if v_ids <> '{}' then
        update copilot_internal.reservation_extensions x set request_id = 'erased:' || gen_random_uuid()
        where x.reservation_id = any (v_ids) and x.tenant_id = p_erasure.tenant_id;
        update copilot_internal.quota_reservations r
        set user_id = null, request_id = 'erased:' || r.id, reason = null, metadata = '{}'
        where r.id = any (v_ids) and r.tenant_id = p_erasure.tenant_id;
        v_done := v_done + cardinality(v_ids);
    end if;
    return v_done;
end $$;
comment on function copilot_internal.erase_long(copilot_internal.erasures, integer, timestamptz) is
    'Erases at most so many ledger rows and holds of a user in a tenant, with their share of the rollups; returns how '
    'many. Past the moment it begins no other day. The fold lock is held. Run as the owner.';

create function copilot_internal.erase_events(p_erasure copilot_internal.erasures, p_limit integer) returns bigint
    language sql volatile
begin atomic
    with changed as (
        update copilot_internal.quota_events e
        set payload = pg_catalog.replace(e.payload::text, (p_erasure).user_id::text, (p_erasure).pseudonym::text)::jsonb
            || case when e.payload ? 'request_id' then '{"request_id": null}'::jsonb else '{}' end
        where e.id = any (array(
            select c.id from copilot_internal.quota_events c
            where coalesce(c.payload ->> 'user_id',
                      case c.payload ->> 'scope' when 'user' then c.payload ->> 'scope_id' end)
                  = (p_erasure).user_id::text
              and coalesce(c.tenant_id, (c.payload ->> 'tenant_id')::uuid) = (p_erasure).tenant_id
            limit p_limit))
        returning 1
    )
    select count(*) from changed;
end;
comment on function copilot_internal.erase_events(copilot_internal.erasures, integer) is
    'Puts the pseudonym into at most so many events about a user in a tenant; returns how many. Run as the owner.';

-- Few rows, all at once. While it goes on, nothing enforced is admitted for the user: the figures that a quota of
-- theirs would be judged by are moving away.
create function copilot_internal.erase_short(p_erasure copilot_internal.erasures) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    c_user constant uuid := p_erasure.user_id;
    c_tenant constant uuid := p_erasure.tenant_id;
    v_done bigint := 0;
    v_count bigint;
begin
    perform copilot_internal.must_not_own(c_user, c_tenant);
    delete from copilot_internal.tenant_memberships m where m.tenant_id = c_tenant and m.user_id = c_user;
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    update copilot_internal.user_preferences p set current_tenant_id = null
    where p.user_id = c_user and p.current_tenant_id = c_tenant;
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    update copilot_internal.tenants t
    set created_by = case t.created_by when c_user then p_erasure.pseudonym else t.created_by end,
        owner_id = case t.owner_id when c_user then p_erasure.pseudonym else t.owner_id end
    where t.id = c_tenant and c_user in (t.owner_id, t.created_by);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    -- The personal tenant was the person's.
    update copilot_internal.tenants t
    set deleted_at = coalesce(t.deleted_at, clock_timestamp()), updated_at = clock_timestamp(), name = 'Erased',
        slug = null, settings = '{}'
    where t.id = c_tenant and t.owner_id = p_erasure.pseudonym and t.type = 'personal' and t.name <> 'Erased';
    update copilot_internal.tenant_llm_policies p
    set user_overrides = coalesce((select jsonb_object_agg(o.key, o.value) from jsonb_each(p.user_overrides) o
                                   where lower(o.key) <> c_user::text), '{}')
    where p.tenant_id = c_tenant
      and exists (select from jsonb_object_keys(p.user_overrides) k where lower(k) = c_user::text);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    delete from copilot_internal.quota_overrides o
    using copilot_internal.cost_quotas q
    where o.quota_id = q.id and q.scope = 'user' and q.scope_id = c_user and q.tenant_id = c_tenant;
    delete from copilot_internal.cost_quotas q
    where q.scope = 'user' and q.scope_id = c_user and q.tenant_id = c_tenant
      and not (q.resource_type = 'all' and q.period = 'lifetime' and q.suspended);
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    -- A quota of its own would make an unknown tenant known.
    insert into copilot_internal.cost_quotas (scope, scope_id, tenant_id, resource_type, period, suspended)
    select 'user', c_user, t.id, 'all', 'lifetime', true from copilot_internal.tenants t
    where t.id = c_tenant and t.deleted_at is null
    on conflict (tenant_id, scope, scope_id, resource_type, period) do nothing;
    return v_done;
end $$;
comment on function copilot_internal.erase_short(copilot_internal.erasures) is
    'Ends a user''s membership, preference, quotas and overrides in a tenant. Closes the tenant if it is the user''s '
    'personal one, and suspends the user until the erasure is done. The tenant''s row is locked. Run as the owner.';

create function copilot_internal.must_not_own(p_user_id uuid, p_tenant_id uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_owned uuid;
begin
    select t.id into v_owned
    from copilot_internal.tenants t
    where t.deleted_at is null and t.type <> 'personal' and t.owner_id = p_user_id
      and (p_tenant_id is null or t.id = p_tenant_id)
    union all
    select m.tenant_id
    from copilot_internal.tenant_memberships m
    join copilot_internal.tenants t on t.id = m.tenant_id
    where m.user_id = p_user_id and m.role = 'owner' and m.status = 'active' and t.deleted_at is null
      and (p_tenant_id is null or m.tenant_id = p_tenant_id)
      and not exists (select from copilot_internal.active_memberships a
                      where a.tenant_id = m.tenant_id and a.role = 'owner' and a.user_id <> p_user_id)
    limit 1;
    if found then
        raise exception 'the user owns tenant %, which must have another owner first', v_owned
            using errcode = 'object_not_in_prerequisite_state',
                hint = 'Give another member the role owner (set_member_role), then remove the user (remove_member); or '
                    'delete the tenant.';
    end if;
end $$;
comment on function copilot_internal.must_not_own(uuid, uuid) is
    'Refuses a user who owns a living tenant that is not personal: in one tenant, or in any. Run as the owner.';

create function copilot_internal.erase_in_tenant(
    p_user_id uuid, p_tenant_id uuid, p_limit integer, p_until timestamptz) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_erasure copilot_internal.erasures;
    v_done bigint;
    v_count bigint;
begin
    -- As everything that changes a tenant's people does first. A purge, too, comes to the erasure after it.
    perform from copilot_internal.tenants t where t.id = p_tenant_id for no key update;
    select * into v_erasure from copilot_internal.erasures e
    where e.user_id = p_user_id and e.tenant_id = p_tenant_id for update;
    if not found then
        return 0;
    end if;
    v_done := copilot_internal.erase_short(v_erasure);
    if not copilot_internal.await_fold_lock(p_tenant_id, true) then
        return v_done;
    end if;
    v_done := v_done + copilot_internal.erase_long(v_erasure, p_limit, p_until);
    -- Counters of quotas of the user, who spends less from one step to the next. Loads wait from here on.
    perform copilot_internal.reload_tenant_counters(p_tenant_id);
    if v_done < p_limit then
        v_done := v_done + copilot_internal.erase_events(v_erasure, (p_limit - v_done)::integer);
    end if;
    if v_done >= p_limit or copilot_internal.left_of_person(p_user_id, p_tenant_id)
        && array['pending_costs', 'cost_rollups', 'quota_reservations']
    then
        return v_done;
    end if;
    -- What is left of the user's rollups are rows of nothing.
    with gone as (
        delete from copilot_internal.quota_rollups r
        where r.ctid = any (array(select o.ctid from copilot_internal.quota_rollups o
            where o.tenant_id = p_tenant_id and o.user_id = p_user_id and o.nanos = 0 limit p_limit - v_done))
        returning 1
    )
    select count(*) into v_count from gone;
    v_done := v_done + v_count;
    delete from copilot_internal.user_rollups r
    where r.tenant_id = p_tenant_id and r.user_id = p_user_id and r.cost_usd = 0 and r.record_count = 0
      and r.unpriced_count = 0;
    get diagnostics v_count = row_count;
    v_done := v_done + v_count;
    if copilot_internal.left_of_person(p_user_id, p_tenant_id) <@ array['cost_quotas'] then
        -- A task may have been the user's own words; maintain() estimates anew.
        delete from copilot_internal.llm_cost_estimates e where e.tenant_id = p_tenant_id and e.from_history;
        delete from copilot_internal.cost_quotas q
        where q.scope = 'user' and q.scope_id = p_user_id and q.tenant_id = p_tenant_id;
        perform copilot_internal.erase_events(v_erasure, p_limit);
        if copilot_internal.left_of_person(p_user_id, p_tenant_id) = '{}' then
            delete from copilot_internal.erasures e where e.user_id = p_user_id and e.tenant_id = p_tenant_id;
        end if;
    end if;
    return v_done;
end $$;
comment on function copilot_internal.erase_in_tenant(uuid, uuid, integer, timestamptz) is
    'One step of an erasure in one tenant: at most so many rows, and how many it changed. Past the moment it begins no '
    'other day. When nothing is left it forgets the pseudonym. Run as the owner.';

create function copilot_internal.erase_person(p_user_id uuid, p_tenant_id uuid)
    returns table (finished boolean, changed bigint, remaining text[])
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    c_step constant integer := 10000;
    -- A fold lock is waited for as long.
    c_until constant timestamptz := clock_timestamp() + interval '2 seconds';
    v_tenant_id uuid;
    v_count bigint;
begin
    if p_user_id is null then
        raise exception 'p_user_id must not be NULL' using errcode = 'invalid_parameter_value';
    end if;
    if '00000000-0000-0000-0000-000000000000' in (p_user_id, p_tenant_id) then
        raise exception 'the nil UUID names nobody' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.must_not_own(p_user_id, p_tenant_id);
    perform copilot_internal.refuse_triggers(true);
    insert into copilot_internal.erasures (user_id, tenant_id)
    select distinct p_user_id, t.id
    from copilot_internal.tenants_of_person(p_user_id) as t (id)
    where p_tenant_id is null or t.id = p_tenant_id
    on conflict on constraint erasures_pkey do nothing;
    changed := 0;
    for v_tenant_id in
        select e.tenant_id from copilot_internal.erasures e
        where e.user_id = p_user_id and (p_tenant_id is null or e.tenant_id = p_tenant_id)
        order by e.tenant_id
    loop
        changed := changed
            + copilot_internal.erase_in_tenant(p_user_id, v_tenant_id, (c_step - changed)::integer, c_until);
        exit when changed >= c_step or clock_timestamp() >= c_until;
    end loop;
    select coalesce(array_agg(distinct l.source order by l.source), '{}'), count(distinct e.tenant_id) = 0
    into remaining, finished
    from copilot_internal.erasures e
    left join lateral unnest(copilot_internal.left_of_person(e.user_id, e.tenant_id)) as l (source) on true
    where e.user_id = p_user_id and (p_tenant_id is null or e.tenant_id = p_tenant_id);
    remaining := array_remove(remaining, null);
    -- Preferences are nobody else's, and of no tenant.
    if p_tenant_id is null and finished then
        delete from copilot_internal.user_preferences p where p.user_id = p_user_id;
        get diagnostics v_count = row_count;
        changed := changed + v_count;
    end if;
    return next;
end $$;
comment on function copilot_internal.erase_person(uuid, uuid) is
    'What erase_user does, for its kernel, which has asked who calls. Run as the owner.';

create function public.erase_user(p_user_id uuid, p_tenant_id uuid default null)
    returns table (finished boolean, changed bigint, remaining text[])
    language c volatile rows 1 as 'MODULE_PATHNAME', 'erase_user_wrapper';
comment on function public.erase_user(uuid, uuid) is
    'Replaces a user by a random pseudonym in all that is kept, in one tenant or in all, and drops what was noted in '
    'words. A call changes about 10,000 rows: repeat it until finished. Sums stay exact. 55000 while the user owns a '
    'tenant. For service_role.';

-- What the costs of conversations say in words. No sum moves, and the fold lock keeps them from being moved meanwhile.
-- The ledger has no index by conversation: whether there is anything to look for, the rollups and the queue tell.
create function copilot_internal.redact_conversation_costs(p_tenant_id uuid, p_conversation_ids uuid[]) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_llm bigint;
    v_e2b bigint;
begin
    if not exists (select from copilot_internal.conversation_lines l
                   where l.tenant_id = p_tenant_id and l.conversation_id = any (p_conversation_ids))
    then
        return 0;
    end if;
    perform copilot_internal.refuse_triggers(true);
    if not copilot_internal.await_fold_lock(p_tenant_id) then
        return null;
    end if;
    update copilot_internal.llm_cost_records r set task = null, metadata = '{}'
    where r.tenant_id = p_tenant_id and r.conversation_id = any (p_conversation_ids)
      and (r.task is not null or r.metadata <> '{}');
    get diagnostics v_llm = row_count;
    update copilot_internal.e2b_cost_records r set metadata = '{}'
    where r.tenant_id = p_tenant_id and r.conversation_id = any (p_conversation_ids) and r.metadata <> '{}';
    get diagnostics v_e2b = row_count;
    return v_llm + v_e2b;
end $$;
comment on function copilot_internal.redact_conversation_costs(uuid, uuid[]) is
    'Empties task and metadata of what conversations cost; returns how many rows it changed, NULL while somebody folds '
    'the tenant''s. Run as the owner.';

create function copilot_internal.redact_costs(p_tenant_id uuid, p_conversation_id uuid) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_done bigint;
begin
    if p_tenant_id is null or p_conversation_id is null then
        raise exception 'p_tenant_id and p_conversation_id must be given' using errcode = 'invalid_parameter_value';
    end if;
    v_done := copilot_internal.redact_conversation_costs(p_tenant_id, array[p_conversation_id]);
    if v_done is null then
        raise exception 'the tenant''s costs are being folded' using errcode = 'lock_not_available',
            hint = 'Call it again.';
    end if;
    return v_done;
end $$;
comment on function copilot_internal.redact_costs(uuid, uuid) is
    'What redact_cost_metadata does, for its kernel, which has asked who calls. Run as the owner.';

create function public.redact_cost_metadata(p_tenant_id uuid, p_conversation_id uuid) returns bigint
    language c volatile as 'MODULE_PATHNAME', 'redact_cost_metadata_wrapper';
comment on function public.redact_cost_metadata(uuid, uuid) is
    'Empties task and metadata of what a conversation cost, and returns how many records it changed. No amount '
    'changes. A request that is repeated with its task is refused (23505) from then on. For service_role.';
