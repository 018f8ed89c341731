-- Everything that is kept about a person, page by page.

-- A user's rows of one ledger table in one tenant, after a position, in the order of their moments. What is pending and
-- what is rolled up tell in one snapshot on which days they are; a day is read by the index of moments.
create function copilot_internal.export_ledger(
    p_user_id uuid, p_tenant_id uuid, p_table text, p_after timestamptz, p_after_id uuid, p_limit integer)
    returns table (id uuid, at timestamptz, data jsonb)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    c_moment constant text := case p_table when 'quota_charges' then 'charged_at' else 'occurred_at' end;
    c_written_in constant text := case p_table when 'llm_cost_records' then 'llm' when 'e2b_cost_records' then 'e2b'
        when 'quota_charges' then 'charge' when 'cost_corrections' then 'correction' else 'retired' end;
    v_begin timestamptz;
    v_left integer := p_limit;
    v_count integer;
begin
    for v_begin in
        select distinct d.day::timestamp at time zone 'UTC'
        from (
            select c.day from copilot_internal.cost_rollups c
            where c.user_id = p_user_id and c.tenant_id = p_tenant_id
              and (c.source = c_written_in or c_written_in = 'correction' and c.source <> 'charge'
                   or c_written_in = 'retired')
            union all
            select (l.occurred_at at time zone 'UTC')::date
            from copilot_internal.pending_costs p
            join copilot_internal.ledger_lines l
              on l.tenant_id = p.tenant_id and l.record_id = p.record_id and l.written_in = p.source
            where p.tenant_id = p_tenant_id and p.user_id = p_user_id and p.source = c_written_in
        ) d
        where d.day >= (p_after at time zone 'UTC')::date
        order by 1
    loop
        -- What the provider bills would tell what the operator adds.
        return query execute format('select r.id, r.%2$I,
                to_jsonb(r) - ''{provider_cost_usd,reported_cost_usd}''::text[]
            from copilot_internal.%1$I r
            where r.tenant_id = $1 and r.%2$I >= $2 and r.%2$I < $3 and r.user_id = $4 and (r.%2$I, r.id) > ($5, $6)
            order by r.%2$I, r.id limit $7', p_table, c_moment)
        using p_tenant_id, greatest(v_begin, p_after),
            (v_begin at time zone 'UTC' + interval '1 day') at time zone 'UTC', p_user_id, p_after, p_after_id, v_left;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
        exit when v_left <= 0;
    end loop;
end $$;
comment on function copilot_internal.export_ledger(uuid, uuid, text, timestamptz, uuid, integer) is
    'At most so many rows of a user in one ledger table and tenant that come after a moment and an id. Run as the '
    'owner.';

create function copilot_internal.export_person(
    p_user_id uuid, p_tenant_id uuid, p_cursor text, p_limit integer)
    returns table (source text, data jsonb, cursor text)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    -- Each gives tenant, id and row of the user $1 in the tenant $2, or in all, after the position ($3, $4), and no
    -- moment. A row of an event is in no tenant's order: the index of events goes by user and id.
    c_sources constant text[] := array[
        'user_preferences', 'select $1, $1, to_jsonb(r), null::timestamptz
            from copilot_internal.user_preferences r
            where r.user_id = $1 and $2 is null and ($1, $1) > ($3, $4)',
        'tenants', 'select r.id, r.id, jsonb_build_object(''id'', r.id, ''name'', r.name, ''slug'', r.slug, ''type'', '
            'r.type, ''plan'', r.plan, ''is_owner'', r.owner_id is not distinct from $1, ''is_creator'', '
            'r.created_by is not distinct from $1, ''deleted_at'', r.deleted_at, ''created_at'', r.created_at), '
            'null::timestamptz
            from copilot_internal.tenants r
            where $1 in (r.owner_id, r.created_by) and ($2 is null or r.id = $2) and (r.id, r.id) > ($3, $4)
            order by r.id',
        'tenant_memberships', 'select r.tenant_id, r.tenant_id, to_jsonb(r), null::timestamptz
            from copilot_internal.tenant_memberships r
            where r.user_id = $1 and ($2 is null or r.tenant_id = $2) and (r.tenant_id, r.tenant_id) > ($3, $4)
            order by r.tenant_id',
        -- A user may stand there in more than one spelling.
        'tenant_llm_policies', 'select r.tenant_id, md5(o.key)::uuid, o.value, null::timestamptz
            from copilot_internal.tenant_llm_policies r cross join lateral jsonb_each(r.user_overrides) o
            where lower(o.key) = $1::text and ($2 is null or r.tenant_id = $2)
              and (r.tenant_id, md5(o.key)::uuid) > ($3, $4)
            order by r.tenant_id, md5(o.key)::uuid',
        'cost_quotas', 'select r.tenant_id, r.id, to_jsonb(r), null::timestamptz
            from copilot_internal.cost_quotas r
            where r.scope = ''user'' and r.scope_id = $1 and ($2 is null or r.tenant_id = $2)
              and (r.tenant_id, r.id) > ($3, $4)
            order by r.tenant_id, r.id',
        'quota_events', 'select r.id, r.id, to_jsonb(r) - ''claimed_until'', null::timestamptz
            from copilot_internal.quota_events r
            where coalesce(r.payload ->> ''user_id'', case r.payload ->> ''scope'' when ''user'' '
            'then r.payload ->> ''scope_id'' end) = $1::text
              and ($2 is null or coalesce(r.tenant_id, (r.payload ->> ''tenant_id'')::uuid) = $2)
              and r.id > $3
            order by r.id',
        'llm_cost_records', null, 'e2b_cost_records', null, 'quota_charges', null, 'cost_corrections', null,
        'quota_reservations', 'select r.tenant_id, r.id, to_jsonb(r) || jsonb_build_object(''extensions'', array('
            'select to_jsonb(x) from copilot_internal.reservation_extensions x where x.reservation_id = r.id '
            'and x.tenant_id = r.tenant_id order by x.extended_at, x.request_id)), null::timestamptz
            from copilot_internal.quota_reservations r
            where r.user_id = $1 and (r.tenant_id, r.id) > ($3, $4) and r.tenant_id >= coalesce($2, $3)
              and r.tenant_id <= coalesce($2, ''ffffffff-ffff-ffff-ffff-ffffffffffff'')
            order by r.user_id, r.tenant_id, r.id',
        'retired_costs', null];
    -- The ledger goes from tenant to tenant; in each the moment comes before the id.
    c_ledger constant text := 'select t.id, r.id, r.data, r.at
        from (select distinct t.id from (select $2 union all
                  select f.id from copilot_internal.tenants_of_person($1) as f (id) where $2 is null) t (id)
              where t.id >= $3 order by t.id) t
        cross join lateral copilot_internal.export_ledger($1, t.id, $6,
            case when t.id = $3 then $8 else ''-infinity'' end, case when t.id = $3 then $4 else $3 end, $5) r';
    c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
    v_place text[] := regexp_match(p_cursor, '^([0-9]{1,2}):([0-9a-f-]{36}):([0-9a-f-]{36})(?::(-?[0-9]{1,17}))?$');
    v_from integer;
    v_tenant uuid := c_nil;
    v_id uuid := c_nil;
    v_moment timestamptz := '-infinity';
    v_left integer := p_limit;
    v_count integer;
begin
    if p_user_id is null then
        raise exception 'p_user_id must not be NULL' using errcode = 'invalid_parameter_value';
    end if;
    if p_limit is null or p_limit < 1 or p_limit > 1000 then
        raise exception 'p_limit must be between 1 and 1000' using errcode = 'invalid_parameter_value';
    end if;
    if p_cursor is not null then
        begin
            v_tenant := v_place[2]::uuid;
            v_id := v_place[3]::uuid;
        exception when invalid_text_representation then
            v_place := null;
        end;
        v_from := v_place[1];
        if v_place is null or v_from not between 1 and cardinality(c_sources) / 2
            or (v_place[4] is null) <> (c_sources[2 * v_from] is not null)
        then
            raise exception 'p_cursor must be one that export_user_data gave' using errcode = 'invalid_parameter_value';
        end if;
        v_moment := coalesce(timestamptz 'epoch' + v_place[4]::float8 * interval '1 microsecond', v_moment);
    end if;
    for v_number in coalesce(v_from, 1) .. cardinality(c_sources) / 2 loop
        source := c_sources[2 * v_number - 1];
        return query execute format('select $6, f.data, $7 || '':'' || f.tenant || '':'' || f.id || coalesce('':'' || '
                '(extract(epoch from f.at) * 1000000)::bigint, '''') from (%s limit $5) as f (tenant, id, data, at)',
                coalesce(c_sources[2 * v_number], c_ledger))
            using p_user_id, p_tenant_id, v_tenant, v_id, v_left, source, v_number::text, v_moment;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
        exit when v_left <= 0;
        v_tenant := c_nil;
        v_id := c_nil;
        v_moment := '-infinity';
    end loop;
end $$;
comment on function copilot_internal.export_person(uuid, uuid, text, integer) is
    'What export_user_data returns, for its kernel, which has asked who calls. Run as the owner.';

create function public.export_user_data(
    p_user_id uuid, p_tenant_id uuid default null, p_cursor text default null, p_limit integer default 500)
    returns table (source text, data jsonb, cursor text)
    language c stable rows 500 as 'MODULE_PATHNAME', 'export_user_data_wrapper';
comment on function public.export_user_data(uuid, uuid, text, integer) is
    'What is kept about a user, in one tenant or in all: rows as JSON with their table''s name. At most p_limit (1 to '
    '1000) after p_cursor, a row''s cursor. Fewer than p_limit are the last. Rollups, sums of such rows, are left '
    'out. For service_role.';
