//! What a key of a response is, before anything below it is looked at.

use std::cell::RefCell;

use foldhash::{HashMap, HashMapExt};

use super::{key, told};

/// What libraries call the object, the most complete first: all steps of an agent before its last one.
const NAMES: [&str; 9] = [
    "total_usage",
    "usage_details",
    "usage",
    "usage_metadata",
    "token_usage",
    "usage_info",
    "usage_object",
    "last_token_usage",
    "tokens_usage",
];

/// What is looked into next, in this order; of some the name alone says that it is about usage.
const ENVELOPES: [(&str, bool); 26] = [
    ("last", true),
    ("amazon_bedrock_invocation_metrics", true),
    ("meta", true),
    ("x_groq", true),
    ("billed_units", true),
    ("tokens", true),
    ("metrics", true),
    ("statistics", true),
    ("extra_info", true),
    ("job_metadata", true),
    ("response", false),
    ("body", false),
    ("result", false),
    ("message", false),
    ("metadata", false),
    ("data", false),
    ("info", false),
    ("response_metadata", false),
    ("llm_output", false),
    ("generation_info", false),
    ("kwargs", false),
    ("item", false),
    ("event", false),
    ("output", false),
    ("choices", false),
    ("results", false),
];

/// What is never looked into: a model may write into it what looks like usage.
const CLOSED: [&str; 19] = [
    "iterations",
    "content",
    "text",
    "arguments",
    "tool_calls",
    "tools",
    "input",
    "instructions",
    "messages",
    "model_input",
    "logprobs",
    "embedding",
    "parts",
    "generated_text",
    "prompt",
    "parameters",
    "output_text",
    "predictions",
    "segments",
];

/// Keys beside the usage object, or around it, that are read as part of it.
const BESIDE: [&str; 14] = [
    "service_tier",
    "traffic_type",
    "tool_usage",
    "tool_usage_details",
    "server_side_tool_usage",
    "server_side_tool_usage_details",
    "server_side_tools_used",
    "cost_in_usd_ticks",
    "provider_metadata",
    "experimental_provider_metadata",
    "is_byok",
    "speed",
    "inference_geo",
    "search_context_size",
];

/// Most keys that a thread remembers, and the longest of them.
const MAX_ROLES: usize = 2_048;
const MAX_BYTES: usize = 100;

/// What a key is.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// In which order it is looked into.
    pub rank: u8,
    /// Whether its name alone says that it is about usage.
    pub trusted: bool,
    pub closed: bool,
    /// Whether it is read as part of a usage object that it stands beside.
    pub beside: bool,
    /// Whether it is about usage, where it is not read.
    pub measure: bool,
    /// Whether it holds what a model read or wrote.
    pub content: bool,
}

impl Role {
    fn of(raw: &str) -> Self {
        let mut tidy = String::new();
        key::push(&mut tidy, raw);
        let tidy = tidy.as_str();
        let name = NAMES.iter().position(|name| *name == tidy);
        let envelope = ENVELOPES.iter().position(|(name, _)| *name == tidy);
        let rank = name.or_else(|| envelope.map(|place| NAMES.len() + place)).and_then(|rank| u8::try_from(rank).ok());
        let trusted =
            name.is_some() || envelope.and_then(|place| ENVELOPES.get(place)).is_some_and(|(_, trusted)| *trusted);
        Self {
            rank: rank.unwrap_or(u8::MAX),
            trusted,
            closed: rank.is_none() && CLOSED.contains(&tidy),
            beside: BESIDE.contains(&tidy),
            measure: told::is_measure(tidy),
            content: told::is_content(tidy),
        }
    }

    /// Whether it is what libraries call a usage object.
    pub fn is_name(self) -> bool {
        usize::from(self.rank) < NAMES.len()
    }
}

thread_local! {
    static MET: RefCell<HashMap<Box<str>, Role>> = RefCell::new(HashMap::new());
}

/// What a raw key is; found out once in a thread.
pub fn role(raw: &str) -> Role {
    if raw.len() > MAX_BYTES {
        return Role::of(raw);
    }
    MET.with_borrow_mut(|met| {
        if let Some(role) = met.get(raw) {
            return *role;
        }
        if met.len() >= MAX_ROLES {
            met.clear();
        }
        let role = Role::of(raw);
        met.insert(raw.into(), role);
        role
    })
}
