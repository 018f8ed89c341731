-- Settings of conversations: shipped ← global ← tenant ← user. NULL inherits.

create table copilot_internal.conversation_configs (
    id uuid primary key default pg_catalog.gen_random_uuid(),
    tenant_id uuid references copilot_internal.tenants (id),
    user_id uuid,
    config_level text not null check (config_level in ('global', 'tenant', 'user')),
    merge_compression_strategy text
        check (merge_compression_strategy in ('none', 'minimal', 'moderate', 'aggressive')),
    merge_max_messages integer check (merge_max_messages between 1 and 1000),
    merge_preserve_pinned boolean,
    path_compression_strategy text
        check (path_compression_strategy in ('none', 'sliding_window', 'semantic', 'hybrid')),
    path_max_messages integer check (path_max_messages between 1 and 1000000),
    path_sliding_window_size integer check (path_sliding_window_size between 1 and 1000000),
    path_compression_threshold numeric check (path_compression_threshold > 0 and path_compression_threshold <= 1),
    auto_compact_enabled boolean,
    compaction_interval_minutes integer check (compaction_interval_minutes between 1 and 525600),
    path_token_threshold bigint check (path_token_threshold between 1 and 1000000000),
    pinned_max_messages integer check (pinned_max_messages between 0 and 100),
    archive_after interval check (archive_after between '1 day' and '100 years'),
    erase_after interval check (erase_after between '1 day' and '100 years'),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_by uuid,
    unique nulls not distinct (config_level, tenant_id, user_id),
    check ((tenant_id is not null) = (config_level <> 'global')),
    check ((user_id is not null) = (config_level = 'user'))
);
create index conversation_configs_tenant_id_idx on copilot_internal.conversation_configs (tenant_id, user_id);
comment on table copilot_internal.conversation_configs is
    'Settings of conversations: what a user''s row leaves NULL the tenant''s says, then the global row, then what '
    'ships.';
comment on column copilot_internal.conversation_configs.id is 'The row.';
comment on column copilot_internal.conversation_configs.tenant_id is 'The tenant; NULL for global.';
comment on column copilot_internal.conversation_configs.user_id is 'The user; NULL for tenant and global.';
comment on column copilot_internal.conversation_configs.config_level is 'global, tenant or user.';
comment on column copilot_internal.conversation_configs.merge_compression_strategy is
    'none, minimal, moderate or aggressive.';
comment on column copilot_internal.conversation_configs.merge_max_messages is 'Messages that a merge may take over.';
comment on column copilot_internal.conversation_configs.merge_preserve_pinned is 'Whether a merge keeps pinned ones.';
comment on column copilot_internal.conversation_configs.path_compression_strategy is
    'none, sliding_window, semantic or hybrid.';
comment on column copilot_internal.conversation_configs.path_max_messages is 'Messages from which a path is compacted.';
comment on column copilot_internal.conversation_configs.path_sliding_window_size is
    'Messages that a sliding window leaves.';
comment on column copilot_internal.conversation_configs.path_compression_threshold is
    'Share of the model''s window from which a path is compacted.';
comment on column copilot_internal.conversation_configs.auto_compact_enabled is
    'Whether claim_paths_for_compaction gives paths out.';
comment on column copilot_internal.conversation_configs.compaction_interval_minutes is 'Minutes between two runs.';
comment on column copilot_internal.conversation_configs.path_token_threshold is
    'Tokens from which a path is compacted.';
comment on column copilot_internal.conversation_configs.pinned_max_messages is 'Pinned messages a path.';
comment on column copilot_internal.conversation_configs.archive_after is
    'Since the last activity: maintain_conversations archives then. NULL everywhere is never.';
comment on column copilot_internal.conversation_configs.erase_after is
    'Since the last activity: maintain_conversations erases then. NULL everywhere is never.';
comment on column copilot_internal.conversation_configs.updated_at is 'When it was last changed.';
comment on column copilot_internal.conversation_configs.updated_by is 'The user who changed it.';

create function copilot_internal.stamp_config() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    new.updated_at := clock_timestamp();
    return new;
end $$;
comment on function copilot_internal.stamp_config() is 'Trigger: notes when a row was changed.';
create trigger stamp_config before update on copilot_internal.conversation_configs
    for each row execute function copilot_internal.stamp_config();

create function copilot_internal.shipped_config() returns jsonb
    language sql immutable
begin atomic
    select '{"merge_compression_strategy": "moderate", "merge_max_messages": 100, "merge_preserve_pinned": true,
        "path_compression_strategy": "sliding_window", "path_max_messages": 200, "path_sliding_window_size": 50,
        "path_compression_threshold": 0.85, "auto_compact_enabled": true, "compaction_interval_minutes": 60,
        "path_token_threshold": 100000, "pinned_max_messages": 100, "archive_after": null, "erase_after": null}'::jsonb;
end;
comment on function copilot_internal.shipped_config() is 'The settings that ship.';

-- Spans are printed in one style, whatever the session's is.
create function copilot_internal.effective_config(p_tenant_id uuid, p_user_id uuid) returns jsonb
    language sql stable set intervalstyle = 'postgres'
begin atomic
    select copilot_internal.shipped_config() || coalesce(
        (select pg_catalog.jsonb_object_agg(s.key, s.value order by c.config_level = 'user', c.config_level = 'tenant')
         from copilot_internal.conversation_configs c
         cross join lateral pg_catalog.jsonb_each(pg_catalog.to_jsonb(c)) s
         where (c.config_level = 'global'
                or c.config_level = 'tenant' and c.tenant_id = p_tenant_id
                or c.config_level = 'user' and c.tenant_id = p_tenant_id and c.user_id = p_user_id)
           and s.value <> 'null' and copilot_internal.shipped_config() ? s.key), '{}');
end;
comment on function copilot_internal.effective_config(uuid, uuid) is
    'The settings in force for a user of a tenant. Run as the owner.';

create function copilot_internal.get_effective_conversation_config(p_tenant_id uuid, p_user_id uuid default null)
    returns jsonb language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform copilot_internal.access_tenant(p_tenant_id, p_user_id);
    return copilot_internal.effective_config(p_tenant_id, p_user_id);
end $$;
comment on function copilot_internal.get_effective_conversation_config(uuid, uuid) is
    'What public.get_effective_conversation_config does.';

create function public.get_effective_conversation_config(p_tenant_id uuid, p_user_id uuid default null)
    returns jsonb language sql stable
begin atomic
    select copilot_internal.get_effective_conversation_config(p_tenant_id, p_user_id);
end;
comment on function public.get_effective_conversation_config(uuid, uuid) is
    'The settings of conversations in force: shipped, then global, the tenant''s and the user''s. A member asks about '
    'themselves, an owner or admin about any member.';

-- Only keys that are settings, each read as its column is: what does not fit raises what the column raises.
create function copilot_internal.write_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid) returns void
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_row copilot_internal.conversation_configs;
begin
    insert into copilot_internal.conversation_configs (config_level, tenant_id, user_id)
    values (p_config_level, p_tenant_id, p_user_id)
    on conflict (config_level, tenant_id, user_id) do nothing;
    select c.* into v_row from copilot_internal.conversation_configs c
    where c.config_level = p_config_level and c.tenant_id is not distinct from p_tenant_id
      and c.user_id is not distinct from p_user_id for update;
    v_row := jsonb_populate_record(v_row, p_config);
    update copilot_internal.conversation_configs c
    set merge_compression_strategy = v_row.merge_compression_strategy,
        merge_max_messages = v_row.merge_max_messages, merge_preserve_pinned = v_row.merge_preserve_pinned,
        path_compression_strategy = v_row.path_compression_strategy, path_max_messages = v_row.path_max_messages,
        path_sliding_window_size = v_row.path_sliding_window_size,
        path_compression_threshold = v_row.path_compression_threshold,
        auto_compact_enabled = v_row.auto_compact_enabled,
        compaction_interval_minutes = v_row.compaction_interval_minutes,
        path_token_threshold = v_row.path_token_threshold, pinned_max_messages = v_row.pinned_max_messages,
        archive_after = v_row.archive_after, erase_after = v_row.erase_after, updated_by = p_updated_by
    where c.id = v_row.id;
exception
    when check_violation or invalid_text_representation or numeric_value_out_of_range or invalid_datetime_format
        or datetime_field_overflow or interval_field_overflow then
        raise exception 'a setting is of the wrong type or out of bounds' using errcode = 'invalid_parameter_value',
            detail = sqlerrm;
end $$;
comment on function copilot_internal.write_config(text, uuid, uuid, jsonb, uuid) is
    'Changes the settings named in p_config, and leaves the others; null inherits. Run as the owner.';

create function copilot_internal.set_conversation_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid default null)
    returns table (config jsonb)
    language plpgsql volatile security definer rows 1 set search_path = pg_catalog, pg_temp as $$
declare
    v_role text;
    v_unknown text;
begin
    if p_config_level is null or p_config_level not in ('global', 'tenant', 'user')
       or (p_tenant_id is not null) <> (p_config_level <> 'global')
       or (p_user_id is not null) <> (p_config_level = 'user')
    then
        raise exception 'p_config_level must be global, tenant (with p_tenant_id) or user (with p_user_id, too)'
            using errcode = 'invalid_parameter_value';
    end if;
    if p_config is null or jsonb_typeof(p_config) <> 'object' then
        raise exception 'p_config must be an object' using errcode = 'invalid_parameter_value';
    end if;
    select k.key into v_unknown from jsonb_object_keys(p_config) k (key)
    where not copilot_internal.shipped_config() ? k.key limit 1;
    if found then
        raise exception 'unknown setting "%"', left(v_unknown, 100) using errcode = 'invalid_parameter_value';
    end if;
    if p_config_level = 'global' then
        perform copilot_internal.require_server('set what holds for all tenants');
    else
        v_role := copilot_internal.access_tenant(p_tenant_id, p_user_id);
        if v_role not in ('server', 'owner', 'admin') and (
            p_config_level = 'tenant' or p_user_id <> copilot_internal.caller_user())
        then
            raise exception 'only an owner or admin may set what holds for others'
                using errcode = 'insufficient_privilege';
        end if;
        if v_role = 'server' and not exists (select from copilot_internal.tenants t where t.id = p_tenant_id) then
            raise exception 'there is no such tenant' using errcode = 'no_data_found';
        end if;
    end if;
    perform copilot_internal.write_config(p_config_level, p_tenant_id, p_user_id, p_config,
        case when v_role is null or v_role = 'server' then p_updated_by else copilot_internal.caller_user() end);
    return query select copilot_internal.effective_config(p_tenant_id, p_user_id);
end $$;
comment on function copilot_internal.set_conversation_config(text, uuid, uuid, jsonb, uuid) is
    'What public.set_conversation_config does.';

create function public.set_conversation_config(
    p_config_level text, p_tenant_id uuid, p_user_id uuid, p_config jsonb, p_updated_by uuid default null)
    returns table (config jsonb)
    language sql volatile rows 1
begin atomic
    select * from copilot_internal.set_conversation_config(p_config_level, p_tenant_id, p_user_id, p_config,
        p_updated_by);
end;
comment on function public.set_conversation_config(text, uuid, uuid, jsonb, uuid) is
    'Changes the settings that p_config names (null inherits again) and returns what is in force. For all '
    '(service_role), a tenant (its owners and admins) or a user (themselves).';
