-- Makes a database lintable that has the extension. Linters pass over members of extensions, and must be told which schemas
-- are exposed. For a scratch database and a superuser: afterwards the extension can neither be dropped nor updated.
set allow_system_table_mods = on;
delete from pg_depend where deptype = 'e' and refclassid = 'pg_extension'::regclass
    and refobjid = (select oid from pg_extension where extname = 'pg_tollgate');
do $$ begin
    execute format('alter database %I set pgrst.db_schemas = %L', current_database(), 'public,metrics');
end $$;
