//! Which models a tenant's calls may use: the rules of a policy, read, laid over each other, and asked.
//!
//! Pure. A policy is the tenant's rules, with overrides by task and by user. An override replaces what is above it, the
//! user's before the task's before the tenant's. Denials alone add up, so that no override lifts one.
//!
//! An entry of a list is a name, or the beginning of one before a final `*`. A model is met by its name alone and by
//! `provider/name`. Upper and lower case are the same, or a denial would be evaded by a capital.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::json::{self, Misfit};

/// Entries of one list, and overrides of one kind.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of a name.
const MAX_BYTES: usize = 500;
/// Bytes of a policy's text.
const MAX_TEXT: usize = 256 * 1024;

/// How far prompts may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Egress {
    /// To every model that no list forbids.
    #[default]
    Open,
    /// Only to what an allow list names.
    Restricted,
    /// Nowhere.
    Blocked,
}

impl Egress {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "open" => Some(Self::Open),
            "restricted" => Some(Self::Restricted),
            "blocked" => Some(Self::Blocked),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Restricted => "restricted",
            Self::Blocked => "blocked",
        }
    }
}

/// What one level of a policy says; `None` says nothing.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    #[serde(deserialize_with = "name")]
    pub default_provider: Option<String>,
    #[serde(deserialize_with = "name")]
    pub default_model: Option<String>,
    #[serde(deserialize_with = "list")]
    pub allowed_providers: Option<Vec<String>>,
    #[serde(deserialize_with = "list_or_empty")]
    pub denied_providers: Vec<String>,
    #[serde(deserialize_with = "list")]
    pub allowed_models: Option<Vec<String>>,
    #[serde(deserialize_with = "list_or_empty")]
    pub denied_models: Vec<String>,
    #[serde(rename = "egress_mode", deserialize_with = "mode")]
    pub egress: Option<Egress>,
}

fn name<'de, D: Deserializer<'de>>(json: D) -> Result<Option<String>, D::Error> {
    json::nullable(json, |value| named(&value))
}

fn list<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Vec<String>>, D::Error> {
    json::nullable(json, |value| listed(&value))
}

fn list_or_empty<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    list(json).map(Option::unwrap_or_default)
}

fn mode<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Egress>, D::Error> {
    let parse = |value: Value| value.as_str().and_then(Egress::parse);
    json::nullable(json, |value| parse(value).ok_or_else(|| "must be open, restricted or blocked".to_owned()))
}

/// A tenant's policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    base: Rules,
    tasks: HashMap<String, Rules>,
    /// By the user's id in its hyphenated lower-case form.
    users: HashMap<String, Rules>,
}

/// Why a text is no policy, in one clause.
pub type Problem = String;

impl Rules {
    fn read(object: Map<String, Value>, at: &str) -> Result<Self, Problem> {
        json::read(object).map_err(|Misfit { path, why }| {
            let key = path.join(".");
            match why {
                Some(why) => format!("{key} of {at} {why}"),
                None => format!("{at} has the unknown key \"{}\"", shown(&key)),
            }
        })
    }

    /// These rules, with what the override says in their place.
    fn under(mut self, over: &Self) -> Self {
        fn replace<T: Clone>(mine: &mut Option<T>, theirs: &Option<T>) {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        // A model belongs to its provider: another provider does not go with the default of the first.
        if over.default_provider.is_some() {
            self.default_provider.clone_from(&over.default_provider);
            self.default_model.clone_from(&over.default_model);
        } else {
            replace(&mut self.default_model, &over.default_model);
        }
        replace(&mut self.allowed_providers, &over.allowed_providers);
        replace(&mut self.allowed_models, &over.allowed_models);
        replace(&mut self.egress, &over.egress);
        self.denied_providers.extend(over.denied_providers.iter().cloned());
        self.denied_models.extend(over.denied_models.iter().cloned());
        self
    }

    /// Why a model may not be used, in one clause; `None` when it may.
    pub fn refuses(&self, provider: &str, model: &str) -> Option<String> {
        if let Some(reason) = self.refuses_all() {
            return Some(reason);
        }
        let (provider_name, full) = (provider.to_lowercase(), format!("{provider}/{model}").to_lowercase());
        let model_name = model.to_lowercase();
        let meets_provider = |entries: &[String]| entries.iter().any(|entry| fits(entry, &provider_name));
        let meets_model =
            |entries: &[String]| entries.iter().any(|entry| fits(entry, &model_name) || fits(entry, &full));
        let named = format!("{}/{}", shown(provider), shown(model));
        if meets_provider(&self.denied_providers) || meets_model(&self.denied_models) {
            return Some(format!("{named} is denied by the tenant's policy"));
        }
        let listed = |allowed: &Option<Vec<String>>, meets: bool| allowed.is_none() || meets;
        let providers = self.allowed_providers.as_deref().is_some_and(meets_provider);
        let models = self.allowed_models.as_deref().is_some_and(meets_model);
        if !listed(&self.allowed_providers, providers) || !listed(&self.allowed_models, models) {
            return Some(format!("{named} is not among what the tenant's policy allows"));
        }
        None
    }

    /// Why no model may be used, in one clause; `None` when some may.
    pub fn refuses_all(&self) -> Option<String> {
        let nothing_is_named = self.allowed_providers.is_none() && self.allowed_models.is_none();
        match self.egress.unwrap_or_default() {
            Egress::Blocked => Some("the tenant's policy blocks all egress".to_owned()),
            Egress::Restricted if nothing_is_named => {
                Some("the tenant's policy restricts egress and allows nothing by name".to_owned())
            }
            _ => None,
        }
    }
}

impl Policy {
    /// From the object that `set_llm_policy` takes and a row of `tenant_llm_policies` gives.
    pub fn read(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_TEXT {
            return Err(format!("the policy must not be longer than {MAX_TEXT} bytes"));
        }
        let value = json::parse(text).map_err(|error| format!("the policy cannot be read: {error}"))?;
        let Value::Object(mut object) = value else { return Err("the policy must be a JSON object".to_owned()) };
        let tasks = overrides(object.remove("task_overrides"), "task_overrides")?;
        let users = overrides(object.remove("user_overrides"), "user_overrides")?;
        if let Some(odd) = users.keys().find(|key| !is_uuid(key)) {
            return Err(format!("user_overrides has the key \"{}\", which is no user's id", shown(odd)));
        }
        let users = users.into_iter().map(|(key, rules)| (key.to_lowercase(), rules)).collect();
        Ok(Self { base: Rules::read(object, "the policy")?, tasks, users })
    }

    /// The rules for a call.
    pub fn resolve(&self, task: Option<&str>, user: Option<&str>) -> Rules {
        let task = task.and_then(|task| self.tasks.get(task));
        let user = user.and_then(|user| self.users.get(user));
        [task, user].into_iter().flatten().fold(self.base.clone(), Rules::under)
    }
}

fn overrides(value: Option<Value>, at: &str) -> Result<HashMap<String, Rules>, Problem> {
    let object = match value {
        None | Some(Value::Null) => return Ok(HashMap::new()),
        Some(Value::Object(object)) => object,
        Some(_) => return Err(format!("{at} must be a JSON object")),
    };
    if object.len() > MAX_ENTRIES {
        return Err(format!("{at} must not have more than {MAX_ENTRIES} keys"));
    }
    let read = |(key, value): (String, Value)| {
        if key.is_empty() || key.len() > MAX_BYTES {
            return Err(format!("a key of {at} must have 1 to {MAX_BYTES} bytes"));
        }
        let place = format!("{at}.{}", shown(&key));
        let Value::Object(object) = value else { return Err(format!("{place} must be a JSON object")) };
        let rules = Rules::read(object, &place)?;
        Ok((key, rules))
    };
    object.into_iter().map(read).collect()
}

fn named(value: &Value) -> Result<String, Problem> {
    match value.as_str() {
        Some(name) if !name.is_empty() && name.len() <= MAX_BYTES => Ok(name.to_owned()),
        _ => Err(format!("must be a text of 1 to {MAX_BYTES} bytes")),
    }
}

fn listed(value: &Value) -> Result<Vec<String>, Problem> {
    let Value::Array(entries) = value else { return Err("must be a JSON array".to_owned()) };
    if entries.len() > MAX_ENTRIES {
        return Err(format!("must not have more than {MAX_ENTRIES} entries"));
    }
    let entry = |value| {
        let name = named(value).map_err(|problem| format!("has an entry that {problem}"))?;
        match name.find('*') {
            Some(star) if star + 1 != name.len() => Err("has an entry with a * that is not at its end".to_owned()),
            _ => Ok(name.to_lowercase()),
        }
    };
    entries.iter().map(entry).collect()
}

/// Both are in lower case.
fn fits(entry: &str, name: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => entry == name,
    }
}

fn is_uuid(text: &str) -> bool {
    let places = text.bytes().enumerate();
    text.len() == 36
        && places.into_iter().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// As much of a text as is worth repeating.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(60).collect()
}

/// A list as JSON text; NULL where nothing is said.
pub fn as_json(list: Option<&[String]>) -> Option<String> {
    list.map(|entries| json!(entries).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(value: &Value) -> Policy {
        Policy::read(&value.to_string()).unwrap()
    }

    fn refused(value: &Value, provider: &str, model: &str) -> bool {
        policy(value).resolve(None, None).refuses(provider, model).is_some()
    }

    #[test]
    fn an_empty_policy_refuses_nothing() {
        assert!(!refused(&json!({}), "openai", "gpt-4o"));
        assert!(!refused(&json!({ "denied_models": [], "allowed_models": null, "egress_mode": "open" }), "a", "b"));
    }

    #[test]
    fn a_denial_meets_the_name_alone_with_its_provider_and_as_a_beginning_in_any_case() {
        for entry in ["gpt-4o", "openai/gpt-4o", "GPT-4*", "OpenAI/*", "*"] {
            assert!(refused(&json!({ "denied_models": [entry] }), "openai", "Gpt-4o"), "{entry}");
        }
        for entry in ["gpt-4", "azure/gpt-4o", "gpt-4o-mini", "anthropic/*"] {
            assert!(!refused(&json!({ "denied_models": [entry] }), "openai", "gpt-4o"), "{entry}");
        }
        assert!(refused(&json!({ "denied_providers": ["open*"] }), "OPENAI", "x"));
    }

    #[test]
    fn an_allow_list_allows_nothing_else_and_an_empty_one_nothing_at_all() {
        let both = json!({ "allowed_providers": ["openai"], "allowed_models": ["gpt-4o*"] });
        assert!(!refused(&both, "openai", "gpt-4o-mini"));
        assert!(refused(&both, "openai", "o3"));
        assert!(refused(&both, "azure", "gpt-4o"));
        assert!(refused(&json!({ "allowed_models": [] }), "openai", "gpt-4o"));
        let denied_too = json!({ "allowed_models": ["gpt-4o"], "denied_models": ["gpt-4o"] });
        assert!(refused(&denied_too, "openai", "gpt-4o"), "a denial goes before");
    }

    #[test]
    fn egress_is_open_to_the_listed_or_to_none() {
        assert!(refused(&json!({ "egress_mode": "blocked", "allowed_models": ["m"] }), "p", "m"));
        assert!(refused(&json!({ "egress_mode": "restricted" }), "p", "m"));
        assert!(!refused(&json!({ "egress_mode": "restricted", "allowed_providers": ["p"] }), "p", "m"));
    }

    #[test]
    fn the_user_goes_before_the_task_before_the_tenant_and_denials_add_up() {
        let user = "B0000000-0000-4000-8000-000000000001";
        let policy = policy(&json!({
            "default_provider": "openai", "default_model": "gpt-4o", "denied_models": ["a"], "allowed_models": ["x"],
            "task_overrides": { "embed": { "default_model": "small", "allowed_models": ["y"], "denied_models": ["b"] } },
            "user_overrides": { user: { "allowed_models": ["z", "a", "b"], "egress_mode": "restricted" } },
        }));
        let moved = json!({ "default_provider": "openai", "default_model": "gpt-4o",
            "task_overrides": { "t": { "default_provider": "anthropic" } } });
        let moved = Policy::read(&moved.to_string()).unwrap().resolve(Some("t"), None);
        assert_eq!((moved.default_provider.as_deref(), moved.default_model), (Some("anthropic"), None));
        let rules = policy.resolve(Some("embed"), Some(&user.to_lowercase()));
        assert_eq!(
            (rules.default_provider.as_deref(), rules.default_model.as_deref()),
            (Some("openai"), Some("small"))
        );
        assert_eq!(rules.egress, Some(Egress::Restricted));
        for (model, refused) in [("z", false), ("x", true), ("y", true), ("a", true), ("b", true)] {
            assert_eq!(rules.refuses("p", model).is_some(), refused, "{model}");
        }
        assert!(policy.resolve(Some("embed"), None).refuses("p", "y").is_none());
        assert!(policy.resolve(Some("other"), None).refuses("p", "x").is_none());
    }

    #[test]
    fn what_is_no_policy_is_said() {
        for (text, problem) in [
            ("[]", "must be a JSON object"),
            ("{\"denied_model\": []}", "unknown key \"denied_model\""),
            ("{\"denied_models\": \"x\"}", "must be a JSON array"),
            ("{\"denied_models\": [1]}", "must be a text"),
            ("{\"denied_models\": [\"\"]}", "must be a text"),
            ("{\"denied_models\": [\"a*b\"]}", "not at its end"),
            ("{\"egress_mode\": \"shut\"}", "open, restricted or blocked"),
            ("{\"default_model\": 7}", "must be a text"),
            ("{\"task_overrides\": []}", "must be a JSON object"),
            ("{\"task_overrides\": {\"t\": 1}}", "task_overrides.t must be a JSON object"),
            ("{\"task_overrides\": {\"t\": {\"task_overrides\": {}}}}", "unknown key"),
            ("{\"user_overrides\": {\"ann\": {}}}", "no user's id"),
        ] {
            let said = Policy::read(text).unwrap_err();
            assert!(said.contains(problem), "{text}: {said}");
        }
    }

    #[test]
    fn every_bound_is_met_and_one_more_is_too_many() {
        let name = |length: usize| "x".repeat(length);
        let many = |count: usize| -> Vec<String> { (0..count).map(|number| number.to_string()).collect() };
        let overrides = |count: usize| -> Value { many(count).into_iter().map(|key| (key, json!({}))).collect() };
        let (longest, beyond) = (json!({ name(MAX_BYTES): {} }), json!({ name(MAX_BYTES + 1): {} }));
        for (fits, exceeds, told) in [
            (
                json!({ "denied_models": many(MAX_ENTRIES) }),
                json!({ "denied_models": many(MAX_ENTRIES + 1) }),
                "denied_models of the policy must not have more than 1000 entries",
            ),
            (
                json!({ "denied_models": [name(MAX_BYTES)] }),
                json!({ "denied_models": [name(MAX_BYTES + 1)] }),
                "denied_models of the policy has an entry that must be a text of 1 to 500 bytes",
            ),
            (
                json!({ "task_overrides": overrides(MAX_ENTRIES) }),
                json!({ "task_overrides": overrides(MAX_ENTRIES + 1) }),
                "task_overrides must not have more than 1000 keys",
            ),
            (
                json!({ "task_overrides": longest }),
                json!({ "task_overrides": beyond }),
                "a key of task_overrides must have 1 to 500 bytes",
            ),
            (
                json!({ "task_overrides": { "t": { "default_model": "m" } } }),
                json!({ "task_overrides": { "": {} } }),
                "a key of task_overrides must have 1 to 500 bytes",
            ),
            (
                json!({ "user_overrides": { "b0000000-0000-4000-8000-00000000000F": {} } }),
                json!({ "user_overrides": { "b0000000-0000-4000-8000-00000000000g": {} } }),
                "user_overrides has the key \"b0000000-0000-4000-8000-00000000000g\", which is no user's id",
            ),
            (
                json!({ "egress_mode": null }),
                json!({ "task_overrides": { "t": { "egress_mode": 1 } } }),
                "egress_mode of task_overrides.t must be open, restricted or blocked",
            ),
            (json!({}), json!({ "task_overrides": { "t": { "x": 1 } } }), "task_overrides.t has the unknown key \"x\""),
        ] {
            assert!(Policy::read(&fits.to_string()).is_ok(), "{told}");
            assert_eq!(Policy::read(&exceeds.to_string()).unwrap_err(), told);
        }
        let spaces = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
        assert!(Policy::read(&spaces(MAX_TEXT)).is_ok());
        assert_eq!(Policy::read(&spaces(MAX_TEXT + 1)).unwrap_err(), "the policy must not be longer than 262144 bytes");
    }

    #[test]
    fn names_and_lists_print_as_they_are_read() {
        for (egress, name) in [(Egress::Open, "open"), (Egress::Restricted, "restricted"), (Egress::Blocked, "blocked")]
        {
            assert_eq!((egress.as_str(), Egress::parse(name)), (name, Some(egress)));
        }
        let list = ["a".to_owned(), "b\"".to_owned()];
        assert_eq!((as_json(Some(&list)), as_json(None)), (Some(r#"["a","b\""]"#.to_owned()), None));
    }
}
