//! What a call can cost at most, for a reservation made before it.

use super::rates::Conditions;
use super::{Breakdown, Line, ModelPrice, Part, Priced, PricingError, Rate, Side, Terms, Usage, price_llm, single};

/// The cost of at most `input` input and `output` output tokens at the dearest rates that could apply.
///
/// Every token counts at the dearest rate of the parts that it may turn out to be in, at every prompt length up to
/// `input` (a smaller prompt may stay below a context threshold at which the price drops), peak and off-peak, and with the
/// largest multipliers. The tier is known beforehand.
///
/// With `usage` this is [`price_llm`] at the dearer hour; its counts then replace the two numbers.
pub fn upper_bound(
    price: &ModelPrice,
    input: i64,
    output: i64,
    usage: Option<&Usage>,
    terms: Terms,
) -> Result<Priced, PricingError> {
    if let Some(usage) = usage {
        let at = |off_peak| price_llm(price, usage, Terms { off_peak, ..terms });
        return Ok(match (at(false)?, at(true)?) {
            (Priced::Priced(peak), Priced::Priced(off)) if off.total() > peak.total() => Priced::Priced(off),
            (peak, _) => peak,
        });
    }
    let whole = Usage::new(input, output, None).map_err(PricingError::Usage)?;
    // A price that is missing for plain text is missing for the bound too, whatever the other parts have.
    match price_llm(price, &whole, terms)? {
        Priced::Priced(_) => {}
        unpriced => return Ok(unpriced),
    }
    let mut lines = Vec::new();
    for (tokens, side) in [(input, Side::Input), (output, Side::Output)] {
        if tokens > 0
            && let Some((part, rate)) = dearest(price, side, input, terms)
        {
            lines.push(Line::of(part, tokens, rate)?);
        }
    }
    lines.extend(single(price, &whole, terms.conditions())?);
    Ok(Priced::Priced(Breakdown::new(lines, terms.with_markup(price.largest_multipliers()))?))
}

/// The dearest rate of a side's parts in a prompt of at most `input` tokens. Of equal ones, the first part is named.
fn dearest(price: &ModelPrice, side: Side, input: i64, terms: Terms) -> Option<(Part, Rate)> {
    // Rates change only where the prompt is as long as a threshold, or one token longer.
    let at_or_over = |above: i64| [above, above.saturating_add(1)];
    let lengths: Vec<i64> = [0, input]
        .into_iter()
        .chain(price.thresholds().flat_map(at_or_over).filter(|length| *length <= input))
        .collect();
    let hours = [false, true].map(|off_peak| Conditions { off_peak, ..terms.conditions() });
    let candidates = Part::tokens(side).flat_map(|part| {
        let lengths = &lengths;
        hours.into_iter().flat_map(move |when| {
            lengths.iter().filter_map(move |length| Some((part, price.rate(part, *length, when)?)))
        })
    });
    candidates.reduce(|best, next| if next.1 > best.1 { next } else { best })
}
