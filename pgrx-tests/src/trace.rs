//! The recorded calls that the demo replays, and how tenants, users and models are dealt over them.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::layout;

/// One call of a chat service: when, and how many tokens went in and came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The text of the file; only the order of the calls matters here.
    pub moment: String,
    pub input_tokens: i64,
    pub output_tokens: i64,
}

/// The file in the checkout; its NOTICE says where it is from.
pub fn path() -> PathBuf {
    layout::tests_dir().join("data/azure_llm_trace_2023_conv.csv")
}

/// The first `limit` calls, or all of them.
pub fn load(limit: Option<usize>) -> Result<Vec<Call>> {
    let path = path();
    let reader = csv::Reader::from_path(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let calls = read(reader, limit).with_context(|| format!("{} is not the trace", path.display()))?;
    if calls.is_empty() {
        bail!("{} holds no calls", path.display());
    }
    Ok(calls)
}

fn read<R: std::io::Read>(mut reader: csv::Reader<R>, limit: Option<usize>) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    for record in reader.records().take(limit.unwrap_or(usize::MAX)) {
        let record = record?;
        let field = |index: usize| record.get(index).with_context(|| format!("line {} is short", calls.len() + 2));
        let call = Call {
            moment: field(0)?.to_string(),
            input_tokens: field(1)?.trim().parse().with_context(|| format!("line {}", calls.len() + 2))?,
            output_tokens: field(2)?.trim().parse().with_context(|| format!("line {}", calls.len() + 2))?,
        };
        calls.push(call);
    }
    Ok(calls)
}

/// Deals the `index`-th call to one of so many `players`, the same one every time. Different decks deal independently.
pub fn deal(index: usize, deck: u64, players: usize) -> usize {
    let mixed = mix(mix(deck) ^ index as u64);
    (mixed % players.max(1) as u64) as usize
}

/// SplitMix64's finaliser: neighbouring numbers come out unrelated.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_trace_is_there() {
        let calls = load(None).unwrap();
        assert_eq!(calls.len(), 19_366);
        assert_eq!(calls[0].input_tokens, 374);
        assert_eq!(calls[0].output_tokens, 44);
        assert!(calls.windows(2).all(|pair| pair[0].moment <= pair[1].moment));
    }

    #[test]
    fn a_limit_takes_the_first_calls() {
        assert_eq!(load(Some(7)).unwrap(), load(None).unwrap()[..7]);
    }

    #[test]
    fn dealing_repeats_itself_and_is_fair() {
        let mut dealt = [0usize; 3];
        for index in 0..9_000 {
            let player = deal(index, 1, 3);
            assert_eq!(player, deal(index, 1, 3));
            dealt[player] += 1;
        }
        assert!(dealt.iter().all(|count| (2_800..3_200).contains(count)), "{dealt:?}");
    }

    #[test]
    fn decks_deal_independently() {
        let together = (0..9_000).filter(|index| deal(*index, 1, 3) == deal(*index, 2, 3)).count();
        assert!((2_700..3_300).contains(&together), "{together}");
    }

    #[test]
    fn a_bad_line_is_named() {
        let reader = csv::Reader::from_reader("a,b,c\nx,1,2\ny,one,2\n".as_bytes());
        assert!(format!("{:#}", read(reader, None).unwrap_err()).contains("line 3"));
    }
}
