use super::*;
use crate::decode::noise::hash;

/// Room for everything.
const ROOM: Room = Room {
    depth: MAX_DRAFT_TOKENS,
    nodes: MAX_TREE_NODES,
};
/// A draft model that has read everything.
const MODEL: Offer = Offer {
    looked_up: 0,
    model: Some(0),
};

/// Uniform in [0, 1), the same every run.
fn uniform(round: u32, position: u32) -> f64 {
    f64::from(hash(42, round, position)) / 4_294_967_296.0
}

/// A device and a draft made of numbers.
#[derive(Clone, Copy)]
struct World {
    draft_step_s: f64,
    /// Target pass over `m` rows.
    pass_s: fn(usize) -> f64,
    /// Acceptance after so many tokens of text.
    acceptance: fn(u32) -> f64,
    /// What the draft takes for a token that it has to read.
    catch_up_s: f64,
    /// How much measurements differ from what they measure, at most.
    noise: f64,
    /// Which of many texts.
    text: u32,
}

impl Default for World {
    fn default() -> Self {
        World {
            draft_step_s: 0.1,
            pass_s: FLAT,
            acceptance: |_| 0.0,
            catch_up_s: 0.0,
            noise: 0.0,
            text: 0,
        }
    }
}

impl World {
    /// Seconds to make `n` tokens, after a warm-up like that of [`warm_up`].
    fn run(&self, length: DraftLength, n: u32) -> f64 {
        let mut planner = Planner::new(length, false, Costs::default());
        let mut measured = 0;
        let mut measure = |seconds: f64| {
            measured += 1;
            seconds * (1.0 + self.noise * (2.0 * uniform(measured, 1_000 + self.text) - 1.0))
        };
        for rows in [1, 2, 3, 4, 5, 8] {
            let pass_s = (self.pass_s)(rows);
            planner
                .costs
                .know_pass(rows, measure(pass_s).min(measure(pass_s)));
        }
        planner.costs.observe_draft(1, measure(self.draft_step_s));
        let (mut made, mut seconds, mut round, mut read) = (0, 0.0, 0, 0);
        while made < n {
            let offer = Offer {
                looked_up: 0,
                model: Some((made - read) as usize),
            };
            let choice = planner.choose(ROOM, offer);
            let k = choice.num_draft_tokens;
            let alpha = (self.acceptance)(made);
            let accepted = (0..k)
                .take_while(|&i| uniform(made + i as u32, self.text) < alpha)
                .count();
            let rows = if choice.look_only { 1 } else { k + 1 };
            if k > 0 {
                let catch_up_s = measure(f64::from(made - read) * self.catch_up_s);
                planner.observe_catch_up((made - read) as usize, catch_up_s);
                seconds += catch_up_s;
                read = made + if choice.look_only { 0 } else { accepted as u32 };
            }
            let draft_s = measure(k as f64 * self.draft_step_s);
            let pass_s = measure((self.pass_s)(rows));
            seconds += draft_s + pass_s;
            made += if choice.look_only {
                1
            } else {
                accepted as u32 + 1
            };
            planner.observe(&Observed {
                guesser: Guesser::Model,
                num_draft_tokens: k,
                num_accepted_tokens: accepted,
                draft_s,
                rows,
                pass_s,
            });
            round += 1;
        }
        assert!(round <= n);
        seconds * f64::from(n) / f64::from(made)
    }

    /// Seconds of the same over several texts.
    fn run_all(&self, length: DraftLength, n: u32) -> f64 {
        let texts = (0..24).map(|text| World { text, ..*self }.run(length, n));
        texts.sum()
    }

    fn oracle(&self, n: u32) -> f64 {
        (0..=MAX_DRAFT_TOKENS)
            .map(|k| self.run(DraftLength::Fixed(k), n))
            .fold(f64::INFINITY, f64::min)
    }
}

const FLAT: fn(usize) -> f64 = |m| 1.0 + 0.03 * (m - 1) as f64;
const STEEP: fn(usize) -> f64 = |m| 1.0 + 0.6 * (m - 1) as f64;
/// As kernels for 1, 2, 4, 8 and 16 rows have it where arithmetic is the limit (measured on
/// lavapipe): five rows cost nearly as much as eight.
const STEPPED: fn(usize) -> f64 = |m| match m {
    0 | 1 => 1.0,
    2 => 1.34,
    3 => 1.5,
    4 => 1.95,
    5..=8 => 4.6 + 0.2 * (m - 5) as f64,
    _ => 9.5 + 0.2 * (m - 9) as f64,
};
/// A device that has kernels for odd widths too, which no warm-up would guess.
const ODD: fn(usize) -> f64 = |m| if m <= 6 { 1.0 + 0.02 * m as f64 } else { 3.0 };

#[test]
fn the_planner_is_near_the_best_fixed_length() {
    let mut failed = Vec::new();
    for (pass_s, draft_step_s) in [
        (FLAT, 0.1),
        (FLAT, 0.02),
        (STEEP, 0.08),
        (STEPPED, 0.1),
        (ODD, 0.05),
    ] {
        for acceptance in [(|_| 0.85) as fn(u32) -> f64, |_| 0.6, |_| 0.3, |_| 0.0] {
            for noise in [0.0, 0.1] {
                let world = World {
                    draft_step_s,
                    pass_s,
                    acceptance,
                    noise,
                    catch_up_s: draft_step_s / 20.0,
                    ..World::default()
                };
                let (got, best) = (world.run(DraftLength::Auto, 2_000), world.oracle(2_000));
                let (alpha, v) = (acceptance(0), pass_s(5));
                let of = format!("alpha {alpha}, c {draft_step_s}, v(5) {v}, noise {noise}");
                failed.extend((best / got < 0.95).then(|| format!("{of}: {}", best / got)));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A reply of 64 tokens has no time to lose: what its first rounds learn must do. Of what
/// there is to gain they take a little more than of a long one.
#[test]
fn the_planner_is_near_the_best_fixed_length_in_short_replies() {
    let mut failed = Vec::new();
    for (pass_s, draft_step_s) in [(FLAT, 0.1), (STEEP, 0.08), (STEPPED, 0.1)] {
        for acceptance in [(|_| 0.85) as fn(u32) -> f64, |_| 0.6, |_| 0.3, |_| 0.0] {
            let world = World {
                draft_step_s,
                pass_s,
                acceptance,
                noise: 0.1,
                ..World::default()
            };
            let lengths = (0..=MAX_DRAFT_TOKENS).map(DraftLength::Fixed);
            let best = lengths
                .map(|k| world.run_all(k, 64))
                .fold(f64::INFINITY, f64::min);
            let of_best = best / world.run_all(DraftLength::Auto, 64);
            let of = format!("alpha {}, v(5) {}", acceptance(0), pass_s(5));
            failed.extend((of_best < 0.92).then(|| format!("{of}: {of_best}")));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_useless_draft_never_costs_three_percent_of_a_short_reply() {
    let mut failed = Vec::new();
    for pass_s in [FLAT, STEEP, STEPPED] {
        for (draft_step_s, catch_up_s) in [(0.1, 0.0), (0.1, 0.1), (0.3, 0.05)] {
            let world = World {
                pass_s,
                draft_step_s,
                catch_up_s,
                ..World::default()
            };
            let (planner, plain) = (
                world.run(DraftLength::Auto, 256),
                world.run(DraftLength::Fixed(0), 256),
            );
            let of = format!("v(5) {}, c {draft_step_s}, {catch_up_s}", pass_s(5));
            failed.extend((plain / planner < 0.97).then(|| format!("{of}: {}", plain / planner)));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// What one reply learned the next one knows: a draft that was useless is not tried again
/// at every beginning.
#[test]
fn the_next_reply_begins_with_what_the_last_one_saw() {
    let mut planner = Planner::new(DraftLength::Auto, false, Costs::default());
    for rows in 1..=MAX_DRAFT_TOKENS + 1 {
        planner.costs.know_pass(rows, FLAT(rows));
    }
    planner.costs.observe_draft(1, 0.1);
    assert!(planner.may_use_model());
    for _ in 0..40 {
        planner.observe_guesses(Guesser::Model, 1, 0);
    }
    let mut next = Planner::new(DraftLength::Auto, false, planner.costs().clone());
    assert!(!next.may_use_model());
    assert_eq!(next.choose(ROOM, MODEL).reason, Reason::Looks);
    for _ in 0..12 {
        next.observe_guesses(Guesser::Model, 1, 1);
    }
    assert_eq!(next.choose(ROOM, MODEL).reason, Reason::Pays);
}

/// Guesses of the text cost no draft step; where they are good they go first, and where
/// they are not the draft model goes on.
#[test]
fn the_texts_own_guesses_and_the_drafts_compete() {
    let planner = |of_text: usize, of_model: usize| {
        let mut planner = Planner::new(DraftLength::Auto, false, Costs::default());
        for rows in 1..=MAX_DRAFT_TOKENS + 1 {
            planner.costs.know_pass(rows, FLAT(rows));
        }
        planner.costs.observe_draft(1, 0.1);
        for _ in 0..200 {
            planner.observe_guesses(Guesser::Text, 10, of_text);
            planner.observe_guesses(Guesser::Model, 10, of_model);
        }
        planner
    };
    let both = Offer {
        looked_up: 10,
        model: Some(0),
    };
    let choice = planner(9, 5).choose(ROOM, both);
    assert_eq!(choice.guesser, Guesser::Text);
    assert!(choice.num_draft_tokens >= 8);
    assert_eq!(planner(0, 5).choose(ROOM, both).guesser, Guesser::Model);
    assert_eq!(planner(9, 5).choose(ROOM, MODEL).guesser, Guesser::Model);
    let text_only = Offer {
        looked_up: 4,
        model: None,
    };
    assert_eq!(planner(9, 0).choose(ROOM, text_only).num_draft_tokens, 4);
    let nothing = planner(9, 9).choose(ROOM, Offer::default());
    assert_eq!(nothing, Choice::NONE);
    let neither = planner(0, 0).choose(ROOM, both);
    assert_eq!((neither.num_draft_tokens, neither.look_only), (1, true));
}

#[test]
fn the_planner_follows_a_text_that_changes_its_character() {
    // Each half wants another length; no fixed one serves both.
    let acceptance = |made: u32| {
        if (made / 400).is_multiple_of(2) {
            0.9
        } else {
            0.1
        }
    };
    let world = World {
        acceptance,
        ..World::default()
    };
    let (planner, oracle) = (world.run(DraftLength::Auto, 2_000), world.oracle(2_000));
    assert!(
        oracle / planner > 0.95,
        "{planner} s, best fixed {oracle} s"
    );
}

/// A draft that was no use for long comes to be: it is found out within a hundred tokens or
/// two, not after as many looks as there were misses.
#[test]
fn a_draft_that_becomes_good_is_taken_up_again() {
    let world = World {
        acceptance: |made| if made < 1_000 { 0.0 } else { 0.9 },
        ..World::default()
    };
    let (got, plain) = (
        world.run(DraftLength::Auto, 2_000),
        world.run(DraftLength::Fixed(0), 2_000),
    );
    // Had it been taken up at once: half of the text at better than three a second.
    assert!(plain / got > 1.35, "{}", plain / got);
}

#[test]
fn tokens_per_round_follow_the_published_formula() {
    let alpha: f64 = 0.7;
    for k in [1_usize, 3, 7] {
        let n = 40_000_u32;
        let made: usize = (0..n)
            .map(|r| 1 + (0..k).take_while(|&i| uniform(r, i as u32) < alpha).count())
            .sum();
        let want = (1.0 - alpha.powi(k as i32 + 1)) / (1.0 - alpha);
        assert!((made as f64 / f64::from(n) - want).abs() < 0.03, "k = {k}");
    }
}

/// A device and a draft whose choices of every rank are right now and then, each round
/// apart from the others.
struct TreeWorld {
    draft_step_s: f64,
    pass_s: fn(usize) -> f64,
    /// Seconds of a round with a tree over what steps and passes say.
    tree_factor: f64,
    /// The chance of every choice after so many tokens of text.
    by_rank: fn(u32) -> [f64; MAX_RANKS],
}

impl TreeWorld {
    /// Tokens a second over `n` tokens.
    fn run(&self, mut planner: Planner, n: u32) -> f64 {
        for rows in [1, 2, 3, 4, 5, 8] {
            planner.costs.know_pass(rows, (self.pass_s)(rows));
        }
        planner.costs.observe_draft(1, self.draft_step_s);
        let (mut made, mut seconds) = (0, 0.0);
        while made < n {
            let choice = planner.choose(ROOM, MODEL);
            let by_rank = (self.by_rank)(made);
            let began = made;
            let draw = |level: u32| {
                let at = uniform(began + level, level);
                let mut reached = 0.0;
                by_rank.iter().position(|p| {
                    reached += p;
                    at < reached
                })
            };
            let k = choice.num_draft_tokens;
            let mut tried = Vec::new();
            if let Some(tree) = &choice.tree {
                let mut at = 0;
                while tree.n_children(at) > 0 {
                    let rank = draw(tried.len() as u32);
                    tried.push(Tried {
                        rank,
                        n_choices: MAX_RANKS,
                    });
                    match rank.and_then(|rank| tree.child(at, rank)) {
                        Some(child) => (at, made) = (child, made + 1),
                        None => break,
                    }
                }
                made += 1;
                let size = size_of(tree);
                let rows = (size.draft_rows - size.depth) as f64;
                let steps = self.draft_step_s * (size.depth as f64 + 0.5 * rows);
                let cost = self.tree_factor * (steps + (self.pass_s)(size.rows));
                seconds += cost;
                planner.observe_tree(size, &tried, cost);
                continue;
            }
            for level in 0..k as u32 {
                let rank = draw(level);
                tried.push(Tried {
                    rank,
                    n_choices: planner.n_choices(),
                });
                if rank != Some(0) {
                    break;
                }
            }
            let accepted = tried.iter().filter(|tried| tried.rank == Some(0)).count();
            let rows = if choice.look_only { 1 } else { k + 1 };
            let (draft_s, pass_s) = (k as f64 * self.draft_step_s, (self.pass_s)(rows));
            seconds += draft_s + pass_s;
            made += if choice.look_only {
                1
            } else {
                accepted as u32 + 1
            };
            planner.observe(&Observed {
                guesser: Guesser::Model,
                num_draft_tokens: k,
                num_accepted_tokens: accepted,
                draft_s,
                rows,
                pass_s,
            });
            planner.observe_choices(&tried);
        }
        f64::from(made) / seconds
    }

    /// The most that any fixed chain or tree makes.
    fn oracle(&self, n: u32) -> f64 {
        let fixed =
            |k: usize, trees: bool| Planner::new(DraftLength::Fixed(k), trees, Costs::default());
        let chains = (0..=12).map(|k| self.run(fixed(k, false), n));
        let trees = [2, 4, 6, 8, 12, 16, 24, 32].map(|k| self.run(fixed(k, true), n));
        chains.chain(trees).fold(0.0, f64::max)
    }
}

/// Second choices are good where first ones are not: chains cannot profit.
const BROAD: fn(u32) -> [f64; MAX_RANKS] = |_| [0.5, 0.25, 0.12, 0.06];
const NARROW: fn(u32) -> [f64; MAX_RANKS] = |_| [0.85, 0.04, 0.02, 0.01];
const USELESS: fn(u32) -> [f64; MAX_RANKS] = |_| [0.0; MAX_RANKS];
const CHANGING: fn(u32) -> [f64; MAX_RANKS] = |made| match (made / 400) % 2 {
    0 => [0.5, 0.3, 0.1, 0.05],
    _ => [0.1, 0.05, 0.05, 0.0],
};
/// A device that has rows to spare.
const WIDE: fn(usize) -> f64 = |m| 1.0 + 0.004 * (m - 1) as f64;

#[test]
fn with_trees_allowed_the_planner_is_near_the_best_chain_or_tree() {
    let (mut trees_won, mut failed) = (0, Vec::new());
    for (pass_s, draft_step_s) in [(WIDE, 0.05), (FLAT, 0.1), (STEEP, 0.08)] {
        for by_rank in [BROAD, NARROW, USELESS, CHANGING] {
            for tree_factor in [1.0, 1.6] {
                let world = TreeWorld {
                    draft_step_s,
                    pass_s,
                    tree_factor,
                    by_rank,
                };
                let planner = |trees| Planner::new(DraftLength::Auto, trees, Costs::default());
                let (got, chains) = (
                    world.run(planner(true), 3_000),
                    world.run(planner(false), 3_000),
                );
                let best = world.oracle(3_000);
                let of = format!("{:?}, c {draft_step_s}, {tree_factor}", by_rank(0));
                failed.extend((got / best < 0.95).then(|| format!("{of}: {got}, best {best}")));
                trees_won += usize::from(got > 1.1 * chains);
                if tree_factor == 1.0 {
                    let chains =
                        (got / chains < 0.97).then(|| format!("{of}: {got}, chains {chains}"));
                    failed.extend(chains);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(trees_won >= 2, "trees paid in {trees_won} worlds");
}

#[test]
fn trees_never_cost_three_percent_of_a_short_reply() {
    for pass_s in [WIDE, FLAT, STEEP] {
        for by_rank in [USELESS, |_| [0.1, 0.05, 0.02, 0.02]] {
            let world = TreeWorld {
                draft_step_s: 0.1,
                pass_s,
                tree_factor: 1.5,
                by_rank,
            };
            let planner = |length, trees| Planner::new(length, trees, Costs::default());
            let got = world.run(planner(DraftLength::Auto, true), 256);
            let plain = world.run(planner(DraftLength::Fixed(0), false), 256);
            assert!(got / plain >= 0.97, "{}", got / plain);
        }
    }
}

#[test]
fn a_tree_has_as_many_guesses_as_were_asked_for_and_room() {
    let mut planner = Planner::new(DraftLength::Fixed(6), true, Costs::default());
    let room = |depth, nodes| Room { depth, nodes };
    let choice = planner.choose(room(9, 40), MODEL);
    assert_eq!(choice.num_draft_tokens, 6);
    assert_eq!(choice.tree.unwrap().nodes.len(), 6);
    for (depth, nodes) in [(1, 40), (2, 3), (9, 1)] {
        let choice = planner.choose(room(depth, nodes), MODEL);
        let tree = choice.tree.unwrap();
        assert!(tree.depth() <= depth && tree.nodes.len() <= nodes);
        assert!(!tree.nodes.is_empty());
    }
    let choice = planner.choose(room(0, 40), MODEL);
    assert_eq!((choice.num_draft_tokens, choice.tree), (0, None));
}
