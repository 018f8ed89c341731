-- Six quotas apply to an operation: those of the platform, the tenant and the user, each for its resource and for all.
\set tenant a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set user b0000000-0000-4000-8000-000000000001
\set colleague b0000000-0000-4000-8000-000000000002
set role service_role;

-- Sets one quota to 1 USD and all others to 10, and asks for 1.5 USD of each resource.
create function pg_temp.asked(p_scope text, p_resource text)
    returns table (asked_for text, allowed boolean, blocked_scope text, blocked_resource_type text)
    language plpgsql as $$
begin
    perform public.set_quota(s.scope, s.id, r.name,
            case when s.scope = p_scope and r.name = p_resource then 1 else 10 end, 'lifetime', s.tenant)
        from (values ('platform', null::uuid, null::uuid),
                     ('tenant', 'a0000000-0000-4000-8000-000000000001', null),
                     ('user', 'b0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000001'))
                 as s (scope, id, tenant),
             unnest(array['llm', 'e2b', 'all']) as r (name);
    return query
        select r.name, c.allowed, c.blocked_scope, c.blocked_resource_type
        from unnest(array['llm', 'e2b']) as r (name),
             lateral public.check_quota_before_operation('a0000000-0000-4000-8000-000000000001', r.name, 1.5,
                 'b0000000-0000-4000-8000-000000000001') c;
end $$;
select s.name as scope, r.name as resource, a.*
from unnest(array['platform', 'tenant', 'user']) as s (name), unnest(array['llm', 'e2b', 'all']) as r (name),
     lateral pg_temp.asked(s.name, r.name) a
order by 1, 2, 3 desc;

-- Nobody's limit is in the way now, and each charge counts wherever it belongs: a user's to their own, their tenant's and
-- the platform's quotas; a quota for all counts both resources.
select count(*) from pg_temp.asked('nobody', 'none');
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_user_id => :'user', p_cost_usd => 0.1, p_enforce => true);
select recorded from record_e2b_cost(:'tenant', 'box', 'standard', 1, p_user_id => :'user', p_cost_usd => 0.02, p_enforce => true);
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_user_id => :'colleague', p_cost_usd => 0.003);
select recorded from record_llm_cost(:'tenant', 'acme', 'm', 1, 1, p_cost_usd => 0.0004);
select recorded from record_llm_cost(:'other', 'acme', 'm', 1, 1, p_user_id => :'user', p_cost_usd => 0.00005);
select allowed from check_and_record_quota_atomic('platform', null, 0.000006);

-- user:     llm 0.1                                      e2b 0.02
-- tenant:   llm 0.1 + 0.003 + 0.0004 = 0.1034            e2b 0.02
-- platform: llm 0.1034 + 0.00005 + 0.000006 = 0.103456   e2b 0.02
select scope, resource_type, current_spend_usd from metrics.quota_status order by scope, resource_type;
