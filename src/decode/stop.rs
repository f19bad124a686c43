//! Stop strings that never leak: text that might be the beginning of a match is held
//! back until it is, or is not.

/// Watches a stream of text for any of several stop strings.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
}

/// What may be shown after one more piece of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Nothing matched; this much is safe to show (possibly nothing).
    Text(String),
    /// A stop string matched; this is what stood before it.
    Stopped {
        /// What stood before the match, and had not been shown.
        text: String,
        /// Which stop string it was.
        stop: String,
    },
}

impl StopStrings {
    /// Watches for `stops`; empty strings are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self {
            stops: stops.into_iter().filter(|stop| !stop.is_empty()).collect(),
            held: String::new(),
        }
    }

    /// Takes the next piece of text. Where several stop strings match, the one that
    /// begins first wins, and of those the longest.
    pub fn push(&mut self, piece: &str) -> Watched {
        self.held.push_str(piece);
        let first = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|at| (at, stop)))
            .min_by_key(|(at, stop)| (*at, usize::MAX - stop.len()));
        if let Some((at, stop)) = first {
            let stop = stop.clone();
            let text = self.held[..at].to_string();
            self.held.clear();
            return Watched::Stopped { text, stop };
        }
        let safe = self.held.len() - self.partial_len();
        let text = self.held[..safe].to_string();
        self.held.drain(..safe);
        Watched::Text(text)
    }

    /// The text still held back, at the end of the stream.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest suffix of what is held that begins some stop string.
    fn partial_len(&self) -> usize {
        let longest = |stop: &String| {
            (1..stop.len().min(self.held.len() + 1))
                .rev()
                .find(|&n| stop.is_char_boundary(n) && self.held.ends_with(&stop[..n]))
        };
        self.stops.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(stops: &[&str], pieces: &[&str]) -> (String, Option<String>) {
        let mut watch = StopStrings::new(stops.iter().map(ToString::to_string));
        let mut shown = String::new();
        for piece in pieces {
            match watch.push(piece) {
                Watched::Text(text) => shown += &text,
                Watched::Stopped { text, stop } => return (shown + &text, Some(stop)),
            }
        }
        (shown + &watch.finish(), None)
    }

    #[test]
    fn a_stop_string_split_across_pieces_never_leaks() {
        assert_eq!(
            stream(&["END"], &["one E", "N", "D two"]),
            ("one ".into(), Some("END".into()))
        );
        assert_eq!(
            stream(&["END"], &["one E", "N", "d two"]),
            ("one ENd two".into(), None)
        );
    }

    #[test]
    fn the_earliest_match_wins_and_then_the_longest() {
        assert_eq!(
            stream(&["b", "ab"], &["xab"]),
            ("x".into(), Some("ab".into()))
        );
        assert_eq!(
            stream(&["ab", "abc"], &["xabc"]),
            ("x".into(), Some("abc".into()))
        );
    }

    #[test]
    fn overlapping_beginnings_are_held_as_far_as_needed() {
        assert_eq!(
            stream(&["aab"], &["a", "a", "a", "b", "!"]),
            ("a".into(), Some("aab".into()))
        );
    }

    #[test]
    fn multi_byte_stops_split_only_at_characters() {
        assert_eq!(stream(&["日本"], &["a日", "曜"]), ("a日曜".into(), None));
        assert_eq!(
            stream(&["日本"], &["a日", "本b"]),
            ("a".into(), Some("日本".into()))
        );
    }

    #[test]
    fn what_is_held_at_the_end_is_shown() {
        assert_eq!(stream(&["END"], &["the E"]), ("the E".into(), None));
    }
}
