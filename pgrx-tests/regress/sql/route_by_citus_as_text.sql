-- Citus is not here to run it, so its router is read: what stands before the functions, one of each kind, what is asked of
-- all workers, and the names of all.
\pset format unaligned
\pset tuples_only on
set role service_role;
create temporary table part as
select n, text from regexp_split_to_table(copilot_internal.router_sql('citus'), E'\n(?=\n)') with ordinality p (text, n);
select text from part where text !~ '^\ncreate function' or text ~ '^\ncreate function (tollgate_route.(record_llm_costs|create_tenant|require_quota|set_quota|commit_reservation)|copilot_internal.verify)\('
order by n;
select string_agg(substring(text from '^\ncreate function (\S+)\('), ' ' order by n) from part where text ~ '^\ncreate function';

\set VERBOSITY sqlstate
select copilot_internal.router_sql('spqr');
select copilot_internal.router_sql(null);
select copilot_internal.router_sql('plproxy', 0);
select copilot_internal.router_sql('plproxy', null);
