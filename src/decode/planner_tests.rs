use super::*;
use crate::decode::noise::hash;

/// Uniform in [0, 1), the same every run.
fn uniform(round: u32, position: u32) -> f64 {
    f64::from(hash(42, round, position)) / 4_294_967_296.0
}

/// A device and a draft made of numbers.
struct World {
    draft_step_s: f64,
    /// Target pass over `m` rows.
    pass_s: fn(usize) -> f64,
    /// Acceptance after so many tokens of text.
    acceptance: fn(u32) -> f64,
}

impl World {
    /// Seconds to make `n` tokens.
    fn run(&self, length: DraftLength, n: u32) -> f64 {
        let mut planner = Planner::new(length, false, Costs::default());
        for rows in [1, 2, 4, 8] {
            planner.costs.observe_pass(rows, (self.pass_s)(rows));
        }
        planner.costs.observe_draft(1, self.draft_step_s);
        let (mut made, mut seconds, mut round) = (0, 0.0, 0);
        while made < n {
            let choice = planner.choose(Room {
                depth: MAX_DRAFT_TOKENS,
                nodes: MAX_TREE_NODES,
            });
            let k = choice.num_draft_tokens;
            let alpha = (self.acceptance)(made);
            let accepted = (0..k)
                .take_while(|&i| uniform(made + i as u32, i as u32) < alpha)
                .count();
            let rows = if choice.look_only { 1 } else { k + 1 };
            let (draft_s, pass_s) = (k as f64 * self.draft_step_s, (self.pass_s)(rows));
            seconds += draft_s + pass_s;
            made += if choice.look_only {
                1
            } else {
                accepted as u32 + 1
            };
            planner.observe(&Observed {
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

    fn oracle(&self, n: u32) -> f64 {
        (0..=MAX_DRAFT_TOKENS)
            .map(|k| self.run(DraftLength::Fixed(k), n))
            .fold(f64::INFINITY, f64::min)
    }
}

const FLAT: fn(usize) -> f64 = |m| 1.0 + 0.03 * (m - 1) as f64;
const STEEP: fn(usize) -> f64 = |m| 1.0 + 0.6 * (m - 1) as f64;

#[test]
fn the_planner_is_near_the_best_fixed_length() {
    for (pass_s, draft_step_s) in [(FLAT, 0.1), (FLAT, 0.02), (STEEP, 0.08)] {
        for acceptance in [(|_| 0.85) as fn(u32) -> f64, |_| 0.6, |_| 0.3, |_| 0.0] {
            let world = World {
                draft_step_s,
                pass_s,
                acceptance,
            };
            let (planner, oracle) = (world.run(DraftLength::Auto, 2_000), world.oracle(2_000));
            let alpha = acceptance(0);
            assert!(
                oracle / planner > 0.95,
                "alpha {alpha}, c {draft_step_s}: {planner} s, best {oracle} s"
            );
        }
    }
}

#[test]
fn a_useless_draft_never_costs_three_percent_of_a_short_reply() {
    for pass_s in [FLAT, STEEP] {
        let world = World {
            draft_step_s: 0.1,
            pass_s,
            acceptance: |_| 0.0,
        };
        let (planner, plain) = (
            world.run(DraftLength::Auto, 256),
            world.run(DraftLength::Fixed(0), 256),
        );
        assert!(plain / planner >= 0.97, "{}", plain / planner);
    }
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
        draft_step_s: 0.1,
        pass_s: FLAT,
        acceptance,
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
        draft_step_s: 0.1,
        pass_s: FLAT,
        acceptance: |made| if made < 1_000 { 0.0 } else { 0.9 },
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
        for rows in [1, 2, 4, 8] {
            planner.costs.observe_pass(rows, (self.pass_s)(rows));
        }
        planner.costs.observe_draft(1, self.draft_step_s);
        let (mut made, mut seconds) = (0, 0.0);
        while made < n {
            let choice = planner.choose(Room {
                depth: MAX_DRAFT_TOKENS,
                nodes: MAX_TREE_NODES,
            });
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
    let choice = planner.choose(Room {
        depth: 9,
        nodes: 40,
    });
    assert_eq!(choice.num_draft_tokens, 6);
    assert_eq!(choice.tree.unwrap().nodes.len(), 6);
    for (depth, nodes) in [(1, 40), (2, 3), (9, 1)] {
        let choice = planner.choose(Room { depth, nodes });
        let tree = choice.tree.unwrap();
        assert!(tree.depth() <= depth && tree.nodes.len() <= nodes);
        assert!(!tree.nodes.is_empty());
    }
    let choice = planner.choose(Room {
        depth: 0,
        nodes: 40,
    });
    assert_eq!((choice.num_draft_tokens, choice.tree), (0, None));
}
