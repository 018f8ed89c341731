-- Where several quotas refuse, the most specific is told: user before tenant before platform, the operation's own
-- resource before all, and of two periods the one that ends last, for it is the one to wait for.
\set tenant a0000000-0000-4000-8000-000000000001
\set user b0000000-0000-4000-8000-000000000001
-- The tenant is known by a quota for something else.
set role service_role;
select set_quota('tenant', :'tenant', 'e2b', 1, 'lifetime') is not null as made;
select count(set_quota(s.scope, s.id, r.name, 1, 'lifetime', s.tenant)) as made
from (values ('platform', null::uuid, null::uuid), ('tenant', :'tenant', null), ('user', :'user', :'tenant'))
         as s (scope, id, tenant),
     unnest(array['llm', 'all']) as r (name);

-- All six refuse; one after the other is taken away as it is told.
create function pg_temp.told() returns table (blocked_scope text, blocked_resource_type text) language plpgsql as $$
begin
    loop
        select c.blocked_scope, c.blocked_resource_type into blocked_scope, blocked_resource_type
        from public.check_quota_before_operation('a0000000-0000-4000-8000-000000000001', 'llm', 2,
            'b0000000-0000-4000-8000-000000000001') c;
        exit when blocked_scope is null;
        return next;
        delete from copilot_internal.cost_quotas q
        where q.scope = blocked_scope and q.resource_type = blocked_resource_type;
    end loop;
end $$;
select * from pg_temp.told();

-- Without any there is nothing to tell.
select allowed, status, blocked_scope, limit_usd, reason from check_quota_before_operation(:'tenant', 'llm', 2, :'user');

-- Of the same scope and resource, the period that ends last; lifetime never ends.
select count(set_quota('tenant', :'tenant', 'llm', 1, p.name)) as made
from unnest(array['hour', 'lifetime', 'year']) as p (name);
select allowed, period, period_end from check_and_record_quota_atomic('tenant', :'tenant', 2);
delete from copilot_internal.cost_quotas where period = 'lifetime' and resource_type = 'llm';
select allowed, period, period_end is not null as ends from check_and_record_quota_atomic('tenant', :'tenant', 2);

-- A quota that has room is not told: only the hour's has none for 0.5.
select set_quota('tenant', :'tenant', 'llm', 0.4, 'hour') is not null as made;
select allowed, period from check_and_record_quota_atomic('tenant', :'tenant', 0.5);
