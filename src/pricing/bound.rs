//! What a call can cost at most, for a reservation made before it.

use super::{Breakdown, Line, ModelPrice, Part, Priced, PricingError, Rate, Tier, Usage, price_llm};

/// Input parts that a call may turn out to use without having said so. Audio and images are known beforehand.
const INPUT_PARTS: [Part; 4] = [Part::Input, Part::CacheRead, Part::CacheCreation, Part::CacheCreation1h];

const OUTPUT_PARTS: [Part; 2] = [Part::Output, Part::ReasoningOutput];

/// The cost of at most `input` input and `output` output tokens at the dearest rates that could apply.
///
/// With `usage` this is [`price_llm`], whose counts then replace the two numbers. A smaller prompt may stay below a
/// context threshold at which the price drops, so the rates of every prompt length up to `input` are compared.
pub fn upper_bound(
    price: &ModelPrice,
    input: i64,
    output: i64,
    usage: Option<&Usage>,
    tier: Option<&str>,
) -> Result<Priced, PricingError> {
    if let Some(usage) = usage {
        return price_llm(price, usage, tier);
    }
    let whole = Usage::new(input, output, None).map_err(PricingError::Usage)?;
    // A price that is missing for plain text is missing for the bound too, whatever the other parts have.
    if let unpriced @ Priced::Unpriced { .. } = price_llm(price, &whole, tier)? {
        return Ok(unpriced);
    }
    let tier = Tier::parse(tier);
    let mut lines = Vec::new();
    for (tokens, parts) in [(input, &INPUT_PARTS[..]), (output, &OUTPUT_PARTS[..])] {
        if tokens > 0
            && let Some((part, rate)) = dearest(price, parts, input, tier)
        {
            lines.push(Line::tokens(part, tokens, rate)?);
        }
    }
    Ok(Priced::Priced(Breakdown::new(lines)?))
}

/// The dearest rate of these parts in a prompt of at most `input` tokens. Of equal ones, the first part is named.
fn dearest(price: &ModelPrice, parts: &[Part], input: i64, tier: Tier) -> Option<(Part, Rate)> {
    // Rates change only where the prompt is one token longer than a threshold.
    let longer = |above: i64| above.saturating_add(1);
    let lengths = || [0, input].into_iter().chain(price.thresholds().map(longer).filter(|&length| length <= input));
    let candidates = parts
        .iter()
        .flat_map(|&part| lengths().filter_map(move |length| Some((part, price.rate(part, length, tier)?))));
    candidates.reduce(|best, next| if next.1 > best.1 { next } else { best })
}
