-- The tenant a user works in: the one of their verified token, else the one they prefer, and either only while they are an
-- active member of it.
\set acme a0000000-0000-4000-8000-000000000001
\set other a0000000-0000-4000-8000-000000000002
\set gone a0000000-0000-4000-8000-000000000003
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-000000000002
\set VERBOSITY sqlstate
insert into copilot_internal.tenants (id, name, owner_id, deleted_at)
values (:'acme', 'Acme', :'ann', null), (:'other', 'Other', null, null), (:'gone', 'Gone', :'ann', now());
insert into copilot_internal.tenant_memberships (tenant_id, user_id, status) values (:'other', :'ann', 'active'), (:'other', :'bob', 'pending');

-- Asks as a signed-in user with these claims; a tenant is shown by its last digit.
create function pg_temp.current_tenant(p_claims text) returns text language plpgsql as $$
declare
    v_tenant uuid;
begin
    perform set_config('role', 'authenticated', true), set_config('request.jwt.claims', p_claims, true);
    v_tenant := public.get_current_tenant_id();
    perform set_config('role', 'none', true);
    return coalesce(right(v_tenant::text, 1), 'none');
end $$;
create function pg_temp.of_ann(p_more jsonb) returns text language sql as $$
    select pg_temp.current_tenant(('{"sub": "b0000000-0000-4000-8000-000000000001"}'::jsonb || p_more)::text)
$$;

-- No wish and no preference: being a member is no choice.
select pg_temp.of_ann('{}');
-- The token's.
select pg_temp.of_ann(jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', :'other')));
select pg_temp.of_ann(jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', :'acme')));
-- What users write themselves is not believed.
select pg_temp.of_ann(jsonb_build_object('user_metadata', jsonb_build_object('tenant_id', :'acme')));
select pg_temp.of_ann(jsonb_build_object('tenant_id', :'acme'));
-- Preferred.
insert into copilot_internal.user_preferences (user_id, current_tenant_id) values (:'ann', :'other');
select pg_temp.of_ann('{}');
-- The token goes before the preference; where it names a tenant that is not theirs, or a deleted one, the preference counts.
select pg_temp.of_ann(jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', :'acme')));
select pg_temp.of_ann(jsonb_build_object('app_metadata', jsonb_build_object('tenant_id', :'gone')));
select pg_temp.of_ann('{"app_metadata": {"tenant_id": "a0000000-0000-4000-8000-00000000000f"}}');
select pg_temp.of_ann('{"app_metadata": {"tenant_id": "acme"}}');
select pg_temp.of_ann('{"app_metadata": {"tenant_id": 7}}');
select pg_temp.of_ann('{"app_metadata": "none"}');
-- A preference for a tenant that the user has left counts no more.
update copilot_internal.tenant_memberships set status = 'removed' where user_id = :'ann';
select pg_temp.of_ann('{}');
-- A membership that is only pending is none yet, whatever the token says.
select pg_temp.current_tenant('{"sub": "b0000000-0000-4000-8000-000000000002", "app_metadata": {"tenant_id": "a0000000-0000-4000-8000-000000000002"}}');
-- Claims that name nobody.
select c.text, pg_temp.current_tenant(c.text) from (values (''), ('{}'), ('nonsense'), ('[]'), ('{"sub": null}'), ('{"sub": "ann"}'),
    ('{"sub": "{b0000000-0000-4000-8000-000000000001}", "app_metadata": {"tenant_id": "a0000000-0000-4000-8000-000000000001"}}')) as c (text);

-- The server asks for any user: what they prefer. Claims are not its business.
update copilot_internal.tenant_memberships set status = 'active' where user_id = :'ann';
set role service_role;
select right(get_current_tenant_id(:'ann')::text, 1), get_current_tenant_id(:'bob'), get_current_tenant_id();
-- Users ask for themselves alone.
set role authenticated;
select set_config('request.jwt.claims', '{"sub": "b0000000-0000-4000-8000-000000000001"}', false) is not null as signed_in;
select right(get_current_tenant_id(:'ann')::text, 1);
select get_current_tenant_id(:'bob');
set role anon;
select get_current_tenant_id();
