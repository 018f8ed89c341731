use super::*;
use proptest::prelude::*;

fn picos(text: &str) -> Result<i128, AmountError> {
    Picos::parse(text).map(Picos::get)
}

#[test]
fn reads_what_postgres_and_json_print() {
    for (text, expected) in [
        ("12.34", 12_340_000_000_000),
        ("0", 0),
        ("-0", 0),
        ("-0.000", 0),
        ("0e999999999999999999999", 0),
        ("1.3e-10", 130),
        ("1E+5", 100_000_000_000_000_000),
        ("0.1e1", 1_000_000_000_000),
        ("0.0000000000005", 0),
        ("0.0000000000015", 2),
        ("0.00000000000050000000000000000000001", 1),
        ("1e-99999999999999999999", 0),
        ("5e-13", 0),
        ("6e-13", 1),
        ("9e-14", 0),
        ("1000000000", MAX_PICOS),
        ("1000000000.0000000000004", MAX_PICOS),
    ] {
        assert_eq!(picos(text), Ok(expected), "{text}");
    }
}

#[test]
fn refuses_what_is_no_amount() {
    use AmountError::*;
    for (text, expected) in [
        ("NaN", NaN),
        ("Infinity", Infinite),
        ("-Infinity", Infinite),
        ("-1", Negative),
        ("-1e-30", Negative),
        ("1000000000.000000000001", TooLarge),
        ("1e99999999999999999999", TooLarge),
        ("", Malformed),
        ("-", Malformed),
        (".", Malformed),
        ("1.", Malformed),
        (".5", Malformed),
        ("1e", Malformed),
        ("1e+", Malformed),
        ("1e1.5", Malformed),
        ("--1", Malformed),
        (" 1", Malformed),
        ("1_000", Malformed),
        ("1.2.3", Malformed),
        ("0x10", Malformed),
        ("١", Malformed),
    ] {
        assert_eq!(picos(text), Err(expected), "{text:?}");
    }
}

#[test]
fn long_numerics_are_read_to_their_last_digit() {
    let tie = format!("0.0000000000005{}", "0".repeat(131_072));
    assert_eq!(picos(&tie), Ok(0));
    assert_eq!(picos(&format!("{tie}1")), Ok(1));
    assert_eq!(picos(&"9".repeat(131_072)), Err(AmountError::TooLarge));
    assert_eq!(picos(&format!("{}7", "0".repeat(131_072))), Ok(7 * PICOS_PER_USD));
    assert_eq!(picos(&format!("-0.{}1", "0".repeat(131_072))), Err(AmountError::Negative));
}

#[test]
fn charges_round_up_and_limits_down() {
    let amount = Picos::new(1_001).unwrap();
    assert_eq!(amount.ceil_nanos(), 2);
    assert_eq!((Picos::ZERO.ceil_nanos(), Picos::MAX.ceil_nanos()), (0, 1_000_000_000_000_000_000));
}

#[test]
fn prints_exact_dollars() {
    assert_eq!(Picos::ZERO.to_string(), "0");
    assert_eq!(Picos::new(1).unwrap().to_string(), "0.000000000001");
    assert_eq!(Picos::parse("12.50").unwrap().to_string(), "12.5");
    assert_eq!(usd_from_nanos(-1_500_000_000), "-1.5");
    assert_eq!(usd_from_nanos(10_000_000_000), "10");
    assert_eq!(usd_from_nanos(i128::MIN), "-170141183460469231731687303715.884105728");
}

#[test]
fn amounts_are_added_and_taken_away_within_their_bounds() {
    let picos = |picos| Picos::new(picos);
    assert_eq!((picos(-1), picos(MAX_PICOS + 1)), (Err(AmountError::Negative), Err(AmountError::TooLarge)));
    let (three, five) = (picos(3).unwrap(), picos(5).unwrap());
    assert_eq!((five.checked_add(three), five.checked_sub(three)), (picos(8), picos(2)));
    assert_eq!((three.checked_sub(five), three.checked_sub(three)), (Err(AmountError::Negative), Ok(Picos::ZERO)));
    assert_eq!(Picos::MAX.checked_add(picos(1).unwrap()), Err(AmountError::TooLarge));
    assert_eq!((three.negated(), Picos::ZERO.negated()), ("-0.000000000003".to_owned(), "0".to_owned()));
}

#[test]
fn a_correction_may_be_below_zero_and_takes_no_less() {
    let read = |text| PicosDifference::parse(text).map(PicosDifference::get);
    assert_eq!((read("-0.0000000000015"), read("1.5"), read("-0")), (Ok(-2), Ok(1_500_000_000_000), Ok(0)));
    assert_eq!((read("--1"), read("-1000000001")), (Err(AmountError::Negative), Err(AmountError::TooLarge)));
    let up = [-1_001, -1_000, -999, 0, 1, 1_000, 1_001].map(|picos| PicosDifference::new(picos).ceil_nanos());
    assert_eq!(up, [-1, -1, 0, 0, 1, 1, 2]);
    let sum = PicosDifference::new(-5).plus(PicosDifference::new(3));
    assert_eq!((sum.get(), sum.to_string()), (-2, "-0.000000000002".to_owned()));
    assert_eq!(Picos::new(7).unwrap().with(sum), PicosDifference::new(5));
}

#[test]
fn a_cost_is_rounded_to_the_even_pico() {
    let rounded = |units| Picos::round(Exact::new(units, 13)).map(Picos::get);
    assert_eq!([5, 15, 16, 25].map(rounded), [0, 2, 2, 2].map(Some));
    assert_eq!((rounded(MAX_PICOS * 10), rounded(MAX_PICOS * 10 + 6)), (Some(MAX_PICOS), None));
    assert_eq!(serde_json::to_string(&Picos::new(1).unwrap()).unwrap(), "\"0.000000000001\"");
}

proptest! {
    #[test]
    fn print_and_parse_are_inverse(value in 0..=MAX_PICOS) {
        let amount = Picos::new(value).unwrap();
        prop_assert_eq!(Picos::parse(&amount.to_string()), Ok(amount));
        prop_assert_eq!(Picos::parse(&format!("{value}e-12")), Ok(amount));
        let up = i128::from(amount.ceil_nanos()) * 1000;
        prop_assert!(value <= up && up < value + 1000);
    }
}
