//! What a call can cost at most, for a reservation made before it.

use super::rates::Conditions;
use super::{
    Breakdown, CostLine, ModelPrice, Part, PriceConditions, Priced, PricingError, Rate, Usage, price_llm, single,
};

/// The cost of at most `input` input and `output` output tokens at the dearest rates that could apply.
///
/// Every token counts at the dearest rate of the parts that it may turn out to be in, peak and off-peak, with the
/// largest multipliers. It does so at every prompt length up to `input`: a smaller prompt may stay below a threshold at
/// which the price drops. The tier is known beforehand.
///
/// With `usage` this is [`price_llm`] at the dearer hour; its counts then replace the two numbers.
pub fn upper_bound(
    price: &ModelPrice,
    input: i64,
    output: i64,
    usage: Option<&Usage>,
    terms: PriceConditions,
) -> Result<Priced, PricingError> {
    if let Some(usage) = usage {
        let at = |off_peak| price_llm(price, usage, PriceConditions { off_peak, ..terms });
        return Ok(match (at(false)?, at(true)?) {
            (Priced::Priced(peak), Priced::Priced(off)) if off.total() > peak.total() => Priced::Priced(off),
            (peak, _) => peak,
        });
    }
    let whole = Usage::new(input, output, None).map_err(PricingError::Usage)?;
    if !price.prices_tokens() {
        return price_llm(price, &whole, terms);
    }
    let mut lines = Vec::with_capacity(2);
    for (tokens, plain) in [(input, Part::Input), (output, Part::Output)] {
        if tokens > 0 {
            // A price that is missing for plain text is missing for the bound too, whatever the other parts have.
            if price.rate(plain, input, terms.conditions()).is_none() {
                return Ok(Priced::Unpriced { missing: plain.as_str() });
            }
            if let Some((part, rate)) = dearest(price, plain, input, terms) {
                lines.push(CostLine::of(part, tokens, rate)?);
            }
        }
    }
    lines.extend(single(price, &whole, terms.conditions())?);
    Ok(Priced::Priced(Breakdown::new(lines, price.largest_multipliers(), terms.markup)?))
}

/// The dearest rate of the plain part's side in a prompt of at most `input` tokens. Of equal ones, the first part is named.
fn dearest(price: &ModelPrice, plain: Part, input: i64, terms: PriceConditions) -> Option<(Part, Rate)> {
    let hours: &[bool] = if price.has_off_peak() { &[false, true] } else { &[false] };
    // A part without a price of its own costs as another of these.
    let parts = std::iter::once(plain).chain(price.token_parts(plain.side()).filter(move |part| *part != plain));
    let candidates = parts.flat_map(|part| {
        hours.iter().flat_map(move |off_peak| {
            let when = Conditions { off_peak: *off_peak, ..terms.conditions() };
            price.lengths(input).filter_map(move |length| Some((part, price.rate(part, length, when)?)))
        })
    });
    candidates.reduce(|best, next| if next.1 > best.1 { next } else { best })
}
