// What `supabase gen types --lang typescript --schema public,metrics` prints, by the library that it uses.

import pg from 'pg'
import { introspect } from '@supabase/postgrest-typegen/introspection'
import { generateTypescript, sortGeneratorMetadata } from '@supabase/postgrest-typegen/generation'

const pool = new pg.Pool()
const metadata = await introspect(pool, { includedSchemas: ['public', 'metrics'] })
process.stdout.write(await generateTypescript(sortGeneratorMetadata(metadata)))
await pool.end()
