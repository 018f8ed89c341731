use num_bigint::BigInt;
use proptest::prelude::*;

use super::*;

#[test]
fn exact_scale_refuses_further_digits_but_not_zeros() {
    assert_eq!(parse_scaled("1.500", 1, Rounding::Exact), Ok(15));
    assert_eq!(parse_scaled("1.501", 1, Rounding::Exact), Err(AmountError::TooPrecise));
    assert_eq!(parse_scaled("1e3", 0, Rounding::Exact), Ok(1000));
    assert_eq!(parse_scaled("1e-50", 24, Rounding::Exact), Err(AmountError::TooPrecise));
    assert_eq!(parse_scaled("170141183460469231731687303715884105728", 0, Rounding::Exact), Err(AmountError::TooLarge));
}

#[test]
fn halves_go_to_the_even_neighbour() {
    let rounded: Vec<_> = [4, 5, 6, 14, 15, 16, 25].map(|value| div_half_even(value, 10)).into();
    assert_eq!(rounded, [0, 0, 1, 1, 2, 2, 2].map(Some));
    assert_eq!(div_half_even(i128::MAX, 1), Some(i128::MAX));
    assert_eq!(div_half_even(1, 0), None);
}

/// `units` × 10^-`scale` in numbers of any length.
#[derive(Debug, Clone)]
struct Long(BigInt, u32);

impl Long {
    fn of(number: Exact) -> Self {
        Self::read(&number.to_string())
    }

    fn read(text: &str) -> Self {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Self(format!("{whole}{fraction}").parse().unwrap(), fraction.len() as u32)
    }

    fn at(&self, scale: u32) -> BigInt {
        &self.0 * BigInt::from(10).pow(scale - self.1)
    }

    fn times(&self, other: &Self) -> Self {
        Self(&self.0 * &other.0, self.1 + other.1)
    }

    fn plus(&self, other: &Self, sign: i32) -> Self {
        let scale = self.1.max(other.1);
        Self(self.at(scale) + sign * other.at(scale), scale)
    }

    fn round(&self, scale: u32) -> BigInt {
        let Some(more) = self.1.checked_sub(scale) else { return self.at(scale) };
        let divisor = BigInt::from(10).pow(more);
        let (quotient, rest): (BigInt, BigInt) = (&self.0 / &divisor, 2 * (&self.0 % &divisor));
        let up = rest > divisor || (rest == divisor && quotient.bit(0));
        quotient + i32::from(up)
    }
}

impl PartialEq for Long {
    fn eq(&self, other: &Self) -> bool {
        let scale = self.1.max(other.1);
        self.at(scale) == other.at(scale)
    }
}

/// Numbers of few digits and of many, with few decimals and with many, below zero as well.
fn any_number() -> impl Strategy<Value = Exact> {
    let units = prop_oneof![
        -20..20_i128,
        any::<i64>().prop_map(i128::from),
        -(1_i128 << 100)..1_i128 << 100,
        any::<i128>().prop_map(|units| units.max(-i128::MAX)),
        (0..20_i128, 0..30_u32).prop_map(|(digits, zeros)| digits * 10_i128.pow(zeros)),
    ];
    (units, 0..40_u32).prop_map(|(units, scale)| Exact::new(units, scale))
}

fn exact(text: &str) -> Exact {
    Exact::parse(text, 36).unwrap()
}

#[test]
fn what_rust_decimal_would_round_is_exact() {
    let tiny = exact("0.0000000000000000000000000001");
    assert_eq!(tiny.times(Exact::HALF).unwrap().to_string(), "0.00000000000000000000000000005");
    let long = exact("1.2345678901234567890");
    assert_eq!(long.times(long).unwrap().to_string(), "1.524157875323883675019051998750190521");
    let largest = Exact::new((1 << 96) - 1, 0);
    assert_eq!(largest.plus(exact("0.1")).unwrap().to_string(), "79228162514264337593543950335.1");
    assert_eq!(largest.plus(Exact::ONE).unwrap().to_string(), "79228162514264337593543950336");
    assert_eq!(exact("12.345678901234567890123456789012345").to_string(), "12.345678901234567890123456789012345");
    // 29 digits before the exponent.
    assert_eq!(exact("1.0000000000000000000000000001e1").to_string(), "10.000000000000000000000000001");
}

#[test]
fn what_128_bits_do_not_hold_is_refused() {
    let large = Exact::new(i128::MAX, 0);
    assert_eq!((large.times(Exact::new(2, 0)), large.plus(Exact::ONE), large.plus(Exact::HALF)), (None, None, None));
    assert_eq!((large.round(0), large.round(1)), (Some(i128::MAX), None));
    assert_eq!(Exact::new(i128::MIN, 0).minus(Exact::ONE), None);
    assert_eq!(Exact::ZERO.minus(Exact::new(i128::MIN, 0)), None);
    assert_eq!(large.minus(large), Some(Exact::ZERO));
    // The product ends with a zero, without which it would fit.
    let long = Exact::new(-11352420135203521294465163436363337912, 39);
    assert_eq!((long.times(exact("0.015")), long.times(exact("0.014")).is_some()), (None, true));
}

#[test]
fn numbers_are_read_as_strictly_as_amounts() {
    for text in
        ["1_000", ".5", "1.", "1.e2", "", "e5", "1e", "1e-+5", "1e--5", "1e5.0", " 1", "1 ", "0x1", "1.2.3", "."]
    {
        assert_eq!(Exact::parse(text, 12), Err(AmountError::Malformed), "{text}");
    }
    assert_eq!(Exact::parse("-1", 12), Err(AmountError::Negative));
    assert_eq!(Exact::parse("1e-13", 12), Err(AmountError::TooPrecise));
    assert_eq!(Exact::parse("1e-300", 12), Err(AmountError::TooPrecise));
    assert_eq!(Exact::parse("1e40", 12), Err(AmountError::TooLarge));
    assert_eq!(Exact::parse("NaN", 12), Err(AmountError::NaN));
    for (text, number) in [
        ("1.50", "1.5"),
        ("-0", "0"),
        ("+1e+2", "100"),
        ("2.5E-3", "0.0025"),
        ("1.0e-12", "0.000000000001"),
        ("0e99", "0"),
    ] {
        assert_eq!(Exact::parse(text, 12).map(|number| number.to_string()), Ok(number.to_owned()), "{text}");
    }
    assert_eq!((exact("1.500").decimals(), exact("1e3").decimals(), exact("1e-30").decimals()), (1, 0, 30));
}

#[test]
fn prints_without_trailing_zeros() {
    let shown = [(1200, 0), (1200, 2), (-1200, 3), (5, 31), (-5, 31), (10_i128.pow(31), 31), (0, 40)];
    let shown: Vec<_> = shown.into_iter().map(|(units, scale)| format_scaled(units, scale)).collect();
    let tiny = "0.0000000000000000000000000000005";
    assert_eq!(shown, ["1200", "12", "-1.2", tiny, &format!("-{tiny}"), "1", "0"]);
    assert_eq!(format_scaled(i128::MAX, 38), "1.70141183460469231731687303715884105727");
    assert_eq!(format_scaled(i128::MIN, 0), "-170141183460469231731687303715884105728");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_operation_equals_that_of_long_numbers(one in any_number(), two in any_number(), scale in 0..38_u32) {
        let (a, b) = (Long::of(one), Long::of(two));
        let common = a.1.max(b.1);
        for (found, expected) in [
            (one.times(two), a.times(&b)),
            (one.plus(two), a.plus(&b, 1)),
            (one.minus(two), a.plus(&b, -1)),
        ] {
            match found {
                Some(found) => prop_assert_eq!(Long::of(found), expected),
                // A sum may be refused for its operand at the other's scale.
                None => prop_assert!(expected.0.bits().max(a.at(common).bits()).max(b.at(common).bits()) > 126, "{one} {two}"),
            }
        }
        prop_assert_eq!(one == two, a == b);
        prop_assert_eq!(one.cmp(&two), a.at(common).cmp(&b.at(common)));
        if one >= Exact::ZERO {
            match one.round(scale) {
                Some(found) => prop_assert_eq!(BigInt::from(found), a.round(scale)),
                None => prop_assert!(a.at(a.1.max(scale)).bits() > 126 || scale + 38 < a.1),
            }
        }
    }

    #[test]
    fn the_two_readers_agree(text in "[+-]?[0-9_.]{0,34}([eE][+-]{0,2}[0-9]{1,2})?", units in 0..1_i128 << 100, exponent in -30..30_i32, decimals in 0..36_u32) {
        for text in [text, format!("{units}e{exponent}"), format_scaled(units, exponent.unsigned_abs())] {
            let units = parse_scaled(&text, decimals, Rounding::Exact);
            match Exact::parse(&text, decimals) {
                // One that a Decimal holds may have too many digits at that scale.
                Ok(number) if units == Err(AmountError::TooLarge) => prop_assert!(number.round(decimals).is_none()),
                found => prop_assert_eq!(found.map(|number| number.round(decimals).unwrap()), units, "{}", text),
            }
        }
    }

    #[test]
    fn rounding_while_reading_equals_rounding_an_exact_value(value in 0..10_i128.pow(30)) {
        let text = format_scaled(value, 24);
        prop_assert_eq!(parse_scaled(&text, 24, Rounding::Exact), Ok(value));
        prop_assert_eq!(parse_scaled(&text, 12, Rounding::HalfEven).ok(), div_half_even(value, 10_i128.pow(12)));
    }

    #[test]
    fn any_text_is_an_amount_or_an_error(text in "\\PC*", number in "[-+]?[0-9.]{0,45}([eE][-+]?[0-9]{0,25})?", scale in 0..40_u32) {
        for text in [text, number] {
            let _ = parse_scaled(&text, scale, Rounding::HalfEven);
            let _ = Exact::parse(&text, scale);
            let _ = parse_scaled(&text, scale, Rounding::Exact);
        }
    }
}
