select copilot_internal.begin_script(extversion) from pg_catalog.pg_extension where extname = 'pg_tollgate';
