-- Every file here runs in its own database, in which the extension exists already.
select extname from pg_extension where extname = 'pg_tollgate';
