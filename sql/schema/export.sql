-- Everything that is kept about a person, page by page.

create function copilot_internal.export_person(
    p_user_id uuid, p_tenant_id uuid, p_cursor text, p_limit integer)
    returns table (source text, data jsonb, cursor text)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    -- Each gives tenant, id and row of the user $1 in the tenant $2, or in all, after the position ($3, $4). A row of
    -- an event is in no tenant's order: the index of events goes by user and id.
    c_sources constant text[] := array[
        'user_preferences', 'select $1, $1, to_jsonb(r)
            from copilot_internal.user_preferences r
            where r.user_id = $1 and $2 is null and ($1, $1) > ($3, $4)',
        'tenants', 'select r.id, r.id, jsonb_build_object(''id'', r.id, ''name'', r.name, ''slug'', r.slug, ''type'', '
            'r.type, ''plan'', r.plan, ''is_owner'', r.owner_id is not distinct from $1, ''is_creator'', '
            'r.created_by is not distinct from $1, ''deleted_at'', r.deleted_at, ''created_at'', r.created_at)
            from copilot_internal.tenants r
            where $1 in (r.owner_id, r.created_by) and ($2 is null or r.id = $2) and (r.id, r.id) > ($3, $4)
            order by r.id',
        'tenant_memberships', 'select r.tenant_id, r.tenant_id, to_jsonb(r)
            from copilot_internal.tenant_memberships r
            where r.user_id = $1 and ($2 is null or r.tenant_id = $2) and (r.tenant_id, r.tenant_id) > ($3, $4)
            order by r.tenant_id',
        -- A user may stand there in more than one spelling.
        'tenant_llm_policies', 'select r.tenant_id, md5(o.key)::uuid, o.value
            from copilot_internal.tenant_llm_policies r cross join lateral jsonb_each(r.user_overrides) o
            where lower(o.key) = $1::text and ($2 is null or r.tenant_id = $2)
              and (r.tenant_id, md5(o.key)::uuid) > ($3, $4)
            order by r.tenant_id, md5(o.key)::uuid',
        'cost_quotas', 'select r.tenant_id, r.id, to_jsonb(r)
            from copilot_internal.cost_quotas r
            where r.scope = ''user'' and r.scope_id = $1 and ($2 is null or r.tenant_id = $2)
              and (r.tenant_id, r.id) > ($3, $4)
            order by r.tenant_id, r.id',
        'quota_events', 'select r.id, r.id, to_jsonb(r) - ''claimed_until''
            from copilot_internal.quota_events r
            where coalesce(r.payload ->> ''user_id'', case r.payload ->> ''scope'' when ''user'' '
            'then r.payload ->> ''scope_id'' end) = $1::text
              and ($2 is null or coalesce(r.tenant_id, (r.payload ->> ''tenant_id'')::uuid) = $2)
              and r.id > $3
            order by r.id',
        'llm_cost_records', null, 'e2b_cost_records', null, 'quota_charges', null, 'cost_corrections', null,
        'quota_reservations', 'select r.tenant_id, r.id, to_jsonb(r) || jsonb_build_object(''extensions'', array('
            'select to_jsonb(x) from copilot_internal.reservation_extensions x where x.reservation_id = r.id '
            'and x.tenant_id = r.tenant_id order by x.extended_at, x.request_id))
            from copilot_internal.quota_reservations r
            where r.user_id = $1 and (r.tenant_id, r.id) > ($3, $4) and r.tenant_id >= coalesce($2, $3)
              and r.tenant_id <= coalesce($2, ''ffffffff-ffff-ffff-ffff-ffffffffffff'')
            order by r.user_id, r.tenant_id, r.id'];
    -- What the provider bills would tell what the operator adds.
    c_ledger constant text := 'select r.tenant_id, r.id, to_jsonb(r) - ''provider_cost_usd''
        from copilot_internal.%I r
        where r.user_id = $1 and (r.tenant_id, r.id) > ($3, $4) and r.tenant_id >= coalesce($2, $3)
          and r.tenant_id <= coalesce($2, ''ffffffff-ffff-ffff-ffff-ffffffffffff'')
        order by r.user_id, r.tenant_id, r.id';
    c_nil constant uuid := '00000000-0000-0000-0000-000000000000';
    v_place text[] := regexp_match(p_cursor, '^([0-9]{1,2}):([0-9a-f-]{36}):([0-9a-f-]{36})$');
    v_from integer;
    v_tenant uuid := c_nil;
    v_id uuid := c_nil;
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
        if v_place is null or v_place[1]::integer not between 1 and cardinality(c_sources) / 2 then
            raise exception 'p_cursor must be one that export_user_data gave' using errcode = 'invalid_parameter_value';
        end if;
    end if;
    v_from := coalesce(v_place[1]::integer, 1);
    for v_number in v_from .. cardinality(c_sources) / 2 loop
        source := c_sources[2 * v_number - 1];
        return query execute 'select $6, f.data, $7 || '':'' || f.tenant || '':'' || f.id from ('
                || coalesce(c_sources[2 * v_number], format(c_ledger, source))
                || ' limit $5) as f (tenant, id, data)'
            using p_user_id, p_tenant_id, v_tenant, v_id, v_left, source, v_number::text;
        get diagnostics v_count = row_count;
        v_left := v_left - v_count;
        exit when v_left <= 0;
        v_tenant := c_nil;
        v_id := c_nil;
    end loop;
end $$;
comment on function copilot_internal.export_person(uuid, uuid, text, integer) is
    'What export_user_data returns, for its kernel, which has asked who calls. Run as the owner.';

create function public.export_user_data(
    p_user_id uuid, p_tenant_id uuid default null, p_cursor text default null, p_limit integer default 500)
    returns table (source text, data jsonb, cursor text)
    language c stable rows 500 as 'MODULE_PATHNAME', 'export_user_data_wrapper';
comment on function public.export_user_data(uuid, uuid, text, integer) is
    'What is kept about a user, in one tenant or in all: rows as JSON with their table''s name, at most p_limit (1 to '
    '1000) after p_cursor, a row''s cursor. Fewer than p_limit are the last. Rollups, sums of such rows, are left '
    'out. For service_role.';
