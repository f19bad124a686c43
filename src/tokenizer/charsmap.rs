//! Is a SentencePiece character map safe to walk?
//!
//! `Precompiled` normalisers carry a double-array trie ("Darts") and a string of
//! replacements. The crate that walks it indexes without looking, so a broken map
//! would panic in the middle of a text. Here every step that a walk can take is taken
//! once, in advance. Layout: github.com/google/sentencepiece, `normalizer.cc`, and
//! github.com/s-yata/darts-clone.

use serde_json::Value;

/// Checks the base64 of a map; the error says what is wrong with it.
pub(super) fn check(charsmap: &Value) -> std::result::Result<(), &'static str> {
    let text = charsmap.as_str().ok_or("is not text")?;
    let bytes = base64(text).ok_or("is not base64")?;
    check_bytes(&bytes)
}

fn check_bytes(bytes: &[u8]) -> std::result::Result<(), &'static str> {
    let word = |at: usize| {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    // Bytes of the trie, its 32-bit units, then the replacements.
    let n_units = word(0).ok_or("is cut off")? / 4;
    let rest = bytes.get(4..).ok_or("is cut off")?;
    let replacements = rest.get(n_units * 4..).ok_or("is cut off")?;
    let replacements = std::str::from_utf8(replacements).map_err(|_| "is not UTF-8")?;
    let unit = |at: usize| word(4 + at * 4).filter(|_| at < n_units);
    let has_leaf = |unit: usize| (unit >> 8) & 1 == 1;
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let label = |unit: usize| unit & ((1 << 31) | 0xFF);

    let root = unit(0).ok_or("has no root")?;
    let mut seen = vec![false; n_units];
    let mut todo = vec![offset(root)];
    while let Some(base) = todo.pop() {
        for byte in 1..=0xFF {
            let at = base ^ byte;
            let child = unit(at).ok_or("leads outside of its trie")?;
            if label(child) != byte || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let next = at ^ offset(child);
            if has_leaf(child) {
                let leaf = unit(next).ok_or("leads outside of its trie")?;
                let start = leaf & ((1 << 31) - 1);
                if start > replacements.len() || !replacements.is_char_boundary(start) {
                    return Err("names a replacement that is not there");
                }
            }
            todo.push(next);
        }
    }
    Ok(())
}

/// Standard base64 with padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let n_groups = text.len() / 4;
    for (i, group) in text.as_bytes().chunks_exact(4).enumerate() {
        let padding = group.iter().rev().take_while(|c| **c == b'=').count();
        if padding > 2 || padding > 0 && i + 1 < n_groups {
            return None;
        }
        let mut bits = 0u32;
        for &c in &group[..4 - padding] {
            let value = match c {
                b'A'..=b'Z' => c - b'A',
                b'a'..=b'z' => c - b'a' + 26,
                b'0'..=b'9' => c - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * padding;
        // Bits that no byte is made of must be zero.
        if bits & ((1 << (8 * padding)) - 1) != 0 {
            return None;
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..4 - padding]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_rfc_4648s() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9vYmFy", "foobar"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()));
        }
        for broken in [
            "Z", "Zg=", "====", "Zg==Zg==", "Z*==", "Zm8=Zm8=", "Zh==", "Zm9=",
        ] {
            assert_eq!(base64(broken), None, "{broken}");
        }
    }

    fn map(units: &[u32], replacements: &str) -> Vec<u8> {
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|u| u.to_le_bytes()));
        bytes.extend(replacements.as_bytes());
        bytes
    }

    /// A trie of one key, "a": the root's children lie in units 256..512.
    fn one_key(value: u32) -> Vec<u32> {
        let mut units = vec![0; 1024];
        units[0] = 256 << 10;
        let a = 256 ^ 0x61;
        // Its own children at `a ^ 512`, its leaf too.
        units[a] = 0x61 | 1 << 8 | 512 << 10;
        units[a ^ 512] = 1 << 31 | value;
        units
    }

    #[test]
    fn a_walk_that_would_leave_the_trie_is_found_before_it_is_taken() {
        assert_eq!(check_bytes(&map(&one_key(0), "b\0")), Ok(()));
        assert!(check_bytes(&map(&one_key(9), "b\0")).is_err());
        assert!(check_bytes(&map(&one_key(1), "é\0")).is_err());
        assert!(check_bytes(&map(&one_key(0)[..600], "b\0")).is_err());
        assert!(check_bytes(&map(&[], "")).is_err());
        assert!(check_bytes(&[255, 255, 255, 255]).is_err());
        assert!(check_bytes(&[0, 0]).is_err());
    }
}
