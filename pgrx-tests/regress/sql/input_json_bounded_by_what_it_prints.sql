-- A jsonb keeps 1e131000 in a few bytes and prints 131,001: what a document prints is bounded, and known before it is printed.
\set tenant a0000000-0000-4000-8000-000000000001
\set VERBOSITY terse
set role service_role;
-- What each argument says of a document whose text has one byte more than it may, and of one that has just as many.
create function pg_temp.said(query text, document jsonb) returns text language plpgsql as $$
begin
    execute query using document;
    return 'taken';
exception when others then
    return sqlstate || ' ' || sqlerrm;
end $$;
create function pg_temp.padded(document jsonb, size integer) returns jsonb language sql as $$
    select document || jsonb_build_object('p', repeat('x', size - octet_length((document || '{"p": ""}')::text)))
$$;
select document, octet_length(pg_temp.padded(document, 65536)::text) as bytes,
       pg_temp.said(call, pg_temp.padded(document, 65536)) as fits, pg_temp.said(call, pg_temp.padded(document, 65537)) as one_more
from format('select * from record_llm_cost(%L, ''acme'', ''m'', 1, 1, p_cost_usd => 0, p_metadata => $1)', :'tenant') call,
     (values ('{}'::jsonb),
             ('{"n": 1e100, "m": -0.00001, "k": 123456789012345678901234567890.5, "z": 0.000, "q": 1e-70, "h": -12.50, "i": 10000}'),
             ('{"s": "a\"b\\c\n\t\u0001\u001f\u007fé😀", "": "", "\n": "/"}'),
             ('{"a": [], "o": {}, "l": [1, [2, {"b": null}], true, false, null, [[]]], "e": [{}, {}, ""]}')) d (document);
-- Numbers that are longer than all of it may be: whole ones, ever smaller ones, and nothing at all to many places; and many
-- that are as long as one may be.
create temp table bombs as
    select kind, ('{"prompt_tokens": 1, "completion_tokens": 1, ' || string_agg(format('"%s": %s', i, number), ', ') || '}')::jsonb as document
    from (values ('whole', '1e131000'), ('small', '1e-16000'), ('zeros', '0e-16000'), ('many', '1e999')) v (kind, number), generate_series(1, 300) i
    group by kind;
grant select on bombs to authenticated;
select kind, pg_column_size(document) < 16384 as is_short from bombs order by kind;
set statement_timeout = '5s';
select call, kind, pg_temp.said(call, document)
from bombs, (values
    ('select normalize_llm_usage(''openai'', $1)'),
    ('select * from estimate_llm_cost(''openai'', ''gpt-4o'', 1, 1, $1)'),
    ('select * from record_llm_cost(''a0000000-0000-4000-8000-000000000001'', ''acme'', ''m'', 1, 1, p_cost_usd => 0, p_usage => $1)'),
    ('select * from record_llm_cost(''a0000000-0000-4000-8000-000000000001'', ''acme'', ''m'', 1, 1, p_cost_usd => 0, p_metadata => $1)'),
    ('select * from record_e2b_cost(''a0000000-0000-4000-8000-000000000001'', ''s'', ''t'', 1, p_cost_usd => 0, p_metadata => $1)'),
    ('select * from reserve_quota(''a0000000-0000-4000-8000-000000000001'', ''llm'', 1, ''r'', p_metadata => $1)'),
    ('select set_model_price(''acme'', ''m'', 1, 1, p_components => $1)'),
    ('select set_llm_policy(''a0000000-0000-4000-8000-000000000001'', jsonb_build_object(''task_overrides'', $1))'),
    ('select * from record_llm_costs(jsonb_build_array($1, $1))'),
    ('select * from copilot_internal.import_model_pricing(jsonb_build_object(''m'', $1), ''bomb'')')) c (call)
order by call, kind;
reset statement_timeout;
-- How deep.
select pg_temp.said('select normalize_llm_usage(''openai'', $1)', ('{"prompt_tokens": 1, "a": ' || repeat('{"a":', 99) || '1' || repeat('}', 100))::jsonb) as deep,
       pg_temp.said('select normalize_llm_usage(''openai'', $1)', ('{"prompt_tokens": 1, "a": ' || repeat('{"a":', 100) || '1' || repeat('}', 101))::jsonb) as deeper;
-- What is no object, and what is none.
select document, pg_temp.said(format('select * from record_llm_cost(%L, ''acme'', ''m'', 1, 1, p_cost_usd => 0, p_metadata => $1)', :'tenant'), document)
from unnest('{"null", "[]", "\"{\"", "1", "true", "[null]"}'::jsonb[]) document;
select count(*), max(octet_length(metadata::text)) from copilot_internal.llm_cost_records;
