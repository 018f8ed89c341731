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

create function copilot_internal.usage_understood(
    p_provider text, p_input_tokens bigint, p_output_tokens bigint, p_usage jsonb)
    returns jsonb language c immutable parallel safe as 'MODULE_PATHNAME', 'usage_understood_wrapper';
comment on function copilot_internal.usage_understood(text, bigint, bigint, jsonb) is
    'What of a record''s usage reads and costs as all of it, without the caller''s own words; NULL where nothing was '
    'understood.';

create function copilot_internal.pricing_alone(p_pricing jsonb) returns jsonb
    language sql immutable parallel safe
begin atomic
    select pg_catalog.jsonb_object_agg(p.key, p.value) from pg_catalog.jsonb_each(p_pricing) p
    where p.key in ('lines', 'multipliers', 'exact_usd', 'total_usd', 'source', 'price_id', 'price_provider',
                    'price_model') or p.key ~ '^other_model(_[0-9]+)?$';
end;
comment on function copilot_internal.pricing_alone(jsonb) is
    'A record''s pricing without what tells of words in the usage that were not understood.';

-- A fold is in a transaction of somebody else, who may keep it open.
create function copilot_internal.await_fold_lock(p_tenant_id uuid) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
begin
    for v_attempt in 1..100 loop
        if copilot_internal.try_fold_lock(p_tenant_id) then
            return true;
        end if;
        perform pg_sleep(0.02);
    end loop;
    return false;
end $$;
comment on function copilot_internal.await_fold_lock(uuid) is
    'try_fold_lock, tried for up to two seconds. Run as the owner.';

-- The caller has the fold lock, took it in an earlier statement, and changes the rows in a later one: until then
-- ledger_lines tells what they counted as. A row is either pending or in the rollups.
create function copilot_internal.move_lines(p_tenant_id uuid, p_source text, p_ids uuid[], p_pseudonym uuid)
    returns void language sql volatile
begin atomic
    with pending as (
        update copilot_internal.pending_costs p set user_id = p_pseudonym
        where p.tenant_id = p_tenant_id and p.record_id = any (p_ids) and p.source = p_source
          and p_pseudonym is not null
        returning p.record_id
    ), lines as materialized (
        select l.*, (l.occurred_at at time zone 'UTC')::date as day
        from pg_catalog.unnest(p_ids) as i (id)
        join copilot_internal.ledger_lines l
          on l.record_id = i.id and l.tenant_id = p_tenant_id and l.written_in = p_source
        where not exists (select from pending p where p.record_id = i.id)
    ), quota_sums as (
        select u.user_id, l.resource_type, g.grain, g.bucket, sum(u.sign * l.charge_nanos) as nanos
        from lines l
        cross join lateral (
            select l.user_id, -1 as sign
            union
            select coalesce(p_pseudonym, '00000000-0000-0000-0000-000000000000'),
                   case when p_pseudonym is null then -1 else 1 end
        ) u
        cross join lateral (values
            ('quarter', pg_catalog.date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00')),
            ('day', pg_catalog.date_bin('1 day', l.charged_at, '2000-01-01 00:00+00'))
        ) as g (grain, bucket)
        group by 1, 2, 3, 4
    ), quota_done as (
        insert into copilot_internal.quota_rollups as r (tenant_id, user_id, resource_type, grain, bucket, nanos)
        select p_tenant_id, s.* from quota_sums s order by s.user_id, s.resource_type, s.grain, s.bucket
        on conflict (tenant_id, user_id, resource_type, grain, bucket) do update set nanos = r.nanos + excluded.nanos
    ), cost_done as (
        insert into copilot_internal.cost_rollups as r
            (tenant_id, day, source, provider, name, user_id, cost_usd, record_count, unpriced_count,
             input_tokens, output_tokens, duration_seconds, provider_cost_usd)
        select p_tenant_id, l.day, l.source, l.provider, l.name, u.user_id,
               coalesce(sum(u.sign * l.cost_usd), 0), sum(u.sign * l.records),
               coalesce(sum(u.sign) filter (where l.cost_usd is null), 0),
               sum(u.sign * l.input_tokens), sum(u.sign * l.output_tokens), sum(u.sign * l.duration_seconds),
               coalesce(sum(u.sign * l.provider_cost_usd), 0)
        from lines l
        cross join lateral (values (l.user_id, -1), (p_pseudonym, 1)) as u (user_id, sign)
        where u.user_id is not null
        group by 1, 2, 3, 4, 5, 6
        union all
        -- What a purged tenant spent is the platform's, as a charge.
        select '00000000-0000-0000-0000-000000000000', l.day, 'charge', '', '',
               '00000000-0000-0000-0000-000000000000', coalesce(sum(l.cost_usd), 0), 0, 0, 0, 0, 0,
               coalesce(sum(l.provider_cost_usd), 0)
        from lines l
        where p_pseudonym is null
        group by l.day
        order by 1, 2, 3, 4, 5, 6
        on conflict (tenant_id, day, source, provider, name, user_id) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count,
            input_tokens = r.input_tokens + excluded.input_tokens,
            output_tokens = r.output_tokens + excluded.output_tokens,
            duration_seconds = r.duration_seconds + excluded.duration_seconds,
            provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd
    ), conversation_done as (
        insert into copilot_internal.conversation_rollups as r
            (tenant_id, conversation_id, source, cost_usd, record_count, unpriced_count)
        select p_tenant_id, l.conversation_id, l.source, -coalesce(sum(l.cost_usd), 0), -sum(l.records),
               -count(*) filter (where l.cost_usd is null)
        from lines l
        where l.conversation_id is not null
        group by 1, 2, 3
        order by 1, 2, 3
        on conflict (tenant_id, conversation_id, source) do update set
            cost_usd = r.cost_usd + excluded.cost_usd,
            record_count = r.record_count + excluded.record_count,
            unpriced_count = r.unpriced_count + excluded.unpriced_count
    )
    insert into copilot_internal.purged_costs as r
        (resource_type, charged_at, occurred_at, cost_usd, charge_nanos, provider_cost_usd)
    select l.resource_type, pg_catalog.date_bin('15 minutes', l.charged_at, '2000-01-01 00:00+00'),
           l.day::timestamp at time zone 'UTC', coalesce(sum(l.cost_usd), 0), sum(l.charge_nanos),
           coalesce(sum(l.provider_cost_usd), 0)
    from lines l
    where p_pseudonym is null
    group by 1, 2, 3
    order by 1, 2, 3
    on conflict (resource_type, charged_at, occurred_at) do update set
        cost_usd = r.cost_usd + excluded.cost_usd, charge_nanos = r.charge_nanos + excluded.charge_nanos,
        provider_cost_usd = r.provider_cost_usd + excluded.provider_cost_usd;

    delete from copilot_internal.conversation_rollups r
    where r.tenant_id = p_tenant_id and r.cost_usd = 0 and r.record_count = 0 and r.unpriced_count = 0
      and r.conversation_id in (
          select l.conversation_id
          from pg_catalog.unnest(p_ids) as i (id)
          join copilot_internal.ledger_lines l
            on l.record_id = i.id and l.tenant_id = p_tenant_id and l.written_in = p_source);
end;
comment on function copilot_internal.move_lines(uuid, text, uuid[], uuid) is
    'Moves the share that rows of one ledger table have in a tenant''s rollups to a pseudonym, and out of their '
    'conversations; empty conversation rollups go. Without a pseudonym, out of the tenant into purged_costs. Run as '
    'the owner.';

create function copilot_internal.left_of_person(p_user_id uuid, p_tenant_id uuid) returns text[]
    language sql stable
begin atomic
    select pg_catalog.array_remove(array[
        case when exists (select from copilot_internal.llm_cost_records r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'llm_cost_records' end,
        case when exists (select from copilot_internal.e2b_cost_records r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'e2b_cost_records' end,
        case when exists (select from copilot_internal.quota_charges r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'quota_charges' end,
        case when exists (select from copilot_internal.cost_corrections r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'cost_corrections' end,
        case when exists (select from copilot_internal.quota_reservations r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'quota_reservations' end,
        case when exists (select from copilot_internal.cost_rollups r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'cost_rollups' end,
        case when exists (select from copilot_internal.quota_rollups r
            where r.user_id = p_user_id and r.tenant_id = p_tenant_id) then 'quota_rollups' end,
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
    'The tables that hold something of a user in a tenant. Run as the owner.';

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
    -- From tenant to tenant by the index, whatever there is of each.
    foreach v_table in array array['llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections',
        'quota_reservations', 'cost_rollups']
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

-- At most so many rows of the tables that can be long. Each table begins once those before it are done.
create function copilot_internal.erase_long(p_erasure copilot_internal.erasures, p_limit integer) returns bigint
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_table text;
    v_source text;
    v_changes text;
    v_ids uuid[];
    v_done bigint := 0;
begin
    -- $4 is the salt.
    for v_table, v_source, v_changes in
        values ('llm_cost_records', 'llm', 'conversation_id = null, path_id = null, task = null, request_id = null,
                    trace_id = null, span_id = null, metadata = ''{}'',
                    pricing = copilot_internal.pricing_alone(r.pricing), usage = copilot_internal.usage_understood(
                        r.model_provider, r.input_tokens, r.output_tokens, r.usage)'),
               -- A sandbox that is recorded from time to time stays one.
               ('e2b_cost_records', 'e2b', 'conversation_id = null, path_id = null, request_id = null,
                    metadata = ''{}'', pricing = copilot_internal.pricing_alone(r.pricing),
                    sandbox_id = encode(sha256(convert_to($4::text || r.sandbox_id, ''UTF8'')), ''hex'')'),
               ('quota_charges', 'charge', 'request_id = null, reason = null'),
               -- reprice() knows its own by their request ids.
               ('cost_corrections', 'correction', 'conversation_id = null,
                    request_id = case r.request_id when ''reprice:'' || r.id then r.request_id
                        else ''erased:'' || r.id end,
                    reason = case r.request_id when ''reprice:'' || r.id then r.reason end')
    loop
        execute format('select array(select r.id from copilot_internal.%I r '
            'where r.user_id = $1 and r.tenant_id = $2 limit $3)', v_table)
        into v_ids using p_erasure.user_id, p_erasure.tenant_id, p_limit - v_done;
        continue when v_ids = '{}';
        perform copilot_internal.move_lines(p_erasure.tenant_id, v_source, v_ids, p_erasure.pseudonym);
        execute format('update copilot_internal.%I r set user_id = $3, %s where r.id = any ($1) and r.tenant_id = $2',
            v_table, v_changes)
        using v_ids, p_erasure.tenant_id, p_erasure.pseudonym, p_erasure.salt;
        v_done := v_done + cardinality(v_ids);
    end loop;
    -- A hold has no user from then on: a cost that settles it may name any, and is never refused. What another
    -- transaction is just resolving waits for the next call.
    v_ids := array(select r.id from copilot_internal.quota_reservations r
        where r.user_id = p_erasure.user_id and r.tenant_id = p_erasure.tenant_id
        limit p_limit - v_done for update skip locked);
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
comment on function copilot_internal.erase_long(copilot_internal.erasures, integer) is
    'Erases at most so many ledger rows and holds of a user in a tenant, with their share of the rollups; returns how '
    'many. The fold lock is held. Run as the owner.';

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
    'Ends a user''s membership, preference, quotas and overrides in a tenant, closes the tenant if it is the user''s '
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

create function copilot_internal.erase_in_tenant(p_user_id uuid, p_tenant_id uuid, p_limit integer) returns bigint
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
    if not copilot_internal.await_fold_lock(p_tenant_id) then
        return v_done;
    end if;
    v_done := v_done + copilot_internal.erase_long(v_erasure, p_limit);
    -- Counters of quotas of the user, who spends less from one step to the next. Loads wait from here on.
    perform copilot_internal.reload_tenant_counters(p_tenant_id);
    if v_done < p_limit then
        v_done := v_done + copilot_internal.erase_events(v_erasure, (p_limit - v_done)::integer);
    end if;
    if v_done >= p_limit or copilot_internal.left_of_person(p_user_id, p_tenant_id)
        && array['llm_cost_records', 'e2b_cost_records', 'quota_charges', 'cost_corrections', 'quota_reservations']
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
    with gone as (
        delete from copilot_internal.cost_rollups r
        where r.ctid = any (array(select o.ctid from copilot_internal.cost_rollups o
            where o.user_id = p_user_id and o.tenant_id = p_tenant_id and o.cost_usd = 0 and o.record_count = 0
              and o.unpriced_count = 0 and o.input_tokens = 0 and o.output_tokens = 0 and o.duration_seconds = 0
            limit p_limit - v_done))
        returning 1
    )
    select count(*) into v_count from gone;
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
comment on function copilot_internal.erase_in_tenant(uuid, uuid, integer) is
    'One step of an erasure in one tenant: at most so many rows, and how many it changed. When nothing is left it '
    'forgets the pseudonym. Run as the owner.';

create function copilot_internal.erase_person(p_user_id uuid, p_tenant_id uuid)
    returns table (finished boolean, changed bigint, remaining text[])
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    c_step constant integer := 10000;
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
        exit when changed >= c_step;
        changed := changed
            + copilot_internal.erase_in_tenant(p_user_id, v_tenant_id, (c_step - changed)::integer);
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
