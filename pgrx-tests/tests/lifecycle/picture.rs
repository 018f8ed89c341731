//! What a database looks like, as text that two of them can be compared by.

use anyhow::Result;
use postgres::Client;

use crate::support::texts;

/// Every member with everything that is granted on it.
pub fn grants(client: &mut Client) -> Result<Vec<String>> {
    let sql = "
        with members as (
            select classid, objid from pg_depend where refclassid = 'pg_extension'::regclass and deptype = 'e'
              and refobjid in (select oid from pg_extension where extname like 'pg_tollgate%')
        ), acls as (
            select 'table ' || c.oid::regclass as name, c.relacl as acl, c.relowner as owner
            from pg_class c join members on objid = c.oid and classid = 'pg_class'::regclass
            union all
            select 'column ' || a.attrelid::regclass || '.' || a.attname, a.attacl, c.relowner
            from pg_attribute a join pg_class c on c.oid = a.attrelid join members on objid = c.oid and classid = 'pg_class'::regclass
            where a.attacl is not null
            union all
            select 'function ' || p.oid::regprocedure, coalesce(p.proacl, acldefault('f', p.proowner)), p.proowner
            from pg_proc p join members on objid = p.oid and classid = 'pg_proc'::regclass
            union all
            select 'schema ' || nspname, nspacl, nspowner from pg_namespace where nspname in ('copilot_internal', 'metrics')
        )
        select format('%s: %s to %s%s', name, e.privilege_type, case e.grantee when 0 then 'PUBLIC' else e.grantee::regrole::text end,
                      case when e.is_grantable then ' with grant option' else '' end)
        from acls cross join lateral aclexplode(coalesce(acl, acldefault('r', owner))) e
        union all
        select format('by default in %s for %s: %s to %s', d.defaclnamespace::regnamespace, d.defaclrole::regrole, e.privilege_type, e.grantee::regrole)
        from pg_default_acl d cross join lateral aclexplode(d.defaclacl) e
        where d.defaclnamespace in (select oid from pg_namespace where nspname in ('copilot_internal', 'metrics'))
        order by 1";
    texts(client, sql, &[])
}

/// Everything in the three schemas: definitions, policies, comments and grants.
pub fn catalog(client: &mut Client) -> Result<Vec<String>> {
    client.batch_execute("set search_path = pg_catalog")?;
    let sql = "
        with ours as (select oid from pg_namespace where nspname in ('public', 'copilot_internal', 'metrics'))
        select format('relation %s %s %s of %s rls %s %s', c.relkind, c.oid::regclass, c.relacl, c.relowner::regrole, c.relrowsecurity,
                      c.reloptions)
        from pg_class c where c.relnamespace in (select oid from ours)
        union all
        select format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid))
        from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace in (select oid from ours) and a.attnum > 0 and not a.attisdropped
        union all
        select format('constraint %s on %s: %s', c.conname, c.conrelid::regclass, pg_get_constraintdef(c.oid))
        from pg_constraint c where c.connamespace in (select oid from ours)
        union all
        select format('policy %s on %s for %s to %s: %s, %s', p.polname, p.polrelid::regclass, p.polcmd, p.polroles::regrole[],
                      pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        from pg_policy p
        union all
        select format('function %s %s of %s %s', p.oid::regprocedure, p.proacl, p.proowner::regrole, md5(pg_get_functiondef(p.oid)))
        from pg_proc p where p.pronamespace in (select oid from ours)
        union all
        select format('view %s %s', c.oid::regclass, md5(pg_get_viewdef(c.oid))) from pg_class c
        where c.relkind = 'v' and c.relnamespace in (select oid from ours)
        union all
        select format('index %s', pg_get_indexdef(i.indexrelid)) from pg_index i join pg_class c on c.oid = i.indexrelid
        where c.relnamespace in (select oid from ours)
        union all
        select format('trigger %s %s', pg_get_triggerdef(t.oid), t.tgenabled) from pg_trigger t where not t.tgisinternal
        union all
        select format('comment on %s: %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
        from pg_description d left join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass
        left join pg_proc p on p.oid = d.objoid and d.classoid = 'pg_proc'::regclass
        where coalesce(c.relnamespace, p.pronamespace) in (select oid from ours)
        union all
        select format('dumped with %s: %s where %s', e.extname, t.oid::regclass, t.condition)
        from pg_extension e, unnest(e.extconfig, e.extcondition) as t (oid, condition) where e.extname like 'pg_tollgate%'
        union all
        select format('member of %s: %s', e.extname, pg_describe_object(d.classid, d.objid, d.objsubid))
        from pg_depend d join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass
        where d.deptype = 'e' and e.extname like 'pg_tollgate%'
        union all
        select format('by default in %s for %s: %s', d.defaclnamespace::regnamespace, d.defaclrole::regrole, d.defaclacl)
        from pg_default_acl d
        union all
        select format('schema %s %s %s', n.nspname, n.nspowner::regrole, n.nspacl) from pg_namespace n where n.oid in (select oid from ours)
        order by 1";
    texts(client, sql, &[])
}

/// Every figure and every row of configuration.
pub fn figures(client: &mut Client) -> Result<Vec<String>> {
    let relations = texts(
        client,
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where n.nspname = 'metrics' and c.relkind = 'v'
            or n.nspname = 'copilot_internal' and c.relkind = 'r' and c.relname <> 'queue_starts' order by 1",
        &[],
    )?;
    let mut figures = Vec::new();
    for relation in relations {
        let sql = format!("select '{relation}: ' || to_jsonb(r)::text from {relation} r order by 1");
        figures.extend(texts(client, &sql, &[])?);
    }
    Ok(figures)
}

/// Every row of every table, with the columns that it has.
pub fn rows(client: &mut Client) -> Result<Vec<(String, Vec<String>)>> {
    let tables = "
        select format('select to_jsonb(r)::text from (select %s from %s) r order by 1',
                      string_agg(quote_ident(a.attname), ', ' order by a.attnum), c.oid::regclass)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relnamespace = 'copilot_internal'::regnamespace and c.relkind = 'r' and c.relname <> 'queue_starts'
        group by c.oid, c.relname order by c.relname";
    texts(client, tables, &[])?.into_iter().map(|sql| Ok((sql.clone(), texts(client, &sql, &[])?))).collect()
}
