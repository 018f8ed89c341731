//! How clients call providers, as data: a name more is a line more.

/// The names by which OpenTelemetry, the Vercel AI SDK, LangChain, LlamaIndex, pydantic-ai, models.dev and others call a
/// provider, by the list's. Case and separators do not matter: `amazon-bedrock` stands for `Amazon Bedrock` too.
const ALIASES: &[(&str, &[&str])] = &[
    (
        "openai",
        &["openai-chat", "openai-responses", "openai-realtime", "openai-assistants", "chat-openai", "langchain-openai"],
    ),
    ("anthropic", &["anthropic-messages", "anthropic-chat", "claude", "chat-anthropic", "langchain-anthropic"]),
    (
        "bedrock",
        &[
            "aws.bedrock",
            "amazon-bedrock",
            "aws",
            "amazon",
            "amazon-bedrock-runtime",
            "bedrock-runtime",
            "anthropic-bedrock",
            "bedrock.anthropic",
            "amazon-bedrock.anthropic",
            "chat-bedrock",
            "langchain-aws",
        ],
    ),
    ("bedrock_converse", &["amazon-bedrock-converse", "chat-bedrock-converse"]),
    ("bedrock_mantle", &["amazon-bedrock.mantle", "aws.bedrock.mantle"]),
    (
        "azure",
        &[
            "azure-openai",
            "azure.ai.openai",
            "az.ai.openai",
            "azure-openai-responses",
            "microsoft.azure.openai",
            "azure-cognitive-services",
            "azure-chat-openai",
        ],
    ),
    (
        "azure_ai",
        &[
            "azure.ai.inference",
            "az.ai.inference",
            "azure-ai-foundry",
            "azure-foundry",
            "microsoft-foundry",
            "azure-anthropic",
            "azure.deepseek",
            "azureml",
        ],
    ),
    (
        "vertex_ai",
        &[
            "gcp.vertex_ai",
            "vertex",
            "google-vertex",
            "google-vertex-ai",
            "google-cloud-vertex-ai",
            "google-vertex.maas",
            "vertex.maas",
            "vertex-ai-beta",
            "chat-google-vertexai",
            "chat-vertex-ai",
            "langchain-google-vertexai",
        ],
    ),
    (
        "vertex_ai-anthropic_models",
        &[
            "google-vertex-anthropic",
            "google-anthropic-vertex",
            "vertex-anthropic",
            "anthropic-vertex",
            "vertex-ai-anthropic",
        ],
    ),
    (
        "gemini",
        &[
            "gcp.gemini",
            "gcp.gen_ai",
            "google",
            "google-genai",
            "google-ai",
            "google-ai-studio",
            "google-gla",
            "google.generative-ai",
            "google-gemini",
            "google-deepmind",
            "ai-studio",
            "chat-google-generative-ai",
            "langchain-google-genai",
        ],
    ),
    ("xai", &["grok", "chat-xai", "langchain-xai"]),
    ("mistral", &["mistral_ai", "chat-mistral-ai", "langchain-mistralai"]),
    ("cohere", &["cohere-ai", "chat-cohere", "langchain-cohere"]),
    ("deepseek", &["deepseek-ai", "chat-deepseek", "langchain-deepseek"]),
    ("perplexity", &["perplexity-ai", "pplx", "chat-perplexity", "langchain-perplexity"]),
    ("watsonx", &["ibm.watsonx.ai", "ibm", "watsonx.ai", "ibm-watsonx"]),
    ("moonshot", &["moonshot_ai", "kimi"]),
    ("fireworks_ai", &["fireworks", "chat-fireworks", "langchain-fireworks"]),
    ("together_ai", &["together", "togethercomputer", "chat-together", "langchain-together"]),
    ("voyage", &["voyage_ai"]),
    ("jina_ai", &["jina"]),
    ("dashscope", &["alibaba", "alibaba-cloud", "tongyi", "qwen", "aliyun"]),
    ("zai", &[]),
    ("bigmodel", &["zhipuai", "zhipu"]),
    ("cloudflare", &["cloudflare-workers-ai", "workers-ai"]),
    ("deepinfra", &[]),
    ("novita", &["novita-ai"]),
    ("nebius", &["nebius-token-factory", "nebius-ai-studio", "nebius-ai"]),
    ("groq", &["groqcloud", "chat-groq", "langchain-groq"]),
    ("cerebras", &["cerebras-ai"]),
    ("sambanova", &["sambanova-ai", "sambanova-cloud"]),
    ("github_copilot", &["copilot"]),
    ("nvidia_nim", &["nvidia", "nvidia-ai-endpoints", "nim"]),
    ("lambda_ai", &["lambda", "lambda-labs"]),
    ("friendliai", &["friendli"]),
    ("gradient_ai", &["digitalocean", "digitalocean-gradient"]),
    ("ai21", &["ai21-labs"]),
    ("featherless_ai", &["featherless"]),
    ("wandb", &["weights-and-biases"]),
    ("ovhcloud", &["ovh", "ovhcloud-ai-endpoints"]),
    ("oci", &["oracle", "oci-genai", "oracle-cloud"]),
    ("minimax", &["minimax-ai"]),
    ("volcengine", &["volcano-engine", "ark", "bytedance"]),
    ("stability", &["stability-ai"]),
    ("fal_ai", &["fal"]),
    ("runwayml", &["runway"]),
    ("amazon_nova", &[]),
    ("black_forest_labs", &["bfl"]),
    ("xiaomi_mimo", &["xiaomi"]),
    ("opencode_go", &["opencode"]),
    ("databricks", &["databricks-model-serving"]),
    ("snowflake", &["snowflake-cortex"]),
    ("v0", &["vercel.chat"]),
    ("vercel_ai_gateway", &["gateway", "vercel", "ai-gateway", "vercel-gateway"]),
    ("openrouter", &[]),
    ("replicate", &[]),
    ("baseten", &[]),
    ("hyperbolic", &[]),
    ("elevenlabs", &[]),
    ("deepgram", &[]),
    ("assemblyai", &[]),
    ("scaleway", &[]),
    ("heroku", &[]),
    ("inception", &[]),
    ("morph", &[]),
    ("ollama", &[]),
];

/// What the AI SDK adds to a provider: the interface that a call went through.
const INTERFACES: &[&str] = &[
    "chat",
    "responses",
    "messages",
    "completion",
    "completions",
    "embedding",
    "embeddings",
    "textembedding",
    "image",
    "images",
    "speech",
    "transcription",
    "translation",
    "reranking",
    "rerank",
    "video",
    "realtime",
    "language",
    "languagemodel",
    "generativeai",
    "interactions",
];

/// Provider names that name no provider: unknown ones, and proxies that speak to all. The model's name then says which.
const OPEN: &[&str] = &["unknown", "litellm", "litellm_proxy"];

/// Providers that the list divides by kind of model or interface, by what their names begin with.
const FAMILIES: [&str; 2] = ["vertex_ai", "fireworks_ai"];

/// The same where their names do not begin alike. Bedrock's Mantle endpoint is a platform of its own, with its own prices.
const RELATIVES: [(&str, &str); 6] = [
    ("bedrock_converse", "bedrock"),
    ("azure_text", "azure"),
    ("text-completion-openai", "openai"),
    ("cohere_chat", "cohere"),
    ("text-completion-codestral", "codestral"),
    ("text-completion-inception", "inception"),
];

/// Providers whose prices stand in when a provider has none of its own for a model of that very name, the closest
/// first. It resells the other's, or is the same house under another name.
const STAND_INS: [(&str, &str); 5] = [
    ("azure", "azure_ai"),
    ("azure", "openai"),
    ("azure_ai", "azure"),
    ("bedrock", "bedrock_mantle"),
    ("bigmodel", "zai"),
];

/// Gateways that publish that they add nothing to the maker's price.
const GATEWAYS: [&str; 2] = ["vercel_ai_gateway", "openrouter"];

/// Makers whose models have no other price, as gateways spell them. Each has the maker, the provider of its prices, how
/// its names begin, and how those begin that others host as well.
const MAKERS: [Maker; 5] = [
    Maker {
        spelled: "openai",
        provider: "openai",
        begins: &["gpt-", "chatgpt-", "o1", "o3", "o4", "text-embedding-"],
        not: &["gpt-oss"],
    },
    Maker { spelled: "anthropic", provider: "anthropic", begins: &["claude-"], not: &[] },
    Maker { spelled: "google", provider: "gemini", begins: &["gemini-"], not: &[] },
    Maker { spelled: "x-ai", provider: "xai", begins: &["grok-"], not: &[] },
    Maker { spelled: "xai", provider: "xai", begins: &["grok-"], not: &[] },
];

/// Spellings of providers that also lead the names of models which any provider may host.
const ORGANISATIONS: &[&str] = &[
    "google",
    "mistralai",
    "moonshotai",
    "deepseek-ai",
    "qwen",
    "alibaba",
    "nvidia",
    "ibm",
    "bytedance",
    "amazon",
    "stabilityai",
    "xiaomi",
    "zhipuai",
    "minimaxai",
];

struct Maker {
    spelled: &'static str,
    provider: &'static str,
    begins: &'static [&'static str],
    not: &'static [&'static str],
}

/// Characters without which two spellings of a provider are compared.
fn counts(character: &char) -> bool {
    !matches!(character, '.' | '-' | '_' | ' ')
}

/// Whether two names, both in lower case, are the same but for separators.
fn same(one: &str, other: &str) -> bool {
    one.chars().filter(counts).eq(other.chars().filter(counts))
}

/// The list's name of a provider, where it is known.
fn known(lower: &str) -> Option<&'static str> {
    let is = |(ours, others): &&(&str, &[&str])| same(ours, lower) || others.iter().any(|other| same(other, lower));
    ALIASES.iter().find(is).map(|(ours, _)| *ours)
}

/// The list's name of a provider that is known by name, whatever interface was named with it.
pub fn recognised(provider: &str) -> Option<&'static str> {
    let lower = provider.trim().to_lowercase();
    let mut rest = lower.as_str();
    loop {
        if let Some(ours) = known(rest) {
            return Some(ours);
        }
        let (base, interface) = rest.rsplit_once('.')?;
        if !INTERFACES.iter().any(|known| same(known, interface)) {
            return None;
        }
        rest = base;
    }
}

/// The list's name of a provider; one that is not known keeps its own, without the interface that a client adds.
pub fn canonical(provider: &str) -> String {
    if let Some(ours) = recognised(provider) {
        return ours.to_owned();
    }
    let mut rest = provider.trim().to_lowercase();
    while let Some((base, interface)) = rest.rsplit_once('.')
        && !base.is_empty()
        && INTERFACES.iter().any(|known| same(known, interface))
    {
        rest = base.to_owned();
    }
    rest
}

/// Whether the caller named no provider.
pub fn is_open(canonical: &str) -> bool {
    OPEN.iter().any(|open| same(open, canonical))
}

/// What stands for all the names under which the list has a provider.
pub fn family(canonical: &str) -> &str {
    if let Some((_, family)) = RELATIVES.iter().find(|(relative, _)| *relative == canonical) {
        return family;
    }
    FAMILIES.into_iter().find(|family| canonical.starts_with(family)).unwrap_or(canonical)
}

/// Whether two canonical names are one provider.
pub fn is_same(one: &str, other: &str) -> bool {
    same(one, other)
}

/// In which place the prices of one family stand in for another's, if they do.
pub fn stands_in(wanted: &str, other: &str) -> Option<u32> {
    let place = STAND_INS.iter().filter(|(seller, _)| *seller == wanted).position(|(_, maker)| *maker == other)?;
    u32::try_from(place).ok()
}

/// The provider whose price a gateway passes on for a model, and the model's name there.
pub fn passed_on<'a>(canonical: &str, name: &'a str) -> Option<(&'static str, &'a str)> {
    if !GATEWAYS.contains(&canonical) {
        return None;
    }
    let (spelled, model) = name.split_once('/')?;
    // How a gateway picks among hosts; what else follows a colon is another offer.
    let model = [":nitro", ":floor", ":exacto"].iter().find_map(|route| model.strip_suffix(route)).unwrap_or(model);
    maker(spelled, model).map(|maker| (maker.provider, model))
}

/// Whether what leads a model's name may be its maker, and not the provider that runs it.
pub fn is_organisation(spelled: &str) -> bool {
    ORGANISATIONS.iter().any(|organisation| organisation.eq_ignore_ascii_case(spelled))
}

/// Whether only its maker prices a model.
pub fn is_its_own(spelled: &str, model: &str) -> bool {
    maker(spelled, model).is_some()
}

fn maker(spelled: &str, model: &str) -> Option<&'static Maker> {
    let lower = model.to_lowercase();
    let begins = |names: &[&str]| names.iter().any(|name| lower.starts_with(*name));
    MAKERS
        .iter()
        .find(|maker| maker.spelled.eq_ignore_ascii_case(spelled) && begins(maker.begins) && !begins(maker.not))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_spell_a_provider_in_many_ways() {
        for (spelled, ours) in [
            ("openai.responses", "openai"),
            ("Amazon Bedrock", "bedrock"),
            ("bedrock.anthropic.messages", "bedrock"),
            ("google.generative-ai", "gemini"),
            ("google.vertex.chat", "vertex_ai"),
            ("googleVertex.maas.chat", "vertex_ai"),
            ("vertex.anthropic.messages", "vertex_ai-anthropic_models"),
            ("az.ai.openai", "azure"),
            ("togetherai.chat", "together_ai"),
            ("novita-ai", "novita"),
            ("acme.chat", "acme"),
            ("Acme.Inc", "acme.inc"),
            ("chat", "chat"),
            (".chat", ".chat"),
        ] {
            assert_eq!(canonical(spelled), ours, "{spelled}");
        }
    }

    #[test]
    fn no_name_stands_for_two_providers() {
        for (place, (ours, others)) in ALIASES.iter().enumerate() {
            for name in others.iter().chain([ours]) {
                assert_eq!(known(name), Some(*ours), "{name}");
                let twice = ALIASES[..place]
                    .iter()
                    .any(|(other, names)| same(other, name) || names.iter().any(|other| same(other, name)));
                assert!(!twice, "{name}");
            }
        }
    }

    #[test]
    fn a_gateway_passes_on_what_only_the_maker_prices() {
        assert_eq!(passed_on("openrouter", "openai/gpt-5"), Some(("openai", "gpt-5")));
        assert_eq!(passed_on("openrouter", "x-ai/grok-4:nitro"), Some(("xai", "grok-4")));
        for name in ["openai/gpt-oss-120b", "google/gemma-3-27b-it", "deepseek/deepseek-chat", "gpt-5", "/"] {
            assert_eq!(passed_on("openrouter", name), None, "{name}");
        }
        assert_eq!(passed_on("openai", "openai/gpt-5"), None);
    }
}
