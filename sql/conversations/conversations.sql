-- Conversations: made, listed, shared.

create function copilot_internal.check_text(p_value text, p_name text, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if length(p_value) > p_most then
        raise exception '% must have at most % characters', p_name, p_most using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_text(text, text, integer) is 'Raises 22023 for a text that is too long.';

create function copilot_internal.check_object(p_value jsonb, p_name text, p_most integer) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_value is null or jsonb_typeof(p_value) <> 'object' or octet_length(p_value::text) > p_most then
        raise exception '% must be a JSON object of at most % bytes', p_name, p_most
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_object(jsonb, text, integer) is 'Raises 22023 for what is no such object.';

create function copilot_internal.check_trace(p_trace_id text, p_root_span_name text, p_root_span_id text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.check_text(p_trace_id, 'p_trace_id', 200);
    perform copilot_internal.check_text(p_root_span_name, 'p_root_span_name', 200);
    perform copilot_internal.check_text(p_root_span_id, 'p_root_span_id', 200);
end $$;
comment on function copilot_internal.check_trace(text, text, text) is
    'Raises 22023 for trace columns that are too long.';

create function copilot_internal.check_sharing(
    p_share_audience text, p_tenant_access text, p_authorization_model text) returns void
    language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if p_share_audience not in ('private', 'tenant', 'public') then
        raise exception 'p_share_audience must be private, tenant or public' using errcode = 'invalid_parameter_value';
    elsif p_tenant_access not in ('view', 'edit') then
        raise exception 'p_tenant_access must be view or edit' using errcode = 'invalid_parameter_value';
    elsif p_authorization_model not in ('supabase_rbac', 'openfga') then
        raise exception 'p_authorization_model must be supabase_rbac or openfga'
            using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.check_sharing(text, text, text) is 'Raises 22023 for an unknown way of sharing.';

create function copilot_internal.check_new_conversation(p copilot_internal.conversations) returns void
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p.share_audience is null or p.tenant_access is null or p.authorization_model is null then
        raise exception 'a way of sharing must not be NULL' using errcode = 'invalid_parameter_value';
    elsif p.jurisdictions is null or cardinality(p.jurisdictions) > 64
          or array_position(p.jurisdictions, null) is not null or octet_length(p.jurisdictions::text) > 16384 then
        raise exception 'p_jurisdictions must hold at most 64 short names' using errcode = 'invalid_parameter_value';
    elsif not p.expires_at > clock_timestamp() or p.expires_at = 'infinity' then
        raise exception 'p_expires_at must be in the future' using errcode = 'invalid_parameter_value';
    end if;
    perform copilot_internal.check_sharing(p.share_audience, p.tenant_access, p.authorization_model);
    perform copilot_internal.check_text(p.title, 'p_title', 500);
    perform copilot_internal.check_text(p.persona_id, 'p_persona_id', 200);
    perform copilot_internal.check_object(p.authorization_spec, 'p_authorization_spec', 8192);
    perform copilot_internal.check_object(p.metadata, 'p_metadata', 65536);
    perform copilot_internal.check_request_id(p.request_id);
    perform copilot_internal.check_trace(p.trace_id, p.root_span_name, p.root_span_id);
end $$;
comment on function copilot_internal.check_new_conversation(copilot_internal.conversations) is
    'Raises 22023 for what a conversation cannot be.';

-- Title, sharing and all else may be changed before a retry comes, and so a digest of the request is kept.
create function copilot_internal.conversation_digest(p copilot_internal.conversations) returns bytea
    language sql stable
begin atomic
    select pg_catalog.sha256(pg_catalog.convert_to(pg_catalog.jsonb_build_array((p).user_id, (p).title, (p).persona_id,
        (p).jurisdictions, (p).share_audience, (p).tenant_access, (p).authorization_model, (p).authorization_spec,
        (p).metadata, extract(epoch from (p).expires_at))::text, 'UTF8'));
end;
comment on function copilot_internal.conversation_digest(copilot_internal.conversations) is
    'What tells two requests for a conversation apart, whatever time zone they come from.';

create function copilot_internal.replayed_conversation(p copilot_internal.conversations) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v copilot_internal.conversations;
begin
    select c.* into v from copilot_internal.conversations c
    where c.tenant_id = p.tenant_id and c.request_id = p.request_id;
    if v.request_digest <> p.request_digest then
        raise exception 'the request id was used before for another conversation' using errcode = 'unique_violation';
    elsif v.id is null and exists (
        select from copilot_internal.conversation_erasures e
        where e.tenant_id = p.tenant_id and e.request_id_digest = sha256(convert_to(p.request_id, 'UTF8')))
    then
        raise exception 'the conversation of this request was erased' using errcode = 'PT409',
            hint = 'Use another request id for another conversation.';
    end if;
    return v.id;
end $$;
comment on function copilot_internal.replayed_conversation(copilot_internal.conversations) is
    'The conversation that the same request has made. Run as the owner.';

create function copilot_internal.create_conversation(
    p_tenant_id uuid, p_user_id uuid default null, p_title text default null, p_persona_id text default null,
    p_jurisdictions text[] default '{}', p_share_audience text default 'private', p_tenant_access text default 'view',
    p_authorization_model text default 'supabase_rbac', p_authorization_spec jsonb default '{}',
    p_metadata jsonb default '{}', p_request_id text default null, p_trace_id text default null,
    p_root_span_name text default null, p_root_span_id text default null, p_expires_at timestamptz default null)
    returns table (conversation_id uuid, path_id uuid, replayed boolean)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v copilot_internal.conversations;
begin
    v.user_id := copilot_internal.access(p_tenant_id, null, p_user_id, 'write');
    v.tenant_id := p_tenant_id;
    v.title := p_title;
    v.persona_id := p_persona_id;
    v.jurisdictions := p_jurisdictions;
    v.share_audience := p_share_audience;
    v.tenant_access := p_tenant_access;
    v.authorization_model := p_authorization_model;
    v.authorization_spec := p_authorization_spec;
    v.metadata := p_metadata;
    v.request_id := p_request_id;
    v.trace_id := p_trace_id;
    v.root_span_name := p_root_span_name;
    v.root_span_id := p_root_span_id;
    v.expires_at := p_expires_at;
    perform copilot_internal.check_new_conversation(v);
    v.request_digest := case when p_request_id is not null then copilot_internal.conversation_digest(v) end;
    perform from copilot_internal.tenants t where t.id = p_tenant_id and t.deleted_at is null;
    if not found then
        perform copilot_internal.refuse_unknown('tenant');
    end if;
    conversation_id := copilot_internal.replayed_conversation(v);
    replayed := conversation_id is not null;
    if not replayed then
        begin
            insert into copilot_internal.conversations as c (tenant_id, user_id, title, persona_id, jurisdictions,
                share_audience, tenant_access, authorization_model, authorization_spec, metadata, request_id,
                request_digest, trace_id, root_span_name, root_span_id, expires_at)
            values (p_tenant_id, v.user_id, p_title, p_persona_id, p_jurisdictions, p_share_audience, p_tenant_access,
                p_authorization_model, p_authorization_spec, p_metadata, p_request_id, v.request_digest, p_trace_id,
                p_root_span_name, p_root_span_id, p_expires_at)
            returning c.id into conversation_id;
            path_id := copilot_internal.make_primary_path(p_tenant_id, conversation_id);
        exception when unique_violation then
            -- Its twin was at work.
            conversation_id := copilot_internal.replayed_conversation(v);
            if conversation_id is null then
                raise;
            end if;
            replayed := true;
        end;
    end if;
    if replayed then
        select p.id into path_id from copilot_internal.conversation_paths p
        where p.conversation_id = create_conversation.conversation_id and p.tenant_id = p_tenant_id and p.is_primary;
    end if;
    return next;
end $$;
comment on function copilot_internal.create_conversation(uuid, uuid, text, text, text[], text, text, text, jsonb, jsonb,
    text, text, text, text, timestamptz) is
    'Makes a conversation with its primary path. A viewer may not. p_expires_at makes it temporary: not listed, and '
    'erased then.';

create function copilot_internal.make_primary_path(p_tenant_id uuid, p_conversation_id uuid) returns uuid
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_id uuid;
begin
    insert into copilot_internal.conversation_paths as p (conversation_id, tenant_id, name, is_primary)
    values (p_conversation_id, p_tenant_id, 'Main', true) returning p.id into v_id;
    update copilot_internal.conversations c set active_path_id = v_id
    where c.id = p_conversation_id and c.tenant_id = p_tenant_id and c.active_path_id is null;
    return v_id;
end $$;
comment on function copilot_internal.make_primary_path(uuid, uuid) is
    'Makes the primary path of a conversation that has none. Run as the owner.';

create function copilot_internal.set_conversation_sharing(
    p_tenant_id uuid, p_conversation_id uuid, p_share_audience text default null, p_tenant_access text default null,
    p_authorization_model text default null, p_authorization_spec jsonb default null, p_title text default null,
    p_user_id uuid default null)
    returns table (updated_at timestamptz)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform copilot_internal.access(p_tenant_id, p_conversation_id, p_user_id, 'manage');
    perform copilot_internal.check_sharing(p_share_audience, p_tenant_access, p_authorization_model);
    perform copilot_internal.check_text(p_title, 'p_title', 500);
    perform copilot_internal.check_object(coalesce(p_authorization_spec, '{}'), 'p_authorization_spec', 8192);
    perform copilot_internal.lock_open_conversation(p_tenant_id, p_conversation_id);
    return query
        update copilot_internal.conversations c
        set share_audience = coalesce(p_share_audience, c.share_audience),
            tenant_access = coalesce(p_tenant_access, c.tenant_access),
            authorization_model = coalesce(p_authorization_model, c.authorization_model),
            authorization_spec = coalesce(p_authorization_spec, c.authorization_spec),
            title = coalesce(p_title, c.title), updated_at = clock_timestamp()
        where c.id = p_conversation_id and c.tenant_id = p_tenant_id
        returning c.updated_at;
end $$;
comment on function copilot_internal.set_conversation_sharing(uuid, uuid, text, text, text, jsonb, text, uuid) is
    'Changes how a conversation is shared, and its title; NULL leaves what is there. For its owner, and for the '
    'tenant''s owners and admins where it is shared.';

-- A position in the list, as microseconds since 1970 and an id.
create function copilot_internal.list_cursor(p_at timestamptz, p_id uuid) returns text
    language sql immutable
begin atomic
    select (extract(epoch from p_at) * 1000000)::bigint || ':' || p_id;
end;
comment on function copilot_internal.list_cursor(timestamptz, uuid) is 'What list_conversations() goes on after.';

create function copilot_internal.read_list_cursor(p_cursor text, out at timestamptz, out id uuid)
    language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    if p_cursor is null then
        at := 'infinity';
        id := 'ffffffff-ffff-ffff-ffff-ffffffffffff';
    elsif p_cursor ~ '^[0-9]{1,18}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
        at := timestamptz '1970-01-01 00:00:00+00' + split_part(p_cursor, ':', 1)::bigint * interval '1 microsecond';
        id := split_part(p_cursor, ':', 2)::uuid;
    else
        raise exception 'p_cursor is none that list_conversations gave' using errcode = 'invalid_parameter_value';
    end if;
end $$;
comment on function copilot_internal.read_list_cursor(text) is 'The position that a cursor stands for, or 22023.';

create function copilot_internal.list_conversations(
    p_tenant_id uuid, p_user_id uuid default null, p_status text default 'active', p_limit integer default 50,
    p_cursor text default null)
    returns table (id uuid, tenant_id uuid, user_id uuid, share_audience text, tenant_access text,
        authorization_model text, authorization_spec jsonb, title text, persona_id text, jurisdictions text[],
        archived_at timestamptz, trace_id text, root_span_name text, root_span_id text, created_at timestamptz,
        updated_at timestamptz, last_message_at timestamptz, active_path_id uuid, next_cursor text)
    language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_user constant uuid := copilot_internal.access(p_tenant_id, null, p_user_id, 'read');
    v_after record;
begin
    perform copilot_internal.check_limit(p_limit, 1000);
    if p_status is null or p_status not in ('active', 'archived', 'all') then
        raise exception 'p_status must be active, archived or all' using errcode = 'invalid_parameter_value';
    end if;
    select * into v_after from copilot_internal.read_list_cursor(p_cursor);
    return query
        with listed as (
            select l.*, row_number() over (order by l.activity_at desc, l.id desc) as place
            from (
                (select c.* from copilot_internal.conversations c
                 where v_user is null and c.tenant_id = p_tenant_id and c.erasing_at is null and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
                union all
                (select c.* from copilot_internal.conversations c
                 where c.user_id = v_user and c.tenant_id = p_tenant_id and c.erasing_at is null
                   and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
                union all
                (select c.* from copilot_internal.conversations c
                 where v_user is not null and c.effective_audience <> 'private'
                   and c.user_id is distinct from v_user and c.tenant_id = p_tenant_id and c.erasing_at is null
                   and c.expires_at is null
                   and (p_status = 'all' or (c.archived_at is null) = (p_status = 'active'))
                   and (c.activity_at, c.id) < (v_after.at, v_after.id)
                 order by c.activity_at desc, c.id desc limit p_limit + 1)
            ) l
        )
        select l.id, l.tenant_id, l.user_id, l.share_audience, l.tenant_access, l.authorization_model,
               l.authorization_spec, l.title, l.persona_id, l.jurisdictions, l.archived_at, l.trace_id,
               l.root_span_name, l.root_span_id, l.created_at, l.updated_at, l.last_message_at, l.active_path_id,
               (select copilot_internal.list_cursor(e.activity_at, e.id) from listed e
                where e.place = p_limit and exists (select from listed m where m.place = p_limit + 1))
        from listed l where l.place <= p_limit order by l.place;
end $$;
comment on function copilot_internal.list_conversations(uuid, uuid, text, integer, text) is
    'The conversations that the user may read, the latest activity first: active, archived or all. Pass next_cursor '
    'to go on; it is NULL on the last page. Without a user, service_role sees all of the tenant.';
