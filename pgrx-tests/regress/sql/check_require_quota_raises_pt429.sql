-- require_quota is silent when there is room and raises PT429 when there is none, with the figures as JSON in DETAIL and
-- the wait in HINT. Inside a PostgREST request it raises PGRST, so that the answer carries a Retry-After header.
\set tenant a0000000-0000-4000-8000-000000000001
set role service_role;
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select allowed from check_and_record_quota_atomic('tenant', :'tenant', 0.75);
select require_quota(:'tenant', 'llm', 0.25);
-- A lifetime never ends, so there is nothing to wait for.
\set SHOW_CONTEXT never
select require_quota(:'tenant', 'llm', 0.5);
\set VERBOSITY sqlstate
select require_quota(:'tenant', 'llm', 0.5);
select require_quota(null, 'llm', 0.5);
select require_quota(:'tenant', 'gpu', 0.5);
select require_quota(:'tenant', 'llm', 'NaN');

-- A year does; the figures of that quota are told. Times depend on the clock and are compared here.
select set_quota('tenant', :'tenant', 'llm', 1, 'year') is not null as made;
delete from copilot_internal.cost_quotas where period = 'lifetime';
create function pg_temp.raised(out state text, out message text, out detail jsonb, out hint text) language plpgsql as $$
begin
    perform public.require_quota('a0000000-0000-4000-8000-000000000001', 'llm', 0.5);
exception when others then
    get stacked diagnostics state = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
end $$;
select state, message, detail - 'period_end' as detail,
       (detail ->> 'period_end')::timestamptz = (date_trunc('year', now() at time zone 'UTC') + interval '1 year') at time zone 'UTC' as until_new_year,
       hint ~ '^Retry after \d+ seconds, or raise the limit.$' as says_how_long
from pg_temp.raised();

-- As PostgREST announces a request.
select set_config('request.method', 'POST', false);
select state, message::jsonb ->> 'code' as code, message::jsonb ->> 'message' as message,
       (message::jsonb ->> 'details')::jsonb -> 'remaining_usd' as remaining_usd, message::jsonb ->> 'hint' ~ '^Retry after \d+' as hint,
       detail -> 'status' as status,
       abs((detail -> 'headers' ->> 'Retry-After')::integer
           - extract(epoch from (date_trunc('year', now() at time zone 'UTC') + interval '1 year') at time zone 'UTC' - now())) < 60 as until_new_year
from pg_temp.raised();
-- Without an end there is no such header.
select set_quota('tenant', :'tenant', 'llm', 1, 'lifetime') is not null as made;
select state, detail, message::jsonb ->> 'hint' as hint from pg_temp.raised();
select require_quota(:'tenant', 'llm', 0.25);
