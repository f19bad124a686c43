use serde_json::json;

use super::*;

/// A token for each word, and two around each message.
fn encode(messages: &[Json]) -> Result<Vec<u32>> {
    let words = |message: &Json| message["content"].as_str().unwrap().split(' ').count();
    Ok(vec![0; messages.iter().map(|m| words(m) + 2).sum()])
}

fn say(role: &str, n_words: usize) -> Json {
    json!({ "role": role, "content": vec!["a"; n_words].join(" ") })
}

/// Turns of 20 tokens each behind a system message of 10.
fn conversation(n_turns: usize) -> Vec<Json> {
    let turn = [say("user", 8), say("assistant", 8)];
    let turns = std::iter::repeat_n(turn, n_turns).flatten();
    let mut messages: Vec<Json> = std::iter::once(say("system", 8)).chain(turns).collect();
    messages.push(say("user", 8));
    messages
}

fn drop_oldest(pinned: &[usize], reserve_tokens: Option<usize>) -> Overflow {
    Overflow::DropOldest {
        pinned: pinned.to_vec(),
        reserve_tokens,
    }
}

fn cut(
    messages: &[Json],
    policy: &Overflow,
    capacity: usize,
) -> Result<(usize, Vec<usize>, usize)> {
    let (prompt, dropped) = fit(messages, policy, capacity, None, &encode)?;
    let dropped = dropped.unwrap_or_default();
    Ok((
        prompt.len(),
        dropped.dropped_messages,
        dropped.dropped_tokens,
    ))
}

#[test]
fn without_a_policy_it_is_an_error_that_says_how_much_and_how_much_fits() {
    let messages = conversation(4); // 100 tokens
    assert_eq!(cut(&messages, &Overflow::Error, 100).unwrap().0, 100);
    let error = cut(&messages, &Overflow::Error, 99).unwrap_err();
    assert_eq!(error.code(), Code::ContextOverflow);
    assert_eq!(error.subject(), "messages");
    assert!(error.detail().contains("100 tokens"), "{error}");
    assert!(error.detail().contains("context of 99"), "{error}");
}

#[test]
fn the_oldest_turns_go_and_system_messages_and_the_last_turn_stay() {
    let messages = conversation(4);
    let policy = drop_oldest(&[], Some(0));
    assert_eq!(cut(&messages, &policy, 100).unwrap(), (100, vec![], 0));
    // A quarter of 96 at least: two turns.
    assert_eq!(
        cut(&messages, &policy, 96).unwrap(),
        (60, vec![1, 2, 3, 4], 40)
    );
    // A quarter of 80 is one turn.
    assert_eq!(cut(&messages, &policy, 80).unwrap(), (80, vec![1, 2], 20));
    assert_eq!(
        cut(&messages, &policy, 20).unwrap(),
        (20, (1..9).collect(), 80)
    );
    let error = cut(&messages, &policy, 19).unwrap_err();
    assert_eq!(error.code(), Code::ContextOverflow);
    assert!(error.detail().contains("20 tokens"), "{error}");
}

#[test]
fn a_pinned_message_keeps_its_whole_turn() {
    let messages = conversation(4);
    let pinned = drop_oldest(&[2], Some(0));
    assert_eq!(cut(&messages, &pinned, 80).unwrap(), (80, vec![3, 4], 20));
    let error = cut(&messages, &drop_oldest(&[1, 3, 5, 8], Some(0)), 80).unwrap_err();
    assert_eq!(error.code(), Code::ContextOverflow);
}

#[test]
fn calls_go_with_their_results() {
    let mut messages = conversation(2);
    messages.splice(3..3, [say("tool", 8), say("assistant", 8)]);
    let policy = drop_oldest(&[], Some(0));
    assert_eq!(
        cut(&messages, &policy, 79).unwrap().1,
        vec![1, 2, 3, 4],
        "the turn of the call and its result"
    );
    // What stands between turns and belongs to none of them stays.
    messages.insert(4, say("developer", 8));
    assert_eq!(cut(&messages, &policy, 80).unwrap().1, vec![1, 2, 3, 5]);
}

#[test]
fn room_for_the_reply_is_kept_as_far_as_there_is_any() {
    let messages = conversation(4);
    let n_dropped = |max_tokens, reserve| {
        let policy = drop_oldest(&[], reserve);
        let (prompt, dropped) = fit(&messages, &policy, 120, max_tokens, &encode).unwrap();
        assert_eq!(
            prompt.len() + dropped.clone().unwrap_or_default().dropped_tokens,
            100
        );
        dropped.map_or(0, |dropped| dropped.dropped_messages.len())
    };
    // A quarter of 120 is 30, and 100 + 30 are too many.
    assert_eq!(n_dropped(None, None), 4);
    assert_eq!(n_dropped(Some(20), None), 0);
    assert_eq!(n_dropped(Some(4000), None), 4);
    assert_eq!(n_dropped(Some(4000), Some(0)), 0);
    // More than can be had.
    assert_eq!(n_dropped(None, Some(119)), 8);
    let error = fit(&messages, &drop_oldest(&[], Some(120)), 120, None, &encode).unwrap_err();
    assert_eq!(error.subject(), "context_overflow.reserve_tokens");
}

#[test]
fn the_cut_stands_still_while_a_conversation_grows() {
    let mut cuts = Vec::new();
    for n_turns in 20..60 {
        let messages = conversation(n_turns);
        let (n_tokens, dropped, _) = cut(&messages, &drop_oldest(&[], None), 400).unwrap();
        assert!(n_tokens <= 300, "{n_tokens} tokens of 400");
        assert!(n_tokens > 150, "{n_tokens} tokens of 400");
        cuts.push(dropped.len());
    }
    assert!(cuts.is_sorted());
    cuts.dedup();
    // A hundred tokens are five turns.
    assert!((7..=10).contains(&cuts.len()), "{cuts:?}");
}

#[test]
fn a_request_says_it_in_a_word_or_in_full() {
    let read = |value: Json| read(&Field::new("context_overflow", &value), 5);
    assert_eq!(read(json!("error")).unwrap(), Overflow::Error);
    assert_eq!(read(json!("drop_oldest")).unwrap(), drop_oldest(&[], None));
    assert_eq!(read(json!({ "policy": "error" })).unwrap(), Overflow::Error);
    assert_eq!(
        read(json!({ "policy": "drop_oldest", "pinned": [4], "reserve_tokens": 9 })).unwrap(),
        drop_oldest(&[4], Some(9))
    );
    for (wrong, subject) in [
        (json!("truncate"), "context_overflow"),
        (json!(true), "context_overflow"),
        (json!({ "pinned": [0] }), "context_overflow.policy"),
        (
            json!({ "policy": "drop_oldest", "pinned": [5] }),
            "context_overflow.pinned[0]",
        ),
        (
            json!({ "policy": "drop_oldest", "reserve_tokens": -1 }),
            "context_overflow.reserve_tokens",
        ),
        (
            json!({ "policy": "error", "pinned": [0] }),
            "context_overflow.pinned",
        ),
        (
            json!({ "policy": "drop_oldest", "keep": 1 }),
            "context_overflow.keep",
        ),
    ] {
        let error = read(wrong).unwrap_err();
        assert_eq!(
            (error.code(), error.subject()),
            (Code::RequestInvalid, subject)
        );
    }
}
