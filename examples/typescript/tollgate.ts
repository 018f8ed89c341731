// What `supabase gen types` cannot know of pg_tollgate: which values may be null, which texts a status may be, and that
// money may be sent as text. Pass it on: createClient<Database>(url, key).

import type { Database as Generated } from './database.types.ts'

export type QuotaStatus =
  | 'OK' | 'WARNING' | 'EXCEEDED' | 'SUSPENDED' | 'NO_TENANT' | 'NO_QUOTA' | 'UNPRICED' | 'MODEL_DENIED'
export type CostStatus = 'priced' | 'provided' | 'estimated' | 'unpriced'
export type ReservationState = 'held' | 'committed' | 'released' | 'expired'
export type Scope = 'platform' | 'tenant' | 'user'
export type Resource = 'llm' | 'e2b' | 'all'
export type Period = 'hour' | 'day' | 'week' | 'month' | 'year' | 'lifetime'
export type Mode = 'hard' | 'soft' | 'shadow'

/** Columns that are never null, in any function's answer. Every other column may be. */
export const present = [
  'allowed', 'recorded', 'status', 'quota_status', 'cost_status', 'replayed', 'retryable', 'late', 'ordinal',
  'overrun_usd', 'charged_usd', 'released_usd', 'pricing_found', 'llm_cost_usd', 'e2b_cost_usd', 'total_cost_usd',
  'llm_request_count', 'e2b_session_count', 'unpriced_count', 'is_active', 'has_access',
] as const satisfies readonly AnyColumn[]

type Functions = Generated['public']['Functions']
type Name = keyof Functions
type Columns<F extends Name> = Functions[F]['Returns'] extends (infer Row)[] ? Row : never
type AnyColumn = { [F in Name]: keyof Columns<F> }[Name]

/** The words that a column may hold, where they are the same in every function and view. */
interface Words {
  quota_status: QuotaStatus
  cost_status: CostStatus
  status: QuotaStatus
  state: ReservationState
  scope: Scope
  blocked_scope: Scope
  resource_type: Resource
  blocked_resource_type: Resource
  period: Period
  mode: Mode
}
/** The functions whose `status` is about a reservation. */
interface OwnStatus {
  commit_reservation: 'committed' | 'rejected'
  release_reservation: 'released' | 'expired'
}
type Word<F, Column, Type> =
  Column extends 'status' ? (F extends keyof OwnStatus ? OwnStatus[F] : QuotaStatus)
  : Column extends keyof Words ? Words[Column]
  : NonNullable<Type>
type Answer<F, Row> = {
  [C in keyof Row]: Word<F, C, Row[C]> | (C extends (typeof present)[number] ? never : null)
}

/** Arguments without a default that may be null all the same. */
interface NullableArguments {
  set_quota: 'p_scope_id' | 'p_limit_usd'
  check_and_record_quota_atomic: 'p_scope_id'
  estimate_llm_cost: 'p_output_tokens'
  set_model_price: 'p_input_per_million_usd' | 'p_output_per_million_usd'
  set_llm_policy: 'p_policy'
}
interface ArgumentWords {
  p_scope: Scope
  p_resource_type: Resource
  p_period: Period
  p_mode: Mode
  p_overrun: 'record' | 'reject'
}
type Argument<A, Type> =
  A extends keyof ArgumentWords ? ArgumentWords[A] : A extends `${string}_usd` ? Type | string : Type
type Arguments<F, Args> = {
  [A in keyof Args]: Argument<A, Args[A]>
    | (F extends keyof NullableArguments ? (A extends NullableArguments[F] ? null : never) : never)
}
/** Functions that return one value, which may be null. */
type NullableValue = 'get_current_tenant_id' | 'get_llm_cost_estimate' | 'get_e2b_cost_estimate'

export interface Database {
  public: Omit<Generated['public'], 'Functions'> & {
    Functions: {
      [F in Name]: {
        Args: Arguments<F, Functions[F]['Args']>
        Returns: Functions[F]['Returns'] extends (infer Row)[] ? Answer<F, Row>[]
          : Functions[F]['Returns'] | (F extends NullableValue ? null : never)
      }
    }
  }
  metrics: Omit<Generated['metrics'], 'Views'> & {
    Views: {
      [V in keyof Generated['metrics']['Views']]: Omit<Generated['metrics']['Views'][V], 'Row'> & {
        Row: Seen<Generated['metrics']['Views'][V]['Row']>
      }
    }
  }
}
type Seen<Row> = { [C in keyof Row]: C extends keyof Words ? Words[C] : Row[C] }
