-- Which models a tenant's calls may use. The library's module policy reads the same JSON that it has validated.

create function copilot_internal.policy_problem(
    p_default_provider text, p_default_model text, p_allowed_providers jsonb, p_denied_providers jsonb,
    p_allowed_models jsonb, p_denied_models jsonb, p_egress_mode text, p_task_overrides jsonb, p_user_overrides jsonb)
    returns text language c immutable parallel safe as 'MODULE_PATHNAME', 'policy_problem_wrapper';
comment on function copilot_internal.policy_problem(text, text, jsonb, jsonb, jsonb, jsonb, text, jsonb, jsonb) is
    'Why these columns of tenant_llm_policies make no policy, or NULL when they do.';

create table copilot_internal.tenant_llm_policies (
    tenant_id uuid primary key references copilot_internal.tenants (id) on delete cascade,
    default_provider text,
    default_model text,
    allowed_providers jsonb,
    denied_providers jsonb not null default '[]',
    allowed_models jsonb,
    denied_models jsonb not null default '[]',
    egress_mode text not null default 'open',
    task_overrides jsonb not null default '{}',
    user_overrides jsonb not null default '{}',
    created_at timestamptz not null default pg_catalog.clock_timestamp(),
    updated_at timestamptz not null default pg_catalog.clock_timestamp(),
    constraint tenant_llm_policies_valid check (copilot_internal.policy_problem(default_provider, default_model,
        allowed_providers, denied_providers, allowed_models, denied_models, egress_mode, task_overrides,
        user_overrides) is null)
);
comment on table copilot_internal.tenant_llm_policies is
    'Which models a tenant''s calls may use. A list''s entry is a name or, before a final *, its beginning, in any '
    'case. A model''s is compared with its name and with provider/name. Denials go before all. set_llm_policy writes '
    'it and says what is wrong.';
comment on column copilot_internal.tenant_llm_policies.tenant_id is
    'The tenant; one without a row may use every model.';
comment on column copilot_internal.tenant_llm_policies.default_provider is
    'The provider that the application is to use where it is free to choose.';
comment on column copilot_internal.tenant_llm_policies.default_model is
    'The model that the application is to use where it is free to choose.';
comment on column copilot_internal.tenant_llm_policies.allowed_providers is
    'An array of names; NULL allows all, an empty one none.';
comment on column copilot_internal.tenant_llm_policies.denied_providers is 'An array of names.';
comment on column copilot_internal.tenant_llm_policies.allowed_models is
    'An array of names; NULL allows all, an empty one none.';
comment on column copilot_internal.tenant_llm_policies.denied_models is 'An array of names.';
comment on column copilot_internal.tenant_llm_policies.egress_mode is
    'open; restricted (only to what an allow list names); or blocked (to no model at all).';
comment on column copilot_internal.tenant_llm_policies.task_overrides is
    'An object of objects by task, with any of the keys above. They replace the tenant''s; denials add up.';
comment on column copilot_internal.tenant_llm_policies.user_overrides is
    'The same by user id; they go before those of the task.';
comment on column copilot_internal.tenant_llm_policies.created_at is 'When the row was made.';
comment on column copilot_internal.tenant_llm_policies.updated_at is 'When set_llm_policy last wrote it.';

create function public.set_llm_policy(p_tenant_id uuid, p_policy jsonb) returns boolean
    language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    v_unknown text;
    v_problem text;
begin
    if p_tenant_id is null then
        raise exception 'p_tenant_id must not be NULL' using errcode = 'invalid_parameter_value';
    end if;
    if p_policy is null then
        delete from copilot_internal.tenant_llm_policies p where p.tenant_id = p_tenant_id;
        return found;
    end if;
    if jsonb_typeof(p_policy) <> 'object' then
        raise exception 'p_policy must be a JSON object' using errcode = 'invalid_parameter_value';
    end if;
    select k into v_unknown from jsonb_object_keys(p_policy) k
    where k not in ('default_provider', 'default_model', 'allowed_providers', 'denied_providers', 'allowed_models',
        'denied_models', 'egress_mode', 'task_overrides', 'user_overrides')
    limit 1;
    if v_unknown is not null then
        raise exception 'p_policy has the unknown key "%"', left(v_unknown, 60)
            using errcode = 'invalid_parameter_value';
    end if;
    if exists (select from jsonb_each(p_policy) e where e.key in ('default_provider', 'default_model', 'egress_mode')
               and jsonb_typeof(e.value) not in ('string', 'null')) then
        raise exception 'default_provider, default_model and egress_mode must be texts'
            using errcode = 'invalid_parameter_value';
    end if;
    v_problem := copilot_internal.policy_problem(p_policy ->> 'default_provider', p_policy ->> 'default_model',
        p_policy -> 'allowed_providers', p_policy -> 'denied_providers', p_policy -> 'allowed_models',
        p_policy -> 'denied_models', p_policy ->> 'egress_mode', p_policy -> 'task_overrides',
        p_policy -> 'user_overrides');
    if v_problem is not null then
        raise exception '%', v_problem using errcode = 'invalid_parameter_value';
    end if;
    if not exists (select from copilot_internal.tenants t where t.id = p_tenant_id) then
        raise exception 'there is no such tenant' using errcode = 'no_data_found';
    end if;
    insert into copilot_internal.tenant_llm_policies as p
        (tenant_id, default_provider, default_model, allowed_providers, denied_providers, allowed_models, denied_models,
         egress_mode, task_overrides, user_overrides)
    values (p_tenant_id, p_policy ->> 'default_provider', p_policy ->> 'default_model',
        nullif(p_policy -> 'allowed_providers', 'null'), coalesce(nullif(p_policy -> 'denied_providers', 'null'), '[]'),
        nullif(p_policy -> 'allowed_models', 'null'), coalesce(nullif(p_policy -> 'denied_models', 'null'), '[]'),
        coalesce(p_policy ->> 'egress_mode', 'open'), coalesce(nullif(p_policy -> 'task_overrides', 'null'), '{}'),
        coalesce(nullif(p_policy -> 'user_overrides', 'null'), '{}'))
    on conflict (tenant_id) do update
        set default_provider = excluded.default_provider, default_model = excluded.default_model,
            allowed_providers = excluded.allowed_providers, denied_providers = excluded.denied_providers,
            allowed_models = excluded.allowed_models, denied_models = excluded.denied_models,
            egress_mode = excluded.egress_mode, task_overrides = excluded.task_overrides,
            user_overrides = excluded.user_overrides, updated_at = clock_timestamp();
    return true;
end $$;
comment on function public.set_llm_policy(uuid, jsonb) is
    'Replaces a tenant''s policy by an object with any of the columns of tenant_llm_policies as keys. What is left out '
    'is as if there were no policy. NULL takes the policy away. True when there is something new.';

create function public.resolve_llm_policy(p_tenant_id uuid, p_task text default null, p_user_id uuid default null)
    returns table (default_provider text, default_model text, allowed_providers jsonb, denied_providers jsonb,
        allowed_models jsonb, denied_models jsonb, egress_mode text, has_policy boolean)
    language c stable parallel restricted rows 1 as 'MODULE_PATHNAME', 'resolve_llm_policy_wrapper';
comment on function public.resolve_llm_policy(uuid, text, uuid) is
    'The rules for a task and a user of a tenant, overrides laid over each other. The user''s go before the task''s '
    'before the tenant''s; denials add up. NULL lists allow all. Members ask about themselves, owners and admins about '
    'any user.';
