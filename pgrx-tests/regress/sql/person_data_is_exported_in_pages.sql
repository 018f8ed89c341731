-- All that is kept about a user and nothing of others, in pages of any size in one order; in one tenant or in all.
\set one a0000000-0000-4000-8000-000000000001
\set two a0000000-0000-4000-8000-000000000002
\set ann b0000000-0000-4000-8000-000000000001
\set bob b0000000-0000-4000-8000-0000000000b0
\set VERBOSITY terse
set timezone = 'UTC';
insert into copilot_internal.tenants (id, name, owner_id) values (:'one', 'One', :'ann'), (:'two', 'Two', :'bob');
insert into copilot_internal.tenant_memberships (tenant_id, user_id) values (:'one', :'bob');
insert into copilot_internal.price_markups (tenant_id, factor) values (:'one', 3.5);
set role service_role;
select set_quota('user', :'bob', 'llm', 5, 'lifetime', :'one', p_event_thresholds => '{0.1}') is not null as made;
select set_llm_policy(:'one', '{"user_overrides": {"b0000000-0000-4000-8000-0000000000b0": {"denied_models": ["o3"]}, "B0000000-0000-4000-8000-0000000000B0": {}, "b0000000-0000-4000-8000-0000000000c0": {}}}');
select switch_tenant(:'one', :'bob');
select count(*) from (select record_llm_cost(t.id::uuid, 'openai', 'gpt-4o', 1000, n, u.id::uuid, p_task => 'of ' || right(u.id, 2), p_request_id => n || u.id)
    from (values (:'one'), (:'two')) t (id), (values (:'ann'), (:'bob'), (null)) u (id), generate_series(1, 3) n) r;
select count(*) from (select record_e2b_cost(t.id::uuid, 'box', 'standard', 1, u.id::uuid) from (values (:'one'), (:'two')) t (id), (values (:'ann'), (:'bob')) u (id)) r;
select count(*) from (select check_and_record_quota_atomic('user', u.id::uuid, 0.5, 'llm', t.id::uuid, 'c' || u.id) from (values (:'one'), (:'two')) t (id), (values (:'ann'), (:'bob')) u (id)) r;
select count(*) from (select refund_cost(id, 0.0001, id::text, 'asked') from copilot_internal.llm_cost_records where request_id like '1%') r;
select count(*) from (select extend_reservation(r.reservation_id, '1 hour', p_request_id => 'x' || u.id) from (values (:'ann'), (:'bob')) u (id),
    lateral reserve_quota(:'one', 'llm', 0.5, 'h' || u.id, u.id::uuid, p_metadata => '{"note": "n"}') r) r;
select allowed from reserve_quota(:'one', 'llm', 50, 'no', :'bob', p_log_denial => true);
create temp table exported as select row_number() over () as place, e.* from export_user_data(:'bob') e;
select source, count(*) from exported group by 1 order by min(place);
-- Every row with the user's id, and no other.
select distinct source from exported where data::text !~ :'bob' order by 1;
select count(*) from exported where data::text ~* (:'ann' || '|of 01|\m3\.5|markup');
select data - 'created_at' as data from exported where source in ('tenants', 'tenant_llm_policies', 'tenant_memberships') and data ->> 'joined_at' is null order by place;
select data -> 'extensions' -> 0 ->> 'request_id' as extension from exported where source = 'quota_reservations';
-- In pages of one and of three they are the same rows, in the same order.
with recursive pages (source, cursor, place) as (
    (select source, cursor, 1 from export_user_data(:'bob', null, null, 1))
    union all
    select e.source, e.cursor, p.place + 1 from pages p cross join lateral export_user_data(:'bob', null, p.cursor, 1) e
)
select count(*) as different from pages p full join exported e using (place, source, cursor) where p.place is null or e.place is null;
with recursive pages (cursors, last) as (
    (select array_agg(cursor), (array_agg(cursor))[3] from export_user_data(:'bob', null, null, 3))
    union all
    select e.cursors, e.cursors[3] from pages p
    cross join lateral (select array_agg(cursor) as cursors from export_user_data(:'bob', null, p.last, 3)) e
    where p.last is not null
)
select (select array_agg(c) from pages, unnest(cursors) c) = (select array_agg(cursor order by place) from exported) as same;
-- In one tenant it is what is of that tenant; preferences are of none.
select source, count(*) from export_user_data(:'bob', :'two') group by 1 order by 1;
select count(*) from export_user_data(:'bob', :'two') where data::text ~ :'one';
select count(*) from export_user_data('b0000000-0000-4000-8000-0000000000ff');
-- After an erasure there is nothing left to export.
select finished from erase_user(:'bob', :'one');
select source from export_user_data(:'bob', :'one');
-- Bad input.
select export_user_data(null);
select export_user_data(:'bob', p_limit => 0);
select export_user_data(:'bob', p_limit => 1001);
select export_user_data(:'bob', p_cursor => 'x');
select export_user_data(:'bob', p_cursor => '99:' || :'one' || ':' || :'one');
select export_user_data(:'bob', p_cursor => '7:a0000000-0000-4000-8000-00000000000-:' || :'one');
select export_user_data(:'bob', p_cursor => '7:' || :'one' || ':' || :'one');
select export_user_data(:'bob', p_cursor => '1:' || :'one' || ':' || :'one' || ':5');
set role authenticated;
select export_user_data(:'bob');
reset role;
