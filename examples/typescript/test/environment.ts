import { connect } from '../supabase.ts'

export const tenant = process.env.TENANT!
export const url = process.env.SUPABASE_URL!
export const key = process.env.SUPABASE_SECRET_KEY!
export const server = () => connect(url, key)

/** Tells the test that started this program. */
export function tell(what: string, facts: object) {
  console.log(JSON.stringify({ what, ...facts }))
}

/** What a promise fails with. */
export async function failure(work: PromiseLike<unknown>): Promise<Record<string, unknown>> {
  try {
    await work
  } catch (error) {
    return error as Record<string, unknown>
  }
  throw new Error('it did not fail')
}
