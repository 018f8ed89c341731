-- What is called in public. Each function there has the rights of its caller and calls the one of the same name in
-- copilot_internal, which has the owner's and asks first who calls. Those that have none in public get it here, with
-- the same arguments, result and comment. A function of the library has two names: a facade in SQL would be planned
-- anew by each statement.

do $facades$
declare
    v_function record;
    v_arguments text;
begin
    for v_function in
        select p.oid, p.proname, p.proretset, p.probin, p.prosrc,
               case p.provolatile when 's' then 'stable' else 'volatile' end as volatility,
               pg_catalog.pg_get_function_arguments(p.oid) as arguments,
               pg_catalog.pg_get_function_result(p.oid) as result,
               pg_catalog.obj_description(p.oid, 'pg_proc') as comment
        from pg_catalog.pg_depend d
        join pg_catalog.pg_proc p on p.oid = d.objid
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.deptype = 'e'
          and d.refclassid = 'pg_catalog.pg_extension'::regclass
          and d.refobjid = (select oid from pg_catalog.pg_extension where extname = 'pg_tollgate_conversations')
          and (p.prosecdef or p.proname in ('get_path_messages', 'resolve_path_messages'))
          and p.prorettype <> 'trigger'::regtype
          and p.pronamespace = 'copilot_internal'::regnamespace
          and not exists (select from pg_catalog.pg_proc f
                          where f.proname = p.proname and f.pronamespace = 'public'::regnamespace)
        order by p.proname
    loop
        select pg_catalog.string_agg(pg_catalog.format('%I', a.name), ', ' order by a.place) into v_arguments
        from pg_catalog.pg_proc p
        cross join lateral pg_catalog.unnest(p.proargnames) with ordinality a (name, place)
        where p.oid = v_function.oid and a.place <= p.pronargs;
        execute pg_catalog.format('create function public.%I(%s) returns %s language ',
                v_function.proname, v_function.arguments, v_function.result)
            || case when v_function.probin is not null
                    then pg_catalog.format('c %s rows 50 as %L, %L',
                        v_function.volatility, v_function.probin, v_function.prosrc)
                    else pg_catalog.format('sql %s %s begin atomic select %s copilot_internal.%I(%s); end',
                        v_function.volatility, case when v_function.proretset then 'rows 100' else '' end,
                        case when v_function.proretset then '* from' else '' end, v_function.proname,
                        coalesce(v_arguments, ''))
                    end;
        execute pg_catalog.format('comment on function public.%I is %L', v_function.proname, v_function.comment);
    end loop;
end $facades$;
