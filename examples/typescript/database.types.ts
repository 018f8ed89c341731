export type Json =
  | string
  | number
  | boolean
  | null
  | { [key: string]: Json | undefined }
  | Json[]

export type Database = {
  metrics: {
    Tables: {
      [_ in never]: never
    }
    Views: {
      admission: {
        Row: {
          admissions: number | null
          entries: number | null
          entries_pinned: number | null
          entries_used: number | null
          entry_bytes: number | null
          evictions: number | null
          loads: number | null
          mode: string | null
          refusals: number | null
          retryable_refusals: number | null
          shared_bytes: number | null
          waits: number | null
        }
        Relationships: []
      }
      cost_by_conversation: {
        Row: {
          conversation_id: string | null
          e2b_cost: number | null
          e2b_session_count: number | null
          llm_cost: number | null
          llm_request_count: number | null
          tenant_id: string | null
          total_cost: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      cost_by_user: {
        Row: {
          e2b_cost: number | null
          e2b_session_count: number | null
          llm_cost: number | null
          llm_request_count: number | null
          other_cost: number | null
          tenant_id: string | null
          total_cost: number | null
          unpriced_count: number | null
          user_id: string | null
        }
        Relationships: []
      }
      cost_estimates: {
        Row: {
          confidence_level: string | null
          effective_from: string | null
          effective_to: string | null
          estimated_cost_usd: number | null
          from_history: boolean | null
          model_name: string | null
          model_provider: string | null
          operation_type: string | null
          region: string | null
          resource_type: string | null
          sandbox_type: string | null
          tenant_id: string | null
        }
        Relationships: []
      }
      e2b_costs: {
        Row: {
          sandbox_type: string | null
          session_count: number | null
          tenant_id: string | null
          total_cost: number | null
          total_duration: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      e2b_costs_daily: {
        Row: {
          date: string | null
          sandbox_type: string | null
          session_count: number | null
          tenant_id: string | null
          total_cost: number | null
          total_duration: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      housekeeping: {
        Row: {
          expired_holds: number | null
          held_usd: number | null
          live_holds: number | null
          oldest_event_at: string | null
          pending_rows: number | null
          unacknowledged_events: number | null
        }
        Relationships: []
      }
      llm_costs: {
        Row: {
          model_name: string | null
          model_provider: string | null
          request_count: number | null
          tenant_id: string | null
          total_cost: number | null
          total_input_tokens: number | null
          total_output_tokens: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      llm_costs_daily: {
        Row: {
          date: string | null
          model_name: string | null
          model_provider: string | null
          request_count: number | null
          tenant_id: string | null
          total_cost: number | null
          total_input_tokens: number | null
          total_output_tokens: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      margins: {
        Row: {
          date: string | null
          margin: number | null
          margin_percentage: number | null
          name: string | null
          provider: string | null
          provider_cost: number | null
          resource_type: string | null
          tenant_id: string | null
          total_cost: number | null
        }
        Relationships: []
      }
      quota_status: {
        Row: {
          current_spend_usd: number | null
          is_default: boolean | null
          limit_usd: number | null
          mode: string | null
          period: string | null
          period_end: string | null
          period_start: string | null
          quota_id: string | null
          remaining_usd: number | null
          reserved_usd: number | null
          resource_type: string | null
          scope: string | null
          scope_id: string | null
          status: string | null
          suspended: boolean | null
          tenant_id: string | null
          usage_percentage: number | null
        }
        Relationships: []
      }
      tenant_total_costs: {
        Row: {
          e2b_cost: number | null
          e2b_session_count: number | null
          llm_cost: number | null
          llm_request_count: number | null
          other_cost: number | null
          tenant_id: string | null
          total_cost: number | null
          unpriced_count: number | null
        }
        Relationships: []
      }
      tenants_without_quota: {
        Row: {
          resource_type: string | null
          tenant_id: string | null
          tenant_name: string | null
          tenant_plan: string | null
          tenant_slug: string | null
        }
        Relationships: []
      }
    }
    Functions: {
      [_ in never]: never
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
  public: {
    Tables: {
      [_ in never]: never
    }
    Views: {
      [_ in never]: never
    }
    Functions: {
      accept_invitation: {
        Args: { p_tenant_id: string; p_user_id?: string }
        Returns: boolean
      }
      acknowledge_quota_events: {
        Args: { p_event_ids: string[]; p_tenant_id?: string }
        Returns: number
      }
      check_and_record_quota_atomic: {
        Args: {
          p_cost_usd: number
          p_log_denial?: boolean
          p_request_id?: string
          p_resource_type?: string
          p_scope: string
          p_scope_id: string
          p_tenant_id?: string
        }
        Returns: {
          allowed: boolean
          current_spend_usd: number
          limit_usd: number
          period: string
          period_end: string
          reason: string
          remaining_usd: number
          replayed: boolean
          retryable: boolean
          status: string
          utilization_percent: number
        }[]
      }
      check_quota_before_operation: {
        Args: {
          p_estimated_cost_usd: number
          p_resource_type: string
          p_tenant_id: string
          p_user_id?: string
        }
        Returns: {
          allowed: boolean
          blocked_resource_type: string
          blocked_scope: string
          current_spend_usd: number
          limit_usd: number
          period_end: string
          period_start: string
          reason: string
          remaining_usd: number
          reserved_usd: number
          retry_after_seconds: number
          retryable: boolean
          status: string
          usage_percentage: number
        }[]
      }
      claim_quota_events: {
        Args: { p_lease?: string; p_limit?: number; p_tenant_id?: string }
        Returns: {
          acknowledged_at: string
          created_at: string
          event_type: string
          id: string
          payload: Json
          period_start: string
          quota_id: string
          tenant_id: string
          threshold: number
        }[]
      }
      commit_reservation: {
        Args: {
          p_actual_cost_usd: number
          p_overrun?: string
          p_reservation_id: string
          p_tenant_id?: string
        }
        Returns: {
          charged_usd: number
          late: boolean
          overrun_usd: number
          released_usd: number
          replayed: boolean
          status: string
        }[]
      }
      create_personal_tenant: {
        Args: { p_tenant_id?: string; p_user_email: string; p_user_id: string }
        Returns: string
      }
      create_tenant: {
        Args: {
          p_name: string
          p_owner_id?: string
          p_plan?: string
          p_slug?: string
          p_tenant_id?: string
          p_type?: string
        }
        Returns: string
      }
      delete_tenant: { Args: { p_tenant_id: string }; Returns: boolean }
      erase_user: {
        Args: { p_tenant_id?: string; p_user_id: string }
        Returns: {
          changed: number
          finished: boolean
          remaining: string[]
        }[]
      }
      estimate_e2b_cost: {
        Args: {
          p_creations?: number
          p_disk_gib_seconds?: number
          p_duration_seconds: number
          p_egress_gib?: number
          p_gpu_seconds?: number
          p_memory_gib_seconds?: number
          p_provider?: string
          p_region?: string
          p_sandbox_type: string
          p_tenant_id?: string
          p_vcpu_seconds?: number
        }
        Returns: {
          basis: string
          estimated_cost_usd: number
          pricing_found: boolean
        }[]
      }
      estimate_llm_cost: {
        Args: {
          p_input_tokens: number
          p_model_name: string
          p_model_provider: string
          p_output_tokens: number
          p_service_tier?: string
          p_tenant_id?: string
          p_usage?: Json
        }
        Returns: {
          basis: string
          estimated_cost_usd: number
          input_cost_usd: number
          output_cost_usd: number
          pricing_found: boolean
        }[]
      }
      export_user_data: {
        Args: {
          p_cursor?: string
          p_limit?: number
          p_tenant_id?: string
          p_user_id: string
        }
        Returns: {
          cursor: string
          data: Json
          source: string
        }[]
      }
      extend_reservation: {
        Args: {
          p_additional_usd?: number
          p_request_id?: string
          p_reservation_id: string
          p_tenant_id?: string
          p_ttl?: string
        }
        Returns: {
          allowed: boolean
          expires_at: string
          reason: string
          replayed: boolean
          reserved_usd: number
          retryable: boolean
          status: string
        }[]
      }
      get_current_tenant_id: { Args: { p_user_id?: string }; Returns: string }
      get_e2b_cost_estimate: {
        Args: {
          p_confidence_level?: string
          p_operation_type?: string
          p_region?: string
          p_tenant_id?: string
          p_tier: string
        }
        Returns: number
      }
      get_llm_cost_estimate: {
        Args: {
          p_confidence_level?: string
          p_model: string
          p_operation_type?: string
          p_provider: string
          p_tenant_id?: string
        }
        Returns: number
      }
      get_tenant_cost_summary: {
        Args: { p_from?: string; p_tenant_id: string; p_to?: string }
        Returns: {
          by_model: Json
          by_sandbox_type: Json
          e2b_cost_usd: number
          e2b_duration_seconds: number
          e2b_session_count: number
          input_tokens: number
          llm_cost_usd: number
          llm_request_count: number
          other_charges_usd: number
          output_tokens: number
          period_end: string
          period_start: string
          quotas: Json
          reserved_usd: number
          tenant_id: string
          total_cost_usd: number
          unpriced_count: number
        }[]
      }
      get_user_tenants: {
        Args: { p_user_id?: string }
        Returns: {
          is_active: boolean
          is_current: boolean
          joined_at: string
          role: string
          tenant_id: string
          tenant_name: string
          tenant_plan: string
          tenant_slug: string
          tenant_type: string
        }[]
      }
      has_quota: {
        Args: {
          p_estimated_cost_usd: number
          p_resource_type: string
          p_tenant_id: string
          p_user_id?: string
        }
        Returns: boolean
      }
      initialize_tenant_quotas: {
        Args: { p_tenant_id: string }
        Returns: number
      }
      invite_member: {
        Args: { p_role?: string; p_tenant_id: string; p_user_id: string }
        Returns: boolean
      }
      normalize_llm_usage: {
        Args: { p_provider: string; p_usage: Json }
        Returns: Json
      }
      purge_tenant: {
        Args: { p_tenant_id: string }
        Returns: {
          changed: number
          finished: boolean
          remaining: string[]
        }[]
      }
      raise_quota: {
        Args: {
          p_amount_usd: number
          p_ends_at: string
          p_quota_id: string
          p_reason?: string
          p_starts_at?: string
          p_tenant_id?: string
        }
        Returns: string
      }
      record_e2b_cost: {
        Args: {
          p_conversation_id?: string
          p_cost_usd?: number
          p_creations?: number
          p_disk_gib_seconds?: number
          p_duration_seconds: number
          p_egress_gib?: number
          p_enforce?: boolean
          p_gpu_seconds?: number
          p_log_denial?: boolean
          p_memory_gib_seconds?: number
          p_metadata?: Json
          p_occurred_at?: string
          p_path_id?: string
          p_provider?: string
          p_region?: string
          p_request_id?: string
          p_reservation_id?: string
          p_sandbox_id: string
          p_sandbox_type: string
          p_tenant_id: string
          p_user_id?: string
          p_vcpu_seconds?: number
        }
        Returns: {
          blocked_resource_type: string
          blocked_scope: string
          cost_record_id: string
          cost_status: string
          cost_usd: number
          limit_usd: number
          overrun_usd: number
          period_end: string
          quota_status: string
          reason: string
          recorded: boolean
          remaining_usd: number
          replayed: boolean
          retry_after_seconds: number
          retryable: boolean
        }[]
      }
      record_e2b_costs: {
        Args: { p_records: Json }
        Returns: {
          blocked_resource_type: string
          blocked_scope: string
          cost_record_id: string
          cost_status: string
          cost_usd: number
          limit_usd: number
          ordinal: number
          overrun_usd: number
          period_end: string
          quota_status: string
          reason: string
          recorded: boolean
          remaining_usd: number
          replayed: boolean
          retry_after_seconds: number
          retryable: boolean
        }[]
      }
      record_llm_cost: {
        Args: {
          p_conversation_id?: string
          p_cost_usd?: number
          p_enforce?: boolean
          p_input_tokens: number
          p_log_denial?: boolean
          p_metadata?: Json
          p_model_name: string
          p_model_provider: string
          p_occurred_at?: string
          p_output_tokens: number
          p_path_id?: string
          p_request_id?: string
          p_reservation_id?: string
          p_service_tier?: string
          p_span_id?: string
          p_task?: string
          p_tenant_id: string
          p_trace_id?: string
          p_usage?: Json
          p_user_id?: string
        }
        Returns: {
          blocked_resource_type: string
          blocked_scope: string
          cost_record_id: string
          cost_status: string
          cost_usd: number
          limit_usd: number
          overrun_usd: number
          period_end: string
          quota_status: string
          reason: string
          recorded: boolean
          remaining_usd: number
          replayed: boolean
          retry_after_seconds: number
          retryable: boolean
        }[]
      }
      record_llm_costs: {
        Args: { p_records: Json }
        Returns: {
          blocked_resource_type: string
          blocked_scope: string
          cost_record_id: string
          cost_status: string
          cost_usd: number
          limit_usd: number
          ordinal: number
          overrun_usd: number
          period_end: string
          quota_status: string
          reason: string
          recorded: boolean
          remaining_usd: number
          replayed: boolean
          retry_after_seconds: number
          retryable: boolean
        }[]
      }
      record_llm_usage: {
        Args: {
          p_conversation_id?: string
          p_cost_usd?: number
          p_enforce?: boolean
          p_log_denial?: boolean
          p_metadata?: Json
          p_model_name: string
          p_model_provider: string
          p_occurred_at?: string
          p_path_id?: string
          p_request_id?: string
          p_reservation_id?: string
          p_service_tier?: string
          p_span_id?: string
          p_task?: string
          p_tenant_id: string
          p_trace_id?: string
          p_usage: Json
          p_user_id?: string
        }
        Returns: {
          blocked_resource_type: string
          blocked_scope: string
          cost_record_id: string
          cost_status: string
          cost_usd: number
          limit_usd: number
          overrun_usd: number
          period_end: string
          quota_status: string
          reason: string
          recorded: boolean
          remaining_usd: number
          replayed: boolean
          retry_after_seconds: number
          retryable: boolean
        }[]
      }
      redact_cost_metadata: {
        Args: { p_conversation_id: string; p_tenant_id: string }
        Returns: number
      }
      refund_cost: {
        Args: {
          p_amount_usd: number
          p_cost_record_id: string
          p_reason?: string
          p_request_id: string
          p_tenant_id?: string
        }
        Returns: {
          refund_id: string
          refunded_usd: number
          replayed: boolean
        }[]
      }
      release_reservation: {
        Args: {
          p_reason?: string
          p_reservation_id: string
          p_tenant_id?: string
        }
        Returns: {
          released_usd: number
          replayed: boolean
          status: string
        }[]
      }
      remove_member: {
        Args: { p_tenant_id: string; p_user_id: string }
        Returns: boolean
      }
      require_quota: {
        Args: {
          p_estimated_cost_usd: number
          p_resource_type: string
          p_tenant_id: string
          p_user_id?: string
        }
        Returns: undefined
      }
      reserve_quota: {
        Args: {
          p_amount_usd: number
          p_log_denial?: boolean
          p_metadata?: Json
          p_request_id: string
          p_resource_type: string
          p_tenant_id: string
          p_ttl?: string
          p_user_id?: string
        }
        Returns: {
          allowed: boolean
          blocked_resource_type: string
          blocked_scope: string
          current_spend_usd: number
          expires_at: string
          limit_usd: number
          period_end: string
          reason: string
          remaining_usd: number
          replayed: boolean
          reservation_id: string
          reserved_usd: number
          retry_after_seconds: number
          retryable: boolean
          state: string
          status: string
        }[]
      }
      resolve_llm_policy: {
        Args: { p_task?: string; p_tenant_id: string; p_user_id?: string }
        Returns: {
          allowed_models: Json
          allowed_providers: Json
          default_model: string
          default_provider: string
          denied_models: Json
          denied_providers: Json
          egress_mode: string
          has_policy: boolean
        }[]
      }
      set_llm_policy: {
        Args: { p_policy: Json; p_tenant_id: string }
        Returns: boolean
      }
      set_member_role: {
        Args: { p_role: string; p_tenant_id: string; p_user_id: string }
        Returns: boolean
      }
      set_model_price: {
        Args: {
          p_components?: Json
          p_effective_from?: string
          p_input_per_million_usd: number
          p_model_name: string
          p_model_provider: string
          p_output_per_million_usd: number
          p_tenant_id?: string
        }
        Returns: string
      }
      set_quota: {
        Args: {
          p_event_thresholds?: number[]
          p_limit_usd: number
          p_mode?: string
          p_period?: string
          p_resource_type: string
          p_scope: string
          p_scope_id: string
          p_suspended?: boolean
          p_tenant_id?: string
          p_time_zone?: string
          p_warning_threshold?: number
        }
        Returns: string
      }
      set_sandbox_price: {
        Args: {
          p_components: Json
          p_effective_from?: string
          p_provider: string
          p_region?: string
          p_sandbox_type: string
          p_tenant_id?: string
        }
        Returns: string
      }
      switch_tenant: {
        Args: { p_tenant_id: string; p_user_id?: string }
        Returns: boolean
      }
      verify_tenant_access: {
        Args: { p_tenant_id: string; p_user_id: string }
        Returns: {
          has_access: boolean
          role: string
        }[]
      }
    }
    Enums: {
      [_ in never]: never
    }
    CompositeTypes: {
      [_ in never]: never
    }
  }
}

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">]

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
        DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? (DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"] &
      DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"])[TableName] extends {
      Row: infer R
    }
    ? R
    : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] &
        DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] &
        DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
        Row: infer R
      }
      ? R
      : never
    : never

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Insert: infer I
    }
    ? I
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Insert: infer I
      }
      ? I
      : never
    : never

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends (DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never) = never,
> = DefaultSchemaTableNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
      Update: infer U
    }
    ? U
    : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
        Update: infer U
      }
      ? U
      : never
    : never

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends (DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never) = never,
> = DefaultSchemaEnumNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
    : never

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends (PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals
  }
    ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never) = never,
> = PublicCompositeTypeNameOrOptions extends {
  schema: keyof DatabaseWithoutInternals
}
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
    : never

export const Constants = {
  metrics: {
    Enums: {},
  },
  public: {
    Enums: {},
  },
} as const
